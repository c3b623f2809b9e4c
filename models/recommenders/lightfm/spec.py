"""LightFM's settings, the dependencies between them, and the cooldown of its rate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Gt, Le

from models.kernel.settings import defaults_of, refuse_without_effect

Loss = Literal["warp", "bpr", "logistic", "warp-kos"]
MergeRuleName = Literal["adagrad_sum", "sum", "mean", "weighted_mean", "fedadagrad", "fedadam", "fedyogi"]
UserVectors = Literal["trained", "folded_in"]

# Bits of a value in an update that needs no error feedback.
WHOLE_BITS = 16


class EpochPart(NamedTuple):
    """The part of an epoch that a round trains.

    Attributes:
        epoch: number of the epoch, from 0.
        part: number of the part, from 0.
        parts: number of parts of this epoch.
    """

    epoch: int
    part: int
    parts: int


@dataclass(frozen=True)
class LightFMSpec:
    """The settings of LightFM (Kula 2015): training on clients, and merging on the server.

    Attributes:
        loss: LightFM's loss. All of them draw negatives from the whole catalogue, here also BPR.
        dims: latent dimensions.
        learning_rate: Adagrad's initial step.
        item_alpha, user_alpha: L2 penalties.
        user_alpha_steps: number of steps in an epoch for which user_alpha is chosen; 0 means the client's own
            number. At each step LightFM shrinks all users of its data, not only the current one. A client has
            fewer steps than the pooled data, so it would shrink its users less. With the number of all
            clients' interactions here, it shrinks them as pooled training does.
        max_sampled: WARP's maximal number of negatives drawn for a positive.
        kos_k, kos_n: WARP k-OS's rank k and number of positives drawn n.
        merges_per_epoch: number of rounds per local epoch; a round trains one over this of an epoch.
        early_epochs: number of first epochs with `early_merges` rounds each. Item embeddings start near zero,
            and clients that merge once an epoch pull them apart before they agree on a direction.
        early_merges: number of rounds of each of these epochs.
        local_epochs: number of passes of a round over that part.
        merge_rule: the rule that merges the clients' updates.
        server_learning_rate: factor on the server's step. The means do not use it. The adaptive rules
            (`fedadagrad`, `fedadam`, `fedyogi`) need about 0.1.
        user_vectors: which vectors serve a client's users: those trained with the items, or those folded in
            from their histories. If each round selects few clients, most trained vectors belong to items of
            many rounds ago. Fold-in costs no round and no byte.
        cooldown_share: last share of the training, over which the rate falls linearly towards zero: the
            server's rate in a federation, the learning rate if LightFM trains on data in one place.
        proximal: strength of FedProx, which pulls the items back to the round's base after each pass.
        sent_rows: largest share of the items' rows in an update: those that changed most.
        sent_bits: bits of a value in an update. What an update leaves out, because it lacks rows or has fewer
            than 16 bits, is added to the client's next one (`models.federation.error_feedback`).
        family: the family's name.

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
    early_epochs: Annotated[int, Ge(0)] = 0
    early_merges: Annotated[int, Ge(1)] = 8
    local_epochs: Annotated[int, Ge(1)] = 1
    proximal: Annotated[float, Ge(0)] = 0.0
    sent_rows: Annotated[float, Gt(0), Le(1)] = 1.0
    sent_bits: Annotated[int, Ge(4), Le(WHOLE_BITS)] = WHOLE_BITS
    cooldown_share: Annotated[float, Ge(0), Le(1)] = 0.0
    merge_rule: MergeRuleName = "adagrad_sum"
    server_learning_rate: Annotated[float, Gt(0)] = 1.0
    user_vectors: UserVectors = "trained"
    family: Literal["lightfm"] = "lightfm"

    def __post_init__(self) -> None:
        for name, other in _unused(vars(self)).items():
            refuse_without_effect(self, name, other, getattr(self, other))

    @property
    def feeds_back(self) -> bool:
        """Return whether clients keep what their updates leave out."""
        return self.sent_rows < 1.0 or self.sent_bits < WHOLE_BITS

    def part_of(self, round_: int) -> EpochPart:
        """Return the part of an epoch that a round trains. Rounds count from 1."""
        done = round_ - 1
        early = self.early_epochs * self.early_merges
        if done < early:
            return EpochPart(*divmod(done, self.early_merges), self.early_merges)
        epoch, part = divmod(done - early, self.merges_per_epoch)
        return EpochPart(self.early_epochs + epoch, part, self.merges_per_epoch)

    def epochs_of(self, rounds: int) -> float:
        """Return the number of epochs that the first `rounds` rounds train."""
        if not rounds:
            return 0.0
        last = self.part_of(rounds)
        return last.epoch + (last.part + 1) / last.parts

    def rounds_of(self, epochs: float) -> float:
        """Return the number of rounds that train this number of epochs; the inverse of `epochs_of`."""
        early = min(epochs, self.early_epochs)
        return early * self.early_merges + (epochs - early) * self.merges_per_epoch

    def planned(self, given: Collection[str]) -> LightFMSpec:
        """Return the settings for a job of `PLANNED_EPOCHS` epochs: with early merges and a cooldown.

        Args:
            given: names of the settings that stay as they are.
        """
        unused = _unused(vars(self) | _PLAN)
        if self.merges_per_epoch > self.early_merges:
            unused["early_epochs"] = "merges_per_epoch"
        plan = {name: value for name, value in _PLAN.items() if name not in given and name not in unused}
        return replace(self, **plan)

    def check_rounds(self, rounds: int) -> None:
        """Raise `InvalidConfig` if a setting has no effect in a job of `rounds` merges."""
        if cooled_down(1.0, self.cooldown_share, (rounds - 1) / rounds) == 1.0:
            refuse_without_effect(self, "cooldown_share", "federation.rounds", rounds)
        if self.rounds_of(self.early_epochs) >= rounds:
            refuse_without_effect(self, "merges_per_epoch", "early_epochs", self.early_epochs)


# Settings that training on data in one place does not use.
OF_ROUNDS = frozenset(
    {
        "user_alpha_steps",
        "merges_per_epoch",
        "early_epochs",
        "early_merges",
        "local_epochs",
        "proximal",
        "sent_rows",
        "sent_bits",
        "merge_rule",
        "server_learning_rate",
    }
)
# What `LightFMSpec.planned` chooses; docs/tuning.md has the measurements.
PLANNED_EPOCHS = 30
_PLAN: dict[str, Any] = {"early_epochs": 5, "cooldown_share": 0.5}
_MEANS: tuple[MergeRuleName, ...] = ("mean", "weighted_mean")
# Setting -> another setting, and the values of that one with which the setting has no effect.
_WITHOUT_EFFECT: dict[str, tuple[str, tuple[object, ...]]] = {
    "user_alpha_steps": ("user_alpha", (0.0,)),
    "early_merges": ("early_epochs", (0,)),
    "max_sampled": ("loss", ("bpr", "logistic")),
    "kos_k": ("loss", ("warp", "bpr", "logistic")),
    "kos_n": ("loss", ("warp", "bpr", "logistic")),
    "cooldown_share": ("merge_rule", _MEANS),
    "server_learning_rate": ("merge_rule", _MEANS),
}


def without_unused(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings `values`, with those that have no effect reset to their defaults."""
    defaults, unused = defaults_of(LightFMSpec), _unused(values)
    return {name: defaults[name] if name in unused else value for name, value in values.items()}


def _unused(values: Mapping[str, Any]) -> dict[str, str]:
    """Return setting without effect -> the other setting whose value causes that."""
    every = defaults_of(LightFMSpec) | dict(values)
    found = {name: other for name, (other, those) in _WITHOUT_EFFECT.items() if every[other] in those}
    if every["kos_k"] > every["kos_n"]:
        found.setdefault("kos_k", "kos_n")  # no rank exceeds the number of draws
    if every["early_merges"] == every["merges_per_epoch"]:
        found.setdefault("early_epochs", "merges_per_epoch")
    return found


def cooled_down(rate: float, share: float, done: float) -> float:
    """Return the rate after the share `done` of a training: constant, then falling linearly towards zero.

    Late steps at a constant rate move around the optimum without getting closer. With a falling rate their
    noise averages out. The schedule is that of Zhai et al. 2022 (Scaling Vision Transformers) without its
    warm-up.

    Args:
        rate: the rate before it falls.
        share: last share of the training, over which it falls; in [0, 1].
        done: share of the training that is done, in [0, 1).
    """
    left = 1.0 - done
    return rate * left / share if left < share else rate
