"""What a deployment changes, computed from what is declared and what Prefect has."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from flows.deployments.deployments import (
    Difference,
    differences_of,
    mark_of,
    marked,
    plan,
    refuse_foreign,
    silo_deployment,
    with_switches,
)
from tasks.orchestration.deployments import Deployment, Schedule

ID = UUID(int=7)
MARK = "managed:fedrec"
WEEKLY = Schedule("weekly", "0 3 * * 1", "Europe/Berlin", active=False)


def deployment(name: str = "a", **changes: object) -> Deployment:
    plain = Deployment(
        flow_name="training",
        name=name,
        entrypoint="flows.train.federated_training",
        description="Trains.",
        tags=(MARK,),
        work_pool="fedrec",
        schedules={"weekly": WEEKLY},
        parameters={"config": {"seed": 1, "data": {"dir": "x"}}},
        parameter_schema={"type": "object"},
    )
    return replace(plain, **changes)


def found(*deployments: Deployment) -> dict[str, tuple[UUID, Deployment]]:
    return {each.full_name: (ID, each) for each in deployments}


def test_what_prefect_lacks_is_created_and_what_it_has_is_left() -> None:
    planned = plan([deployment("a"), deployment("b")], found(deployment("b")), MARK, adopt=False)

    assert [each.full_name for each in planned.create] == ["training/a"]
    assert planned.unchanged == ("training/b",)
    assert (planned.update, planned.prune, planned.foreign) == ((), {}, ())


def test_only_deployments_with_the_mark_are_removed() -> None:
    known = found(deployment("mine"), deployment("theirs", tags=("fedrec", "managed:other")))

    planned = plan([], known, MARK, adopt=False)

    assert planned.prune == {"training/mine": ID}


def test_a_name_in_use_is_left_alone_unless_it_is_adopted() -> None:
    known = found(deployment("a", tags=(), description="Theirs."))

    planned = plan([deployment("a")], known, MARK, adopt=False)
    assert (planned.foreign, planned.update, planned.prune) == (("training/a",), (), {})
    [(name, error)] = refuse_foreign(planned.foreign)
    assert (name, "--adopt" in error.next_step) == ("training/a", True)

    adopted = plan([deployment("a")], known, MARK, adopt=True)
    assert adopted.foreign == ()
    assert adopted.update[0].differences == (
        Difference("description", "Theirs.", "Trains."),
        Difference("tags", [], [MARK]),
    )


def test_differences_are_reported_leaf_by_leaf() -> None:
    before = deployment(concurrency_limit=1, collision_strategy="ENQUEUE")
    after = deployment(
        parameters={"config": {"seed": 2, "data": {"dir": "x"}, "extra": True}},
        schedules={"weekly": replace(WEEKLY, timezone="UTC")},
        parameter_schema={"type": "object", "title": "other"},
    )

    assert differences_of(before, after) == (
        Difference("collision_strategy", "ENQUEUE", None),
        Difference("concurrency_limit", 1, None),
        Difference("parameter_schema", None, None),
        Difference("parameters.config.extra", None, True),
        Difference("parameters.config.seed", 1, 2),
        Difference("schedules.weekly.timezone", "Europe/Berlin", "UTC"),
    )


def test_a_removed_schedule_is_a_difference() -> None:
    fields = [each.field for each in differences_of(deployment(), deployment(schedules={}))]

    assert fields == [f"schedules.weekly.{name}" for name in ("active", "cron", "slug", "timezone")]


@pytest.mark.parametrize(
    ("declared", "in_prefect", "active"),
    [
        (None, True, True),
        (None, False, False),
        (None, None, False),
        (True, False, True),
        (False, True, False),
    ],
)
def test_a_switch_is_as_declared_or_else_as_prefect_has_it(
    declared: bool | None, in_prefect: bool | None, active: bool
) -> None:
    mine = deployment(schedules={"weekly": replace(WEEKLY, active=declared)})
    theirs = {} if in_prefect is None else {"weekly": replace(WEEKLY, active=in_prefect)}

    assert with_switches(mine, deployment(schedules=theirs)).schedules["weekly"].active is active


def test_an_update_for_another_reason_keeps_a_schedule_on() -> None:
    mine = deployment(description="New.", schedules={"weekly": replace(WEEKLY, active=None)})
    known = found(deployment(schedules={"weekly": replace(WEEKLY, active=True)}))

    [update] = plan([mine], known, MARK, adopt=False).update

    assert update.differences == (Difference("description", "Trains.", "New."),)
    assert update.deployment.schedules["weekly"].active is True


def test_the_mark_and_the_heartbeats_are_added_and_a_declared_frequency_is_kept() -> None:
    plain = marked(deployment(tags=("training",)), "shops")
    assert plain.tags == (mark_of("shops"), "training")
    assert plain.job_variables == {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}}

    own = {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60", "A": "1"}, "working_dir": "/srv"}
    assert marked(deployment(job_variables=own), "shops").job_variables == own


def test_a_silo_s_deployment_uses_its_own_pool() -> None:
    entry = silo_deployment("educator")

    assert (entry["name"], entry["entrypoint"]) == ("educator", "flows.silo.step.silo_step")
    assert entry["work_pool"] == {"name": "silo-educator"}
