"""How LightFM is trained, and how its rate falls towards the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

Loss = Literal["warp", "bpr", "logistic", "warp-kos"]
UserVectors = Literal["trained", "folded_in"]


@dataclass(frozen=True)
class TrainSpec:
    """How a client trains LightFM (Kula 2015) within one round.

    Attributes:
        loss: LightFM's loss.
        dims: latent dimensions.
        learning_rate: Adagrad's initial step.
        item_alpha, user_alpha: L2 penalties.
        user_alpha_steps: number of steps in an epoch that user_alpha is meant for; 0 stands for the client's
            own. At each step LightFM shrinks all users of its data, not only the one in hand. A client has
            fewer steps than the pooled data, so it would shrink its users less; with the number of all
            clients' interactions here, it shrinks them as pooled training does.
        max_sampled: WARP's limit of negatives drawn for a positive.
        kos_k, kos_n: WARP k-OS's rank k and number of positives drawn n.
        merges_per_epoch: a round trains this fraction (one over it) of a local epoch.
        local_epochs: how often a round goes over that fraction.
        user_vectors: which vectors answer a client's users: those trained with the items, or those folded in
            from their histories. Where few clients are asked in each round, most trained ones belong to
            items of many rounds ago; folding in costs no round and no byte.
        cooldown_share: share of the training, its last, over which the rate falls linearly towards zero: the
            server's rate in a federation, the learning rate where LightFM trains on data in one place.
        proximal: pull of the items back to the round's base after each of these passes: FedProx.
        family: names this way to train.
    """

    loss: Loss = "warp"
    dims: Annotated[int, Ge(1)] = 32
    learning_rate: Annotated[float, Gt(0)] = 0.05
    item_alpha: Annotated[float, Ge(0)] = 0.0
    user_alpha: Annotated[float, Ge(0)] = 0.0
    user_alpha_steps: Annotated[int, Ge(0)] = 0
    max_sampled: Annotated[int, Ge(1)] = 10
    kos_k: Annotated[int, Ge(1)] = 5
    kos_n: Annotated[int, Ge(1)] = 10
    merges_per_epoch: Annotated[int, Ge(1)] = 1
    local_epochs: Annotated[int, Ge(1)] = 1
    proximal: Annotated[float, Ge(0)] = 0.0
    cooldown_share: Annotated[float, Ge(0), Le(1)] = 0.0
    user_vectors: UserVectors = "trained"
    family: Literal["lightfm"] = "lightfm"


def cooled_down(rate: float, share: float, done: float) -> float:
    """The rate where so much of a training is done: constant, then falling linearly towards zero.

    Late steps of a constant rate move about the optimum without coming closer; falling ones average their
    noise away. The schedule is that of Zhai et al. 2022 (Scaling Vision Transformers) without its warm-up.

    Args:
        rate: before it falls.
        share: of the training, its last, over which it falls; in [0, 1].
        done: share of the training that is over, in [0, 1).
    """
    left = 1.0 - done
    return rate * left / share if left < share else rate
