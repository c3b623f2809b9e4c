"""What `fedrec bench attacks` measures: the families, the lies and the defences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from data_contracts.updates import UpdateLimits
from models.recommenders.additive.blend import BlendFamily, BlendSpec
from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.lightfm.spec import LightFMSpec
from tasks.bench.attacks import defences
from tasks.bench.attacks.blend_lies import FollowsAll
from tasks.bench.attacks.defences import Defence
from tasks.bench.attacks.lies import Lie, MadeUpUsers
from tasks.bench.attacks.lightfm_lies import AHum, FedRecAttack, LargestBias
from tasks.bench.attacks.poisoning import PoisoningPlan, Scene

CLIENTS = 100
# With the honest clients, 1, 4.8 and 20 % of all.
LIARS = (1, 5, 25)
# A few rounds suffice for a model near the best one of these settings, and keep a federation at 3 s.
LIGHTFM, ROUNDS = LightFMSpec(dims=16), 10
# The blend's updates have two values for each pair of items, and a robust mean needs all updates at once.
BLEND_ITEMS = 600
# A silo of the blend's federation has 10 users at most. No honest value is larger than its users.
MOST_USERS = 10
MADE_UP_LENGTH, MADE_UP_POOL = 30, 200

LIGHTFM_DEFENCES = (
    defences.NONE,
    defences.RANGES_ONLY,
    defences.NORM_BOUND,
    defences.TRIMMED,
    defences.TRIMMED_MORE,
    defences.MEDIAN,
    defences.MULTI_KRUM,
    defences.KRUM,
    defences.GROUPS_TRIMMED,
    defences.GROUPS_MEDIAN,
    defences.LARGE_GROUPS_MEDIAN,
)
BLEND_DEFENCES = (
    defences.NONE,
    defences.RANGES_ONLY,
    Defence("values up to the silo's users", partial(defences.capped, largest=MOST_USERS)),
    defences.NORM_BOUND,
    defences.TRIMMED,
    defences.MEDIAN,
    defences.LARGE_GROUPS_MEDIAN,
)


def lightfm_plan(seeds: Sequence[int], chosen: Sequence[Defence] = LIGHTFM_DEFENCES) -> PoisoningPlan:
    """Return the plan for LightFM."""
    return PoisoningPlan(LightFMFamily(LIGHTFM), ROUNDS, CLIENTS, LIARS, _lightfm_lies, chosen, seeds)


def blend_plan(seeds: Sequence[int], chosen: Sequence[Defence] = BLEND_DEFENCES) -> PoisoningPlan:
    """Return the plan for the blend, for clients with their `BLEND_ITEMS` most used items only."""
    # Rarer items are left out, so the targets have more users.
    return PoisoningPlan(
        BlendFamily(BlendSpec()), 1, CLIENTS, LIARS, _blend_lies, chosen, seeds, most_users=60
    )


def _lightfm_lies(scene: Scene) -> Mapping[str, Lie]:
    family, target = LightFMFamily(LIGHTFM), scene.target
    ranges = family.rule().ranges
    return {
        "FedRecAttack": FedRecAttack(target, ranges, scene.known),
        "A-hum": AHum(target, ranges),
        "largest bias": LargestBias(target, UpdateLimits().max_norm),
        "made-up users": _made_up(family, scene),
    }


def _blend_lies(scene: Scene) -> Mapping[str, Lie]:
    family, target = BlendFamily(BlendSpec()), scene.target
    highest = family.ranges["transitions"]
    return {
        "follows every item, largest": FollowsAll(family, target, highest.highest * highest.step),
        "follows every item, 10 times": FollowsAll(family, target, MOST_USERS),
        "made-up users": _made_up(family, scene),
    }


def _made_up(family: LightFMFamily | BlendFamily, scene: Scene) -> Lie:
    return MadeUpUsers(family, scene.target, scene.popular, scene.users, MADE_UP_LENGTH, MADE_UP_POOL)
