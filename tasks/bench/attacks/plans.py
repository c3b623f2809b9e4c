"""What `fedrec bench attacks` measures: the families, the lies and the defences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from data_contracts.updates import UpdateLimits
from models.privacy.mechanisms import multiplier_for
from models.recommenders.additive.blend import BlendFamily, BlendSpec
from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.private.family import DpItemsFamily
from models.recommenders.private.spec import DpItemsSpec
from tasks.bench.attacks import defences
from tasks.bench.attacks.blend_lies import FollowsAll, checked_columns
from tasks.bench.attacks.defences import Defence
from tasks.bench.attacks.lies import Lie, MadeUpUsers
from tasks.bench.attacks.lightfm_lies import AHum, FedRecAttack, LargestBias
from tasks.bench.attacks.poisoning import PoisoningPlan, Scene
from tasks.bench.attacks.reading import BlendReader, Hidden, LightFMReader, PopularityReader, ReadingPlan

CLIENTS = 100  # or as many as there are users
# A few rounds suffice for a model near the best one of these settings, and keep a federation at 3 s.
LIGHTFM, ROUNDS = LightFMFamily(LightFMSpec(dims=16)), 10
# The blend's updates have two values for each pair of items, and a robust mean needs all updates at once.
BLEND, BLEND_ITEMS = BlendFamily(BlendSpec()), 600
# A silo of the blend's federation has 10 users at most. No honest value is larger than its users.
MOST_USERS = 10
# Numbers of other clients in a sum that is read, and the largest number of clients that are read.
OTHERS, TARGETS = (1, 4, 20), 40
MADE_UP_LENGTH, MADE_UP_POOL = 30, 200
# Promises of the private item model. The threshold of a secure sum of 21 silos is 15.
EPSILONS, DELTA, SUMMANDS = (8.0, 1.0), 1e-5, 15

LIGHTFM_DEFENCES = (
    defences.NONE,
    defences.RANGES_ONLY,
    defences.NORM_BOUND,
    defences.TRIMMED,
    defences.TRIMMED_MORE,
    defences.MEDIAN,
    defences.MULTI_KRUM,
    defences.KRUM,
    defences.SMALL_GROUPS,
    defences.GROUPS,
    defences.GROUPS_MEDIAN,
    defences.LARGE_GROUPS_MEDIAN,
)
QUICK_DEFENCES = (defences.NONE, defences.TRIMMED, defences.GROUPS_MEDIAN)
BLEND_DEFENCES = (
    defences.NONE,
    Defence("values up to the silo's users", partial(defences.capped, largest=MOST_USERS)),
    Defence(
        "columns up to the silo's users",
        partial(checked_columns, users=MOST_USERS, forgetting=BLEND.spec.forgetting),
    ),
    defences.NORM_BOUND,
    defences.TRIMMED,
    defences.GROUPS,
    defences.LARGE_GROUPS_MEDIAN,
)


def lightfm_plan(
    clients: int, liars: Sequence[int], seeds: Sequence[int], *, quick: bool = False
) -> PoisoningPlan:
    """Return the plan for LightFM; a quick one has one seed and few defences."""
    chosen, few = (QUICK_DEFENCES, seeds[:1]) if quick else (LIGHTFM_DEFENCES, seeds)
    return PoisoningPlan(LIGHTFM, ROUNDS, clients, liars, _lightfm_lies, chosen, few)


def blend_plan(clients: int, liars: Sequence[int], seeds: Sequence[int]) -> PoisoningPlan:
    """Return the plan for the blend, for clients with their `BLEND_ITEMS` most used items only."""
    # Rarer items are left out, so the targets have more users.
    return PoisoningPlan(BLEND, 1, clients, liars, _blend_lies, BLEND_DEFENCES, seeds, most_users=60)


def lightfm_reading() -> ReadingPlan:
    """Return the plan to read LightFM's first and last updates."""
    return ReadingPlan(LIGHTFM, LightFMReader(), ROUNDS, (1, ROUNDS - 1), OTHERS, TARGETS)


def blend_reading() -> ReadingPlan:
    """Return the plan to read the blend's only updates."""
    return ReadingPlan(BLEND, BlendReader(), 1, (1,), OTHERS, TARGETS)


def private_readings() -> tuple[ReadingPlan, ...]:
    """Return the plans to read the first sums of the private item model, without noise and with it."""
    family = DpItemsFamily(DpItemsSpec())
    bare = ReadingPlan(family, PopularityReader(), 1, (1,), OTHERS, TARGETS)
    unit = family.unit_noise(1)["popularity"]
    return (
        bare,
        *(
            replace(bare, hidden=Hidden(epsilon, unit * multiplier_for(epsilon, DELTA), SUMMANDS))
            for epsilon in EPSILONS
        ),
    )


def _lightfm_lies(scene: Scene) -> Mapping[str, Lie]:
    target, ranges = scene.target, LIGHTFM.rule().ranges
    return {
        "FedRecAttack": FedRecAttack(target, ranges, scene.known),
        "A-hum": AHum(target, ranges),
        "largest bias": LargestBias(target, UpdateLimits().max_norm),
        "made-up users": _made_up(LIGHTFM, scene),
    }


def _blend_lies(scene: Scene) -> Mapping[str, Lie]:
    target, highest = scene.target, BLEND.ranges["transitions"]
    return {
        "follows every item, largest": FollowsAll(BLEND, target, highest.highest * highest.step),
        "follows every item, 10 times": FollowsAll(BLEND, target, MOST_USERS),
        "made-up users": _made_up(BLEND, scene),
    }


def _made_up(family: LightFMFamily | BlendFamily, scene: Scene) -> Lie:
    return MadeUpUsers(family, scene.target, scene.popular, scene.users, MADE_UP_LENGTH, MADE_UP_POOL)
