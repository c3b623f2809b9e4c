"""LightFM's settings, which of them need which others, and how its rate falls towards the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from models.kernel.settings import defaults_of, refuse_without_effect

Loss = Literal["warp", "bpr", "logistic", "warp-kos"]
MergeRuleName = Literal["adagrad_sum", "sum", "mean", "weighted_mean", "fedadagrad", "fedadam", "fedyogi"]
UserVectors = Literal["trained", "folded_in"]


@dataclass(frozen=True)
class LightFMSpec:
    """How clients train LightFM (Kula 2015) in a round, and how the server merges.

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
        merge_rule: how the clients' updates become the next model.
        server_learning_rate: factor on the server's step. No mean has one; the adaptive rules (`fedadagrad`,
            `fedadam`, `fedyogi`) want about 0.1.
        user_vectors: which vectors answer a client's users: those trained with the items, or those folded in
            from their histories. Where few clients are asked in each round, most trained ones belong to
            items of many rounds ago; folding in costs no round and no byte.
        cooldown_share: share of the training, its last, over which the rate falls linearly towards zero: the
            server's rate in a federation, the learning rate where LightFM trains on data in one place.
        proximal: pull of the items back to the round's base after each of these passes: FedProx.
        family: names this way to train.

    Raises:
        InvalidConfig: a setting that differs from its default has no effect with the others.
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
    merge_rule: MergeRuleName = "adagrad_sum"
    server_learning_rate: Annotated[float, Gt(0)] = 1.0
    user_vectors: UserVectors = "trained"
    family: Literal["lightfm"] = "lightfm"

    def __post_init__(self) -> None:
        for name, other in _unused(vars(self)).items():
            refuse_without_effect(self, name, other, getattr(self, other))

    def check_rounds(self, rounds: int) -> None:
        """Raise `InvalidConfig` if a setting has no effect in a job of `rounds` merges."""
        if cooled_down(1.0, self.cooldown_share, (rounds - 1) / rounds) == 1.0:
            refuse_without_effect(self, "cooldown_share", "federation.rounds", rounds)


# What training on data in one place does not use.
OF_ROUNDS = frozenset(
    {
        "user_alpha_steps",
        "merges_per_epoch",
        "local_epochs",
        "proximal",
        "merge_rule",
        "server_learning_rate",
    }
)
_MEANS: tuple[MergeRuleName, ...] = ("mean", "weighted_mean")
# Setting -> another setting, and the values of that one with which the setting has no effect.
_WITHOUT_EFFECT: dict[str, tuple[str, tuple[object, ...]]] = {
    "user_alpha_steps": ("user_alpha", (0.0,)),
    "max_sampled": ("loss", ("bpr", "logistic")),
    "kos_k": ("loss", ("warp", "bpr", "logistic")),
    "kos_n": ("loss", ("warp", "bpr", "logistic")),
    "cooldown_share": ("merge_rule", _MEANS),
    "server_learning_rate": ("merge_rule", _MEANS),
}


def without_unused(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings `values` with those at their defaults that have no effect among them."""
    defaults, unused = defaults_of(LightFMSpec), _unused(values)
    return {name: defaults[name] if name in unused else value for name, value in values.items()}


def _unused(values: Mapping[str, Any]) -> dict[str, str]:
    """Return setting -> the other one with whose value it has no effect, of those that have none."""
    every = defaults_of(LightFMSpec) | dict(values)
    found = {name: other for name, (other, those) in _WITHOUT_EFFECT.items() if every[other] in those}
    if every["kos_k"] > every["kos_n"]:
        found.setdefault("kos_k", "kos_n")  # no rank is beyond the number of draws
    return found


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
