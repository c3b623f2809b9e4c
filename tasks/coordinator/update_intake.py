"""Reading the updates of a round: each is read, hashed and profiled once, then added to the sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from data_contracts.updates import profile_update
from models.errors import FedrecError, InvalidInput
from models.federation.contribution import Contribution, RunningSum
from models.federation.fixed_point import ranges_for
from models.federation.merge import MergeRule, add_update
from models.federation.model import ClientUpdate, GlobalModel
from models.kernel.arrays import ArrayGroup
from models.kernel.packed import PackedArrays
from models.kernel.ranges import Range
from tasks.exchange.codec import decode_update
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.messages.answers import Delivery

# Within these bounds all updates of a round stay in memory until the update contract has judged them.
HELD_CLIENTS = 100
HELD_BYTES = 512 << 20
# Bytes allowed for the facts and metrics of an update, besides its arrays.
_HEADER_BYTES = 1 << 16
# Of the widest whole number by which a value may travel.
_WIDEST_BYTES = 8
_FLAGS = (
    *("interactions_ok", "weight_ok", "ranges_ok", "shape_ok", "dtype_ok", "finite"),
    "accumulators_nonnegative",
)


class UpdateIntake:
    """Reads the updates of one round, and adds up those that the update contract accepts.

    The contract judges all updates of a round together, after all are read. Updates within `HELD_CLIENTS` and
    `HELD_BYTES`, of files and of arrays, stay in memory until then. Beyond these bounds one update at a time
    is in memory: each is added while it is read unless its profile shows a fault, and the accepted ones are
    read again only if the contract refuses one that was added.

    Args:
        exchange: where the updates are stored.
        rule: the merge rule.
        base: the model that the updates must start from.
        base_ref: reference of that model.
        deliveries: the updates that arrived, in any order.
        reported: client id -> number of interactions that it had when its data were checked.
        own_ranges: array name -> the job's range of its values, in place of the rule's.
        noisy: whether clients add noise.

    Attributes:
        arrived: the deliveries, by client id.
        profiles: one row for each update that could be read.
        refused: client id -> why its update could not be read.
    """

    def __init__(
        self,
        exchange: Exchange,
        rule: MergeRule[Any, Any],
        base: GlobalModel,
        base_ref: ArtifactRef,
        deliveries: Sequence[Delivery],
        reported: Mapping[str, int] = MappingProxyType({}),
        own_ranges: Mapping[str, Range] = MappingProxyType({}),
        noisy: bool = False,
    ) -> None:
        self._reported, self._noisy = reported, noisy
        self._exchange, self._rule, self._base, self._base_ref = exchange, rule, base, base_ref
        self._form: ArrayGroup = rule.zero(base.items)
        self._ranges = ranges_for(type(self._form), rule.ranges, own_ranges)
        self._expected: int = sum(array.size * _WIDEST_BYTES for _, array in self._form.named())
        self.arrived = sorted(deliveries, key=lambda delivery: delivery.client_id)
        self.profiles: list[dict[str, object]] = []
        self.refused: dict[str, str] = {}
        sizes = [each.update.size for each in deliveries if self._may_read(each)]
        self._holds = len(sizes) <= HELD_CLIENTS and sum(sizes) <= HELD_BYTES
        self._held: dict[str, ClientUpdate] = {}
        self._held_bytes = 0
        self._sum = rule.summation(base)
        for delivery in self.arrived:
            try:
                self._take(delivery)
            except FedrecError as error:
                self.refused[delivery.client_id] = str(error)

    def sum_of(self, accepted: Sequence[Delivery]) -> RunningSum[Any]:
        """Return the sum of the contributions of these deliveries, which are sorted by client id."""
        if self._sum.clients == tuple(delivery.client_id for delivery in accepted):
            return self._sum.result()
        return self._summed(accepted)

    def sums_of(
        self, groups: Sequence[tuple[str, ...]], accepted: Sequence[Delivery]
    ) -> dict[str, ArrayGroup | PackedArrays[Any]]:
        """Return the first client -> the sum of the arrays, of each of these groups of accepted clients.

        The arrays of a single client stay as they came, float32 and perhaps without rows of zeros. The sums
        of several are whole arrays of float64. Of updates that are not in memory, one at a time is read.
        """
        by_name = {delivery.client_id: delivery for delivery in accepted}
        return {
            group[0]: (
                self._update(by_name[group[0]]).contribution.arrays
                if len(group) == 1
                else self._summed([by_name[each] for each in group]).total
            )
            for group in groups
        }

    def held(self, accepted: Sequence[Delivery]) -> dict[str, Contribution[Any]]:
        """Return client id -> contribution of these deliveries; empty if they are not in memory."""
        if not self._holds:
            return {}
        return {each.client_id: self._held[each.client_id].contribution for each in accepted}

    def _summed(self, deliveries: Sequence[Delivery]) -> RunningSum[Any]:
        state = self._rule.summation(self._base)
        for delivery in deliveries:
            add_update(state, self._base, self._update(delivery))
        return state.result()

    def _update(self, delivery: Delivery) -> ClientUpdate:
        return self._held.get(delivery.client_id) or self._read(delivery)

    def _take(self, delivery: Delivery) -> None:
        # An update that is larger than the expected arrays is refused before it is read.
        if not self._may_read(delivery):
            raise InvalidInput(
                f"The update of {delivery.client_id} has {delivery.update.size} bytes, but its arrays have "
                f"at most {self._expected}."
            )
        update = self._read(delivery)
        if update.client_id != delivery.client_id:
            raise FedrecError(
                f"The update of {delivery.client_id} names client {update.client_id!r} instead."
            )
        profile = profile_update(
            update,
            self._base,
            self._base_ref.sha256,
            self._form,
            self._rule.weight_of,
            self._reported.get(delivery.client_id),
            self._ranges,
            self._noisy,
        )
        self.profiles.append(profile)
        if self._holds:
            self._hold(update)
        elif self._can_add(profile):
            add_update(self._sum, self._base, update)

    def _hold(self, update: ClientUpdate) -> None:
        """Keep an update in memory, or add it and all that are kept if they are too large together."""
        self._held[update.client_id] = update
        # A compressed update is many times as large as its file.
        self._held_bytes += sum(array.nbytes for _, array in update.contribution.arrays.named())
        if self._held_bytes <= HELD_BYTES:
            return
        self._holds = False
        for profile in self.profiles:
            if self._can_add(profile):
                add_update(self._sum, self._base, self._held[str(profile["client_id"])])
        self._held.clear()

    def _may_read(self, delivery: Delivery) -> bool:
        return delivery.update.size <= self._most

    def _read(self, delivery: Delivery) -> ClientUpdate:
        return decode_update(
            self._exchange.get(delivery.update), f"The update of {delivery.client_id}", self._most
        )

    @property
    def _most(self) -> int:
        """Return the largest number of bytes of an update."""
        return self._expected + _HEADER_BYTES

    def _can_add(self, profile: dict[str, object]) -> bool:
        base = self._base
        return (
            all(profile[flag] for flag in _FLAGS)
            and (profile["base_round"], profile["catalog_digest"]) == (base.round, base.catalog_digest)
            and profile["client_id"] not in self._sum.clients
        )
