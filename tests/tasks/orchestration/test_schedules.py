"""The schedules of prefect.yaml make the same runs on every Python, though Prefect computes them differently.

On Python 3.13 Prefect has another date library than before.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from flows.deployments.deployment_file import read_deployment_file
from tasks.orchestration.deployments import Deployment, Schedule, create_pool, put_deployment
from tests.servers.prefect_server import PrefectServer
from tests.waiting import until

CHECKOUT = Path(__file__).parents[3]
FILE = CHECKOUT / "prefect.yaml"
NIGHTLY_AT_A_SKIPPED_TIME = Schedule("nightly", "30 2 * * *", "Europe/Berlin")
NEXT_RUN = """
import asyncio, sys
from pathlib import Path
from prefect.server.schemas.schedules import CronSchedule
from flows.deployments.deployment_file import read_deployment_file
for deployment in read_deployment_file(Path(sys.argv[1])).deployments:
    for each in deployment.schedules.values():
        [time] = asyncio.run(CronSchedule(cron=each.cron, timezone=each.timezone).get_dates(n=1))
        print(time.strftime("%H:%M"))
"""


def scheduled() -> list[Deployment]:
    return [each for each in read_deployment_file(FILE).deployments if each.schedules]


def shipped() -> list[Schedule]:
    return [schedule for each in scheduled() for schedule in each.schedules.values()]


def computed(schedule: Schedule, start: datetime, count: int) -> list[datetime]:
    """Return the first `count` times after `start` as Prefect's server computes them."""
    from prefect.server.schemas.schedules import CronSchedule

    dates = CronSchedule(cron=schedule.cron, timezone=schedule.timezone).get_dates(n=count, start=start)
    return [date.astimezone(UTC) for date in asyncio.run(dates)]


def expected(schedule: Schedule, start: datetime, count: int) -> list[datetime]:
    """Return the same times from the calendar: each day, or each of one weekday, at one local time."""
    minute, hour, day, month, weekday = schedule.cron.split()
    assert (day, month) == ("*", "*"), "extend this function for a schedule of another form"
    zone = ZoneInfo(schedule.timezone)
    first = start.astimezone(zone).date()
    days = [first + timedelta(days=number) for number in range(7 * count + 7)]
    times = [
        datetime(each.year, each.month, each.day, int(hour), int(minute), tzinfo=zone).astimezone(UTC)
        for each in days
        # Sunday is 0 in cron, and 7 in a date.
        if weekday in ("*", str(each.isoweekday() % 7))
    ]
    return [time for time in times if time >= start][:count]


@pytest.mark.parametrize("schedule", shipped(), ids=lambda schedule: f"{schedule.slug} {schedule.cron}")
@pytest.mark.parametrize(
    "start",
    [
        pytest.param(datetime(2027, 3, 20, tzinfo=UTC), id="before summer time"),
        pytest.param(datetime(2027, 10, 23, tzinfo=UTC), id="before winter time"),
        pytest.param(datetime(2027, 12, 30, 12, 0, 1, tzinfo=UTC), id="over the year's end"),
    ],
)
def test_a_shipped_schedule_keeps_its_local_time(schedule: Schedule, start: datetime) -> None:
    assert computed(schedule, start, 20) == expected(schedule, start, 20)


def test_a_run_at_a_time_that_the_clocks_skip_is_an_hour_later_by_the_clock() -> None:
    # 02:30 does not exist on 28 March 2027; with the offset before the change, +01:00, it is 01:30 UTC.
    times = computed(NIGHTLY_AT_A_SKIPPED_TIME, datetime(2027, 3, 27, tzinfo=UTC), 3)

    assert times == [
        datetime(2027, 3, 27, 1, 30, tzinfo=UTC),
        datetime(2027, 3, 28, 1, 30, tzinfo=UTC),
        datetime(2027, 3, 29, 0, 30, tzinfo=UTC),
    ]


def test_the_zones_are_known_where_the_system_has_none(home: Path) -> None:
    # Slim containers have no zones; they then come from the package tzdata.
    found = subprocess.run(
        [sys.executable, "-c", NEXT_RUN, str(FILE)],
        env=os.environ | {"PYTHONTZPATH": "", "FEDREC_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == ["03:00", "05:00", "01:00"]


def test_prefect_s_server_plans_the_runs_of_a_schedule_that_is_on(restartable_prefect: PrefectServer) -> None:
    # Its scheduler once failed on every pass with a newer SQLAlchemy, and nothing but its log told.
    from prefect.client.orchestration import get_client

    begun = datetime.now(UTC)
    wanted = {}
    with get_client(sync_client=True) as client:
        create_pool(client, "fedrec")
        for each in scheduled():
            on = {slug: replace(schedule, active=True) for slug, schedule in each.schedules.items()}
            deployment_id = put_deployment(client, replace(each, schedules=on))
            [schedule] = on.values()
            wanted[deployment_id] = expected(schedule, begun, 1)[0]

        def first_runs() -> dict[UUID | None, datetime]:
            runs = [run for run in client.read_flow_runs() if run.expected_start_time is not None]
            latest_first = sorted(runs, key=lambda run: run.expected_start_time, reverse=True)
            return {run.deployment_id: run.expected_start_time.astimezone(UTC) for run in latest_first}

        until(lambda: first_runs().keys() == wanted.keys(), 120)
        assert first_runs() == wanted
