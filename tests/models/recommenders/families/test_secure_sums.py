"""Secure and plain sums make the same models, to the byte, of every family and merge rule."""

from __future__ import annotations

import hashlib
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.federation.fixed_point import CLIPPED, ranges_for
from models.federation.model import GlobalModel
from models.federation.vector_form import VectorForm
from models.kernel.metric import Metric
from models.recommenders.base.family import Family
from models.recommenders.families.registry import family_of
from models.recommenders.lightfm.spec import LightFMSpec, MergeRuleName
from tasks.exchange.codec import encode_model
from tests.models.recommenders.families.test_family_laws import CATALOG, EVERY, ITEMS, SEED, client, users_of
from tests.worlds.sums.secure_sums import securely_summed

NAMES = ("ash", "birch", "cedar", "elm")
CLIENTS = {name: client(2 * place, 2 * place + 2 + place % 2) for place, name in enumerate(NAMES)}
SUBJECTS = [
    *(family_of(each.spec_type()) for each in EVERY),
    *(family_of(LightFMSpec(dims=4, merge_rule=name)) for name in get_args(MergeRuleName)),
]


def sha256(model: GlobalModel) -> str:
    return hashlib.sha256(encode_model(model)).hexdigest()


def contribution_of(family: Family, base: GlobalModel, name: str) -> Any:
    from models.recommenders.base.family import LocalRound

    data, rule = CLIENTS[name], family.rule(0.0, SEED)
    arrays, _ = family.train(base.items, users_of(family, data), data, LocalRound(name, base.round + 1, SEED))
    metrics = {"users": Metric(float(len(data.user_ids)), 1.0)}
    return rule.rounded(rule.contribution(arrays, len(data.training), metrics))


@pytest.mark.parametrize(
    "family", SUBJECTS, ids=lambda each: f"{each.name()}-{getattr(each.spec, 'merge_rule', 'solved')}"
)
@settings(max_examples=2)
@given(order=st.permutations(NAMES), dropped=st.sampled_from([(), *((name,) for name in NAMES)]))
def test_secure_and_plain_sums_make_the_same_model(family, order, dropped):
    base = GlobalModel(0, CATALOG, family.initial(ITEMS, SEED))
    for done in range(3):
        rule = family.rule(done / 3, SEED)
        contributions = {name: contribution_of(family, base, name) for name in NAMES}
        form = rule.zero(base.items)
        weight = 1000 if rule.is_weighted else 1
        ranges = ranges_for(type(form), rule.ranges)
        vectors = VectorForm(form, ranges, (CLIPPED, "users"), len(NAMES), weight)
        plain = rule.summation(base)
        for name in order:
            if name not in dropped:
                plain.add(name, contributions[name])
        secure = securely_summed(vectors, contributions, order, dropped)
        assert set(secure.clients) == set(NAMES) - set(dropped)
        assert secure.interactions == plain.result().interactions
        assert secure.metrics == plain.result().metrics
        merged = rule.finish(secure, base)
        assert sha256(merged) == sha256(rule.finish(plain.result(), base))
        base = merged
