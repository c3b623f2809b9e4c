"""Laws that every registered family keeps, those of installed packages among them.

What is particular to a family stands in the tests of its own room.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from models.errors import InvalidInput
from models.evaluation.ranking import HeldOutRanks, Scores, held_out_ranks
from models.federation.contribution import Contribution
from models.federation.model import ClientUpdate, GlobalModel, ItemModel
from models.kernel.arrays import ArrayGroup
from models.kernel.histories import Histories
from models.recommenders.base.data import Part
from models.recommenders.base.family import Family, LocalRound
from models.recommenders.base.ratings import RatedData, Ratings
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.base.users import UserArrays
from models.recommenders.families.registry import (
    answering,
    contribution_types,
    families,
    family_named,
    family_of,
    model_types,
    spec_of,
)
from models.recommenders.items.features import ItemFeatures
from models.recommenders.scoring.scorers import scorer_of_kind
from tasks.exchange.codec import decode_model, decode_update, encode_model, encode_update

ITEMS, USED, SEED = 14, 6, 3
# Nobody uses it.
COLD = 13
# Enough for every kind of round that a family has.
ROUNDS = 7
CATALOG = "catalogue"
EVERY = families()


@dataclass(frozen=True)
class Client:
    """What a client trains on, with one held-out item and rating a user.

    Attributes:
        user_ids: of its users.
        used: (users, USED + 1) item rows of each user, the oldest first; the last is held out.
    """

    user_ids: tuple[str, ...]
    used: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.user_ids), ITEMS

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Users and items of the training interactions."""
        owners = np.repeat(np.arange(len(self.used)), USED)
        return owners.astype(np.int32), self.used[:, :-1].ravel().astype(np.int32)

    @property
    def training(self) -> TrainingSet:
        return TrainingSet(*self.rows, self.shape)

    @property
    def histories(self) -> Histories:
        users, items = self.rows
        return Histories.of(users, items, np.tile(np.arange(USED), len(self.used)), self.shape)

    @property
    def rated(self) -> RatedData:
        users, items = self.rows
        return RatedData(Ratings.of(users, items, self.stars(users, items), self.shape), self.user_ids)

    def stars(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Ratings from 1 to 5 of these pairs, which depend on the users' ids and not on their rows."""
        ids = np.array([int(user_id) for user_id in self.user_ids])
        return 1.0 + (2 * ids[users] + items) % 5

    def ranks(self, scores: Scores, part: Part) -> HeldOutRanks:
        users, items = self.rows
        negatives = (self.used[:, -1:] + np.arange(1, 4)) % ITEMS
        return held_out_ranks(
            scores,
            ITEMS,
            case_users=np.arange(len(self.used)),
            case_items=self.used[:, -1],
            train_users=users,
            train_items=items,
            negatives=negatives,
        )

    def held_out_ratings(self, part: Part) -> Ratings:
        users, items = np.arange(len(self.used)), self.used[:, -1]
        return Ratings.of(users, items, self.stars(users, items), self.shape)


def client(first: int, last: int) -> Client:
    """The users from `first` to before `last` of a world in which each likes items near one another."""
    random = np.random.default_rng(5)
    near = [(random.integers(COLD) + random.permutation(9)[: USED + 1]) % COLD for _ in range(10)]
    return Client(tuple(str(user) for user in range(first, last)), np.array(near[first:last]))


ASH, BIRCH, TOGETHER = client(0, 6), client(6, 10), client(0, 10)
FEATURES = ItemFeatures(
    items=ITEMS,
    columns=("kind",),
    labels={"kind": {name: np.arange(place, ITEMS, 3) for place, name in enumerate("abc")}},
    numbers={},
)


@dataclass(frozen=True)
class Round:
    """One round of one client: what it started from, contributed, kept and led to."""

    base: GlobalModel
    users: UserArrays | None
    arrays: ArrayGroup
    kept: UserArrays | None
    model: GlobalModel


def trained(family: Family, data: Client, base: GlobalModel, users: UserArrays | None) -> Any:
    return family.train(base.items, users, data, LocalRound("ash", base.round + 1, SEED))


def users_of(family: Family, data: Client) -> UserArrays | None:
    if not family.keeps_users:
        return None
    return family.initial_users(len(data.user_ids), seed=SEED, client_id="ash")


def rounds_of(family: Family, rounds: int = ROUNDS) -> Iterator[Round]:
    base, users = GlobalModel(0, CATALOG, family.initial(ITEMS, SEED)), users_of(family, TOGETHER)
    for _ in range(rounds):
        arrays, kept = trained(family, TOGETHER, base, users)
        rule = family.rule(base.round / rounds, SEED)
        sent = rule.rounded(rule.contribution(arrays, USED))
        update = ClientUpdate("ash", base.round, "base", CATALOG, sent)
        model = rule.finish(rule.add(rule.empty(base), base, update), base)
        yield Round(base, users, arrays, kept, model)
        base, users = model, kept


@pytest.fixture(scope="module", params=EVERY, ids=lambda family: family.name())
def family(request: pytest.FixtureRequest) -> Family:
    """Each family, trained as its defaults say."""
    made: Family = family_of(request.param.spec_type())
    return made


@pytest.fixture(scope="module")
def rounds(family: Family) -> list[Round]:
    return list(rounds_of(family))


@pytest.fixture(scope="module")
def model(rounds: list[Round]) -> ItemModel:
    return rounds[-1].model.items


def content(arrays: Any) -> list[tuple[str, bytes]]:
    if arrays is None:
        return []
    return [(one.name, getattr(arrays, one.name).tobytes()) for one in dataclasses.fields(arrays)]


def assert_plain(arrays: ArrayGroup) -> None:
    assert arrays.is_finite()
    assert {str(array.dtype) for _, array in arrays.named()} == {"float32"}


def test_there_are_families() -> None:
    assert {"lightfm", "ials", "ease", "next_item", "blend", "bayesian_mf"} <= {each.name() for each in EVERY}


def test_a_family_is_found_by_its_name_its_spec_and_its_model(family: Family, model: ItemModel) -> None:
    assert family_named(family.name()) is type(family)
    assert type(family_of(family.spec)) is type(family)
    # Another family of the same models may be found; it answers alike.
    assert answering(model).model_type is type(model) is family.model_type
    assert family.model_type in model_types()
    assert set(family.contribution_types) <= set(contribution_types())
    assert scorer_of_kind(family.scorer_type.KIND) is family.scorer_type


def test_a_spec_is_a_frozen_dataclass_of_json_values(family: Family) -> None:
    spec: Any = family.spec
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.family = "another"
    assert spec_of(json.loads(json.dumps(dataclasses.asdict(spec)))) == spec


def test_the_initial_model_has_a_row_for_each_item_and_depends_on_the_seed_alone(family: Family) -> None:
    initial = family.initial(ITEMS, SEED)
    assert type(initial) is family.model_type
    assert (len(initial), len(initial.vectors), len(initial.trained)) == (ITEMS, ITEMS, ITEMS)
    assert_plain(initial)
    assert content(initial) == content(family.initial(ITEMS, SEED))


def test_a_contribution_has_a_declared_form(family: Family, rounds: list[Round]) -> None:
    for each in rounds:
        assert type(each.arrays) in family.contribution_types
        assert_plain(each.arrays)
        zero = family.rule(0.0, SEED).zero(each.base.items)
        for (name, array), (_, expected) in zip(each.arrays.named(), zero.named(), strict=True):
            assert array.shape == expected.shape, name
    assert {type(each.arrays) for each in rounds} == set(family.contribution_types)


def test_training_again_gives_the_same_bytes(family: Family, rounds: list[Round]) -> None:
    for each in rounds:
        arrays, kept = trained(family, TOGETHER, each.base, each.users)
        assert content(arrays) == content(each.arrays)
        assert content(kept) == content(each.kept)


@pytest.mark.parametrize("cooldown_share", [0.0, 0.5, 1.0])
def test_the_rounds_that_two_lengths_share_are_the_same(family: Family, cooldown_share: float) -> None:
    if "cooldown_share" in vars(family.spec):
        family = dataclasses.replace(
            family, spec=dataclasses.replace(family.spec, cooldown_share=cooldown_share)
        )
    elif cooldown_share:
        return
    shared = family.shared_rounds(4, 6, SEED)
    assert shared == family.shared_rounds(6, 4, SEED)
    one, other = ([content(each.model.items) for each in rounds_of(family, rounds)] for rounds in (4, 6))
    assert one[:shared] == other[:shared]
    if shared < len(one):
        assert one[shared] != other[shared]


def test_users_are_kept_by_those_families_that_say_so(family: Family, rounds: list[Round]) -> None:
    assert {each.kept is not None for each in rounds} == {family.keeps_users}
    if not family.keeps_users:
        assert family.answers_by_history
        with pytest.raises(InvalidInput, match="keeps no users"):
            family.initial_users(3, seed=SEED, client_id="ash")


def test_a_merged_model_is_one_of_the_family(family: Family, rounds: list[Round]) -> None:
    for each in rounds:
        assert each.model.round == each.base.round + 1
        assert type(each.model.items) is family.model_type
        assert each.model.items.shape == each.base.items.shape
        assert_plain(each.model.items)
    assert content(rounds[-1].model.items) != content(rounds[0].base.items)


def test_what_adds_is_the_same_for_two_clients_and_for_their_users_in_one_place(
    family: Family, rounds: list[Round]
) -> None:
    for each in rounds if family.is_additive else []:
        rule, state = family.rule(each.base.round / ROUNDS, SEED), None
        for name, data in (("ash", ASH), ("birch", BIRCH)):
            arrays, _ = trained(family, data, each.base, None)
            update = ClientUpdate(name, each.base.round, "base", CATALOG, rule.contribution(arrays, USED))
            state = rule.add(state or rule.empty(each.base), each.base, update)
        assert state is not None
        for (name, total), (_, whole) in zip(state.total.named(), each.arrays.named(), strict=True):
            np.testing.assert_allclose(total, whole, rtol=1e-4, atol=1e-4, err_msg=name)


def test_a_sum_depends_on_neither_order_nor_grouping(family: Family, rounds: list[Round]) -> None:
    """Clients of two users each, in any order, and as sums of sums."""
    for each in rounds:
        rule, parts = family.rule(each.base.round / ROUNDS, SEED), []
        for first in range(0, 10, 2):
            data = client(first, first + 2)
            arrays, _ = trained(family, data, each.base, users_of(family, data))
            parts.append(rule.rounded(rule.contribution(arrays, USED * 2)))

        def added(*parts: Contribution[Any]) -> Contribution[Any]:
            state = rule.empty(each.base)  # noqa: B023  # it is called before the loop goes on
            for number, part in enumerate(parts):
                state = state.plus(str(number), part)
            return Contribution(state.total, state.weight, state.interactions, state.metrics)

        one, two, three, four, five = parts
        expected = added(*parts)
        for other in (
            added(five, three, one, four, two),
            added(added(two, five), added(added(four, one), three)),
        ):
            assert content(other.arrays) == content(expected.arrays)
            assert other.metrics == expected.metrics
            assert (other.weight, other.interactions) == (expected.weight, expected.interactions)


def test_a_family_that_is_not_iterative_contributes_the_same_whatever_was_known(
    family: Family, rounds: list[Round]
) -> None:
    if not family.is_iterative:
        assert len({str(content(each.arrays)) for each in rounds}) == 1


def test_training_alone_makes_a_model_of_the_family(family: Family) -> None:
    items, users = family.trained_alone(ASH, rounds=ROUNDS, seed=SEED, client_id="ash")
    assert type(items) is family.model_type
    assert items.is_finite()
    assert (users is not None) == family.keeps_users


def test_a_family_may_learn_what_the_items_are(family: Family, model: ItemModel) -> None:
    described = family.with_features(lambda: FEATURES)
    assert type(described) is type(family)
    again = described.with_features_of(described.initial(ITEMS, SEED))
    assert content(again.initial(ITEMS, SEED)) == content(described.initial(ITEMS, SEED))


def test_scores_are_one_finite_number_for_each_user_and_item(
    family: Family, rounds: list[Round], model: ItemModel
) -> None:
    for users in (rounds[-1].kept, None):
        found = family.scores(model, users, TOGETHER)(np.array([2, 0, 2]))
        assert found.shape == (3, ITEMS)
        assert np.isfinite(found).all()
        # Some processors' matrix products add up the last rows of a batch in another order.
        np.testing.assert_allclose(found[0], found[2], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_model_is_judged_by_the_metrics_of_its_family(
    family: Family, rounds: list[Round], part: Part
) -> None:
    judged = family.judge(rounds[-1].model.items, rounds[-1].kept, TOGETHER, part)
    assert set(judged.metrics) == set(family.judgement.metrics)
    assert {metric.weight for metric in judged.metrics.values()} == {10.0}
    assert judged.worth.shape == (10,)
    assert np.isfinite(judged.worth).all()


@pytest.mark.parametrize("features", [None, FEATURES.matrix], ids=["bare", "described"])
def test_a_scorer_made_again_of_its_parts_answers_the_same(
    family: Family, model: ItemModel, features: Callable[[], Any] | None
) -> None:
    scorer = family.scorer(model, features)
    assert type(scorer) is family.scorer_type
    assert len(scorer) == ITEMS
    parts = scorer.parts()

    def read(name: str, shape: tuple[int, ...] | None) -> np.ndarray:
        assert shape in (None, parts.arrays[name].shape)
        return parts.arrays[name]

    settings = json.loads(json.dumps(parts.settings))
    again = scorer_of_kind(scorer.KIND).of_parts(settings, ITEMS, model.shape[1], read)
    for history in ([], [0], [4, 1, 9]):
        ours, theirs = scorer.score(history), again.score(history)
        assert ours.scores.shape == (ITEMS,)
        assert np.isfinite(ours.scores).all()
        assert ours.scores.tobytes() == theirs.scores.tobytes()
        assert ours.reasons([2, COLD], 2) == theirs.reasons([2, COLD], 2)
    assert scorer.similarities(3).tobytes() == again.similarities(3).tobytes()
    assert scorer.directions([3, 5]).tobytes() == again.directions([3, 5]).tobytes()
    assert again.passes == scorer.passes >= 1
    assert (again.rater is None) == (scorer.rater is None)


def test_a_scorer_answers_a_history_as_the_evaluation_does(family: Family, model: ItemModel) -> None:
    scorer, histories = family.scorer(model), TOGETHER.histories
    expected = family.history_scores(model, histories)(np.arange(len(histories)))
    for history, wanted in zip(histories, expected, strict=True):
        np.testing.assert_allclose(scorer.score(history.tolist()).scores, wanted, rtol=1e-3, atol=1e-5)


def test_a_model_and_an_update_come_back_from_their_files(family: Family, rounds: list[Round]) -> None:
    for each in rounds:
        stored = decode_model(encode_model(each.model))
        assert type(stored.items) is family.model_type
        assert content(stored.items) == content(each.model.items)
        rule = family.rule(0.0, SEED)
        sent = rule.rounded(rule.contribution(each.arrays, USED))
        update = ClientUpdate("ash", each.base.round, "base", CATALOG, sent)
        back = decode_update(encode_update(update)).contribution
        assert type(back.arrays) is type(each.arrays)
        assert content(back.arrays) == content(sent.arrays)
        assert back.ranges == sent.ranges


def test_a_model_of_another_family_is_refused(family: Family) -> None:
    others = [each for each in EVERY if each.model_type is not family.model_type]
    other = family_of(others[0].spec_type()).initial(ITEMS, SEED)
    for answer in (
        lambda: trained(family, ASH, GlobalModel(0, CATALOG, other), users_of(family, ASH)),
        lambda: family.scorer(other),
        lambda: family.history_scores(other, ASH.histories)(np.array([0])),
    ):
        with pytest.raises(InvalidInput, match="another family's"):
            answer()
