"""Finds schedules at a time that the clocks skip or repeat, and what Prefect makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tasks.orchestration.deployments import Deployment, Schedule

# Most rules of a zone repeat within that time, and schedules of one day a year are met.
_YEARS = 6
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class ClockChange:
    """A moment at which the clocks of a zone are changed.

    Attributes:
        at: the moment, in UTC.
        before, after: the zone's offsets.
    """

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def is_skip(self) -> bool:
        """Return whether local times are skipped; otherwise they come twice."""
        return self.after > self.before

    @property
    def local(self) -> tuple[datetime, datetime]:
        """Return the first skipped or repeated local time, and the first one after them; without a zone."""
        first, last = sorted((self.at + self.before, self.at + self.after))
        return first.replace(tzinfo=None), last.replace(tzinfo=None)


def clock_changes(timezone: str, start: datetime, end: datetime) -> Iterator[ClockChange]:
    """Yield the changes of a zone's clocks between two moments, to the second."""
    zone = ZoneInfo(timezone)

    def offset(moment: datetime) -> timedelta:
        return moment.astimezone(zone).utcoffset() or timedelta()

    moment = start.astimezone(UTC)
    while moment < end:
        following = min(moment + _DAY, end)
        if offset(moment) != offset(following):
            early, late = moment, following
            while late - early > _SECOND:
                middle = (early + (late - early) / 2).replace(microsecond=0)
                early, late = (middle, late) if offset(middle) == offset(moment) else (early, middle)
            yield ClockChange(late, offset(early), offset(late))
        moment = following


def schedule_warnings(deployments: Iterable[Deployment], now: datetime | None = None) -> list[str]:
    """Return one line for each schedule with a time that the clocks of its zone skip or repeat.

    Args:
        deployments: with their schedules.
        now: the moment after which changes count; the present by default.
    """
    start = (now or datetime.now(UTC)).replace(microsecond=0)
    lines = []
    for deployment in deployments:
        for schedule in deployment.schedules.values():
            found = _effects(schedule, start)
            if found:
                where = f"{deployment.full_name}, schedule {schedule.slug}"
                lines.append(
                    f"{where}: {'; '.join(found)}. A time outside {_hours(schedule, start)} avoids this."
                )
    return lines


def _effects(schedule: Schedule, start: datetime) -> list[str]:
    """Return what happens at the first skipped and at the first repeated time of the schedule."""
    found: dict[bool, str] = {}
    for change in clock_changes(schedule.timezone, start, start + _YEARS * 365 * _DAY):
        first, last = change.local
        span = last - first
        around = _times(schedule.cron, "UTC", first.replace(tzinfo=UTC), last.replace(tzinfo=UTC) + span)
        wanted = [each for each in around if each.replace(tzinfo=None) < last]
        # A schedule of every hour has a run in the next hour anyway.
        if change.is_skip in found or not set(wanted) - {each - span for each in around}:
            continue
        # Prefect's answer, not a rule of ours, because it has differed between its releases.
        times = _times(schedule.cron, schedule.timezone, change.at - span, change.at + span)
        actual = [each.astimezone(ZoneInfo(schedule.timezone)) for each in times]
        found[change.is_skip] = _described(change, wanted[0], actual)
    return [found[key] for key in (True, False) if key in found]


def _described(change: ClockChange, wanted: datetime, actual: list[datetime]) -> str:
    day = f"on {wanted:%Y-%m-%d}"
    if change.is_skip:
        after = [each for each in actual if each >= change.at]
        then = f"the run starts at {after[0]:%H:%M}" if after else "no run starts"
        return f"{day} the clocks skip {wanted:%H:%M}, and {then}"
    same = [each for each in actual if each.replace(tzinfo=None, fold=0) == wanted.replace(tzinfo=None)]
    which = " and ".join("the first" if each < change.at else "the second" for each in same) or "neither"
    return f"{day} the clocks show {wanted:%H:%M} twice, and a run starts at {which}"


def _hours(schedule: Schedule, start: datetime) -> str:
    """Return the local times of day that the zone's clocks skip or repeat."""
    spans = set()
    for change in clock_changes(schedule.timezone, start, start + 2 * 365 * _DAY):
        first, last = change.local
        spans.add(f"{first:%H:%M} to {last:%H:%M}")
    return " and ".join(sorted(spans))


def _times(cron: str, timezone: str, start: datetime, end: datetime) -> list[datetime]:
    from prefect.server.schemas.schedules import CronSchedule

    dates: Any = asyncio.run(CronSchedule(cron=cron, timezone=timezone).get_dates(start=start, end=end))
    # Below Python 3.13 they are of another library.
    return [datetime.fromtimestamp(each.timestamp(), UTC) for each in dates]
