"""Every setting of every family changes what is learned or answered, or is refused.

The settings and their values are found from the specs, so a new setting is tested without being named here.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from annotated_types import Ge, Gt, Le

from models.errors import InvalidConfig, InvalidInput
from models.evaluation.judgement import RANKINGS
from models.federation.model import ClientUpdate, GlobalModel
from models.kernel.histories import Histories
from models.privacy.noise_plan import NoisePlan
from models.privacy.noised import noised
from models.recommenders.base.family import LocalRound
from models.recommenders.base.ratings import RatedData, Ratings
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.families.registry import families, family_of
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.private.spec import DpItemsSpec
from models.recommenders.rating.spec import RatingSpec

# More items than `dp_items` pairs with a tenth of its default, few enough that LightFM needs many samples.
ITEMS, USERS, EACH, SEED = 81, 8, 12, 5
SPECS: tuple[type[Any], ...] = tuple(family.spec_type for family in families())
# Enough for kept draws with the default settings and with each other value; as many as the family has.
ROUNDS = {RatingSpec: 24, DpItemsSpec: 2}


@dataclass(frozen=True)
class Data:
    """A client's data in all forms."""

    training: TrainingSet
    histories: Histories
    rated: RatedData


def data_of(client: str) -> Data:
    random = np.random.default_rng(ord(client))
    users = np.repeat(np.arange(USERS, dtype=np.int32), EACH)
    items = np.concatenate([random.choice(ITEMS, EACH, replace=False) for _ in range(USERS)]).astype(np.int32)
    shape = (USERS, ITEMS)
    ratings = Ratings.of(users, items, random.integers(1, 6, len(users)).astype(np.float64), shape)
    return Data(
        TrainingSet(users, items, shape),
        Histories.of(users, items, np.tile(np.arange(EACH), USERS), shape),
        RatedData(ratings, tuple(f"{client}{user}" for user in range(USERS))),
    )


CLIENTS = {client: data_of(client) for client in "ab"}
NOISE = NoisePlan(multiplier=0.5, summands=2)
KEYS = {client: client.encode() * 32 for client in CLIENTS}


@cache
def learned(spec: Any) -> str:
    """Return a digest of the model after a small federation, and of what it answers to a client's users."""
    rounds = ROUNDS.get(type(spec), 4)
    family = family_of(spec).with_noise(NOISE)
    family.check_rounds(rounds)
    model = GlobalModel(0, "catalogue", family.initial(ITEMS, seed=SEED))
    users: dict[str, Any] = dict.fromkeys(CLIENTS)
    residuals: dict[str, Any] = dict.fromkeys(CLIENTS)
    if family.keeps_users:
        users = {client: family.initial_users(USERS, seed=SEED, client_id=client) for client in CLIENTS}
    for done in range(rounds):
        rule = family.rule(done / rounds, SEED)
        state = rule.empty(model)
        for client, data in CLIENTS.items():
            arrays, users[client] = family.train(
                model.items, users[client], data, LocalRound(client, done + 1, SEED)
            )
            contribution, residuals[client] = family.sent(
                rule.contribution(arrays, len(data.training)), residuals[client], rule.rounded
            )
            if noise := family.unit_noise(done + 1):
                # Shares of the privacy budget matter only where there is noise.
                deviations = NOISE.client_deviations(noise)
                contribution = noised(contribution, deviations, KEYS[client], (str(done),))
            state = rule.add(state, model, ClientUpdate(client, done, "base", "catalogue", contribution))
        model = rule.finish(state, model)
    digest = hashlib.sha256(b"".join(array.tobytes() for _, array in model.items.named()))
    if family.judgement is RANKINGS:
        scores = family.scores(model.items, users["a"], CLIENTS["a"])
        digest.update(scores(np.arange(USERS)).tobytes())
    return digest.hexdigest()


def other_values(kind: type[Any], name: str) -> list[Any]:
    """Return valid values of a setting that differ much from its default, found from its declared type."""
    default = {field.name: field.default for field in dataclasses.fields(kind)}[name]
    hint = get_type_hints(kind, include_extras=True)[name]
    if get_origin(hint) is not None and not hasattr(hint, "__metadata__"):
        return [choice for choice in get_args(hint) if choice != default]
    limits = getattr(hint, "__metadata__", ())
    low = next((each.ge for each in limits if isinstance(each, Ge)), -math.inf)
    above = next((each.gt for each in limits if isinstance(each, Gt)), -math.inf)
    high = next((each.le for each in limits if isinstance(each, Le)), math.inf)
    wanted = [default // 10, default + 3] if isinstance(default, int) else [default / 2, 2 * default + 0.7]
    if low == 0:
        wanted.append(type(default)(0))
    found = {value for value in wanted if low <= value <= high and value > above and value != default}
    return sorted(found or {default // 2})


def settings_of(kind: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.name != "family"]


def accepted(kind: type[Any], **settings: Any) -> str | None:
    """Return what is learned with these settings; None if they are refused."""
    try:
        return learned(kind(**settings))
    except InvalidInput as error:
        assert isinstance(error, InvalidConfig) or "scale" in error.what
        return None


CASES = [(kind, name) for kind in SPECS for name in settings_of(kind)]


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{kind.family}.{name}" for kind, name in CASES])
def test_another_value_is_refused_or_changes_what_is_learned(kind: type[Any], name: str) -> None:
    values = other_values(kind, name)
    assert values
    others = [{}] + [
        {other: value} for other in settings_of(kind) if other != name for value in other_values(kind, other)
    ]
    matters = False
    for beside in others:
        plain = accepted(kind, **beside)
        if plain is None:
            continue  # what stands beside it is refused by itself
        found = {accepted(kind, **beside, **{name: value}) for value in values} - {None}
        assert not found or found != {plain}, f"{name} is ignored with {beside}"
        matters |= bool(found)
    assert matters


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"loss": "warp", "kos_k": 3}, "kos_k"),
        ({"loss": "logistic", "kos_n": 3}, "kos_n"),
        ({"loss": "warp-kos", "kos_k": 4, "kos_n": 3}, "kos_k"),
        ({"loss": "bpr", "max_sampled": 3}, "max_sampled"),
        ({"loss": "logistic", "max_sampled": 3}, "max_sampled"),
        ({"user_alpha_steps": 7}, "user_alpha_steps"),
        ({"merge_rule": "mean", "cooldown_share": 0.5}, "cooldown_share"),
        ({"merge_rule": "weighted_mean", "server_learning_rate": 0.5}, "server_learning_rate"),
    ],
)
def test_a_setting_of_lightfm_without_effect_is_named(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(InvalidConfig) as error:
        LightFMSpec(**settings)
    assert error.value.key == key
    assert error.value.what.startswith(f"{key} {settings[key]!r} has no effect with ")
    assert f"Leave {key} at " in error.value.next_step
