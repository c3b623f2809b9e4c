"""Schedules at times that the clocks skip or repeat. The changes are those of the zones' published rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flows.deployments.clock_changes import ClockChange, clock_changes, schedule_warnings
from tasks.orchestration.deployments import Deployment, Schedule

NOW = datetime(2027, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def warnings(cron: str, timezone: str = "Europe/Berlin") -> list[str]:
    schedule = Schedule("nightly", cron, timezone)
    deployment = Deployment("training", "a", "e", "d", (), "pool", schedules={"nightly": schedule})
    return schedule_warnings([deployment], NOW)


@pytest.mark.parametrize(
    ("zone", "changes"),
    [
        ("UTC", []),
        ("Asia/Tokyo", []),
        (
            "Europe/Berlin",
            [
                ClockChange(datetime(2027, 3, 28, 1, tzinfo=UTC), HOUR, 2 * HOUR),
                ClockChange(datetime(2027, 10, 31, 1, tzinfo=UTC), 2 * HOUR, HOUR),
            ],
        ),
        (
            "America/New_York",
            [
                ClockChange(datetime(2027, 3, 14, 7, tzinfo=UTC), -5 * HOUR, -4 * HOUR),
                ClockChange(datetime(2027, 11, 7, 6, tzinfo=UTC), -4 * HOUR, -5 * HOUR),
            ],
        ),
        (  # half an hour
            "Australia/Lord_Howe",
            [
                ClockChange(datetime(2027, 4, 3, 15, tzinfo=UTC), 11 * HOUR, 10.5 * HOUR),
                ClockChange(datetime(2027, 10, 2, 15, 30, tzinfo=UTC), 10.5 * HOUR, 11 * HOUR),
            ],
        ),
    ],
)
def test_a_zone_s_changes_are_found_to_the_second(zone: str, changes: list[ClockChange]) -> None:
    assert list(clock_changes(zone, NOW, datetime(2028, 1, 1, tzinfo=UTC))) == changes


def test_a_time_in_the_gap_is_reported_with_what_prefect_does() -> None:
    [line] = warnings("30 2 * * *")

    assert line == (
        "training/a, schedule nightly: on 2027-03-28 the clocks skip 02:30, and the run starts at 03:30; "
        "on 2027-10-31 the clocks show 02:30 twice, and a run starts at the first. A time outside 02:00 to "
        "03:00 avoids this."
    )


@pytest.mark.parametrize(
    ("cron", "zone"),
    [
        ("0 3 * * 1", "Europe/Berlin"),  # the first time after the gap
        ("59 1 * * *", "Europe/Berlin"),
        ("30 2 * * *", "UTC"),
        ("30 2 * * *", "Asia/Tokyo"),
        ("30 2 * * 1", "Europe/Berlin"),  # clocks change on Sundays
        ("0 * * * *", "Europe/Berlin"),  # the next hour has a run anyway
        ("*/20 * * * *", "Europe/Berlin"),
    ],
)
def test_other_schedules_are_not_reported(cron: str, zone: str) -> None:
    assert warnings(cron, zone) == []


@pytest.mark.parametrize(
    ("cron", "zone", "words"),
    [
        ("0 2 * * 0", "Europe/Berlin", "on 2027-03-28 the clocks skip 02:00, and the run starts at 03:00"),
        (
            "15 2 14 3 *",
            "America/New_York",
            "on 2027-03-14 the clocks skip 02:15, and the run starts at 03:15",
        ),
        ("0 1 * * *", "America/New_York", "on 2027-11-07 the clocks show 01:00 twice"),
        # Midnight itself does not exist there on 5 September 2027.
        ("0 0 * * *", "America/Santiago", "on 2027-09-05 the clocks skip 00:00, and the run starts at 01:00"),
        (
            "10 2 * * *",
            "Australia/Lord_Howe",
            "on 2027-10-03 the clocks skip 02:10, and the run starts at 02:40",
        ),
    ],
)
def test_the_rule_is_the_zone_s_own(cron: str, zone: str, words: str) -> None:
    [line] = warnings(cron, zone)

    assert words in line
