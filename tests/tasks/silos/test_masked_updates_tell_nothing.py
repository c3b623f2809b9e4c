"""Masked updates as a coordinator sees them, with one of four silos on its side: like random bytes."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from models.federation.model import ItemArrays
from models.kernel.packed import whole
from models.secure_sum.messages import read_prepared
from models.secure_sum.record import MemberRecord
from models.secure_sum.seeds import mask_key, pair_mask, self_mask, sign_of
from models.secure_sum.vectors import VectorSum
from tasks.bench.attacks.reading import LightFMReader, auc
from tasks.clients.train import train_client
from tasks.datasets.partition_reader import open_partition
from tasks.exchange.codec import decode_update
from tests.models.secure_sum.test_uniform import is_uniform
from tests.worlds.sums.summing_silos import NAMES, TRAIN, SummingSilos

ITEMS = 2000
COLLUDER, HONEST = NAMES[-1], NAMES[:-1]
READER = LightFMReader()


class Seen:
    """What a coordinator has after four silos have masked, and what the silos' own disks have.

    Args:
        silos: of which nobody has been asked yet.
    """

    def __init__(self, silos: SummingSilos) -> None:
        self.silos, self.layout = silos, silos.form.layout
        self.session, protocol = silos.session(), silos.protocol()
        self.mask_keys, self.masked = dict[str, bytes](), dict[str, bytes]()
        for name in NAMES:
            message = silos.ask("prepare", name, silos.sum_order()).messages[TRAIN]
            protocol.add_prepared(name, message)
            self.mask_keys[name] = read_prepared(self.session, name, message)[0].mask_key
        for name in NAMES:
            answer = silos.ask("train", name, silos.sum_order(protocol.mask_request(name)))
            message = silos.message_of(answer)
            protocol.add_masked(name, message)
            self.masked[name] = message.partition(b"\n")[2]

    def private(self, name: str) -> X25519PrivateKey:
        """Return a silo's secret of this sum from its disk."""
        return mask_key(self.session, name, self._record(name).seeds.mask)

    def without(self, name: str, others: tuple[str, ...], *, own: bool = False) -> VectorSum:
        """Return a silo's masked vector without the masks that it has with others, and its own."""
        vector = VectorSum(self.layout)
        vector.add_packed(self.masked[name])
        for other in others:
            names = (name, other)
            key = pair_mask(
                self.session, self.private(other), self.mask_keys[name], names, self.layout.digest
            )
            vector.add_mask(key, times=-sign_of(name, other))
        if own:
            seed = self._record(name).seeds.own
            vector.add_mask(self_mask(self.session, name, seed, self.layout.digest), times=-1)
        return vector

    def _record(self, name: str) -> MemberRecord:
        path = self.silos.silos[name].home.silos / name / "sums" / "job-1" / f"{TRAIN}.record"
        return MemberRecord.from_bytes(path.read_bytes())

    @cached_property
    def plain(self) -> dict[str, ItemArrays]:
        """Return the silos' updates without masks."""
        job = replace(self.silos.job, secure_sum=False, silos_dir=str(self.silos.root / "local"))
        found = {}
        for name in NAMES:
            order = replace(self.silos.order("train", name, None).order, job=job)
            update = decode_update(self.silos.exchange.get(train_client(order).update))
            found[name] = whole(update.contribution.arrays)
        return found

    def arrays(self, vector: VectorSum) -> ItemArrays:
        """Return a vector read as if it were not masked."""
        return self.silos.form.running_sum(vector.blocks(), ()).total

    @cached_property
    def used(self) -> dict[str, np.ndarray]:
        """Return name -> (items,): whether the silo's users used the item."""
        partition = open_partition(self.silos.job.data_dir)
        return {
            name: np.isin(
                partition.catalog.ids, pd.read_parquet(partition.client(name).path)["item_id"].unique()
            )
            for name in NAMES
        }


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return Seen(SummingSilos.below(tmp_path_factory.mktemp("silos"), items=ITEMS, liked=60))


def test_with_all_secrets_the_update_comes_out(seen: Seen) -> None:
    """The other tests would find something if there were something."""
    for name in HONEST:
        others = tuple(each for each in NAMES if each != name)
        vector = seen.without(name, others, own=True)
        for (array, got), (_, expected) in zip(
            seen.arrays(vector).named(), seen.plain[name].named(), strict=True
        ):
            np.testing.assert_array_equal(got, expected, err_msg=array)
        assert not is_uniform(vector.packed())


@pytest.mark.parametrize("name", HONEST)
def test_with_a_colluder_s_secrets_an_update_is_still_uniform(seen: Seen, name: str) -> None:
    assert is_uniform(seen.masked[name])
    left = seen.without(name, (COLLUDER,)).packed()
    assert left != seen.masked[name]
    assert is_uniform(left)
    # As is what any two of them have in common.
    for other in HONEST:
        if other != name:
            two = seen.without(name, (COLLUDER,))
            two.add_packed(seen.without(other, (COLLUDER,)).packed())
            assert is_uniform(two.packed())


def test_no_reading_of_a_masked_update_is_better_than_chance(seen: Seen) -> None:
    """The AUC of a random score has the variance of Mann and Whitney (1947)."""
    shown = {name: READER.seen(seen.arrays(seen.without(name, (COLLUDER,)))) for name in HONEST}
    plain = {name: READER.seen(seen.plain[name]) for name in HONEST}
    for name in HONEST:
        used = seen.used[name]
        n, m = int(used.sum()), int((~used).sum())
        noise = ((n + m + 1) / (12 * n * m)) ** 0.5
        known = tuple(each for each in HONEST if each != name)
        for score, values in (READER.scores(shown[name]) | _fitted(seen, shown, name, known)).items():
            assert abs(auc(values, used) - 0.5) < 0.02 + 5 * noise, score
        # The same readers of the plain update know.
        assert auc(READER.scores(plain[name])["accumulators"], used) > 0.9
        assert auc(_fitted(seen, plain, name, known)["fitted"], used) > 0.9


def _fitted(
    seen: Seen, views: dict[str, np.ndarray], name: str, known: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Return the best linear guess, fitted to silos whose items the reader knows."""
    scaled = {each: np.column_stack([view, np.ones(len(view))]) for each, view in views.items()}
    features = np.concatenate([scaled[each] for each in known])
    truth = np.concatenate([seen.used[each] for each in known]).astype(np.float64)
    weights, *_ = np.linalg.lstsq(features, truth, rcond=None)
    return {"fitted": scaled[name] @ weights}
