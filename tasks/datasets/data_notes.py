"""A data report in words: what was found, and what of it will not work and which setting changes that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from data_contracts.interactions import InteractionLimits
from models.evaluation.data_report import FEW_USERS, DataReport
from models.evaluation.split import FEWEST_INTERACTIONS
from models.evaluation.time_units import TimesLike

# Clocks of different machines, and time zones that a source forgot.
_TOLERANCE = timedelta(days=1)
_FEW_TIES = 0.05
# A job that does not change its contracts has these.
_LIMITS = InteractionLimits()
_SORTED_TIES = (
    " These rows are sorted by item, which changes what is measured: keep the order of the events, or give "
    "finer times."
)
# What timestamps look like -> in words, and how to mend it. Without a step they are written as ISO 8601.
_MENDED_TIMES: dict[TimesLike, tuple[str, str]] = {
    "years": ("a year", ""),
    "months": ("a month", ""),
    "dates": ("a date", ""),
    "hours of dates": ("a date with its hour", ""),
    "minutes of dates": ("a date with its time", ""),
    "days": ("days since 1970", "Multiply by 86,400."),
    "Excel days": ("a day of Excel", "Subtract 25,569, then multiply by 86,400."),
    "hours": ("hours since 1970", "Multiply by 3,600."),
    "minutes": ("minutes since 1970", "Multiply by 60."),
}
_PLACES = ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12))


def report_lines(report: DataReport) -> list[str]:
    """Return what was found, one fact a line."""
    lowest, low, median, high, highest = report.history_quantiles
    lines = [
        f"{report.interactions:,} interactions of {report.users:,} users with {report.used_items:,} of "
        f"{report.items:,} items: density {report.density:.2%}",
        f"history lengths: {lowest:g} to {highest:g}, median {median:g}, the middle half {low:g} to {high:g}",
        f"evaluated: {report.evaluated_users:,} of {report.users:,} users, who have at least "
        f"{FEWEST_INTERACTIONS} interactions",
    ]
    if report.ratings is not None:
        lines.append("ratings: {:g} to {:g}".format(*report.ratings))
    if report.times is not None:
        lines.append("times: {} to {}".format(*map(_day, report.times)))
    if report.repeats:
        lines.append(f"repeats: {report.repeats:,} rows were merged with another of the same user and item")
    return lines


def warnings_about(report: DataReport, now: datetime) -> list[str]:
    """Return what will not work or may mislead, each with the setting or the change that mends it.

    Args:
        report: on the data.
        now: the time of the report.
    """
    return [*_about_ratings(report), *_about_times(report, now), *_about_users(report), *_about_ids(report)]


def wanted_limits(report: DataReport) -> dict[str, float]:
    """Return the limits of the interactions contract that the data need other than its defaults, by name."""
    wanted: dict[str, float] = {}
    if report.ratings is not None:
        least, greatest = report.ratings
        wanted |= {"min_rating": least} if least < _LIMITS.min_rating else {}
        wanted |= {"max_rating": greatest} if greatest > _LIMITS.max_rating else {}
    if report.times is not None and report.times[0] < _LIMITS.min_timestamp:
        wanted["min_timestamp"] = report.times[0]
    return wanted


def _options(report: DataReport, what: str) -> str:
    wanted = {name: value for name, value in wanted_limits(report).items() if what in name}
    return " ".join(f"--set contracts.interactions.{name}={value!r}" for name, value in wanted.items())


def _about_ratings(report: DataReport) -> list[str]:
    if report.ratings is None:
        return ["There are no ratings, so train.family bayesian_mf cannot learn from these data."]
    least, greatest = report.ratings
    found = []
    if options := _options(report, "rating"):
        found.append(
            f"Ratings are from {least:g} to {greatest:g}, but the interactions contract accepts "
            f"{_LIMITS.min_rating:g} to {_LIMITS.max_rating:g} and rejects every client with another. Train "
            f"with {options}."
        )
    if least == greatest:
        found.append(
            f"All ratings are {least:g}, so train.family bayesian_mf has nothing to learn from them."
        )
    return found


def _about_times(report: DataReport, now: datetime) -> list[str]:
    if report.times is None:
        return [
            "There are no timestamps, so a random interaction of each user is tested instead of the latest, "
            "and train.family next_item has no order to learn."
        ]
    found = []
    first, last = report.times
    if options := _options(report, "timestamp"):
        found.append(
            f"Times begin at {_day(first)}, but the interactions contract begins at "
            f"{_day(_LIMITS.min_timestamp)} and rejects every client with an earlier one. Train with "
            f"{options}, or correct the times."
        )
    if report.times_like is not None:
        what, step = _MENDED_TIMES[report.times_like]
        found.append(
            f"Every timestamp looks like {what}, such as {first}, but is read as seconds since 1970 "
            f"({_day(first)}). {step or f'Write dates as {_iso(first)}.'}"
        )
    elif last > (now + _TOLERANCE).timestamp():
        found.append(
            f"Times end at {_day(last)}, which is in the future. Timestamps are seconds since 1970; "
            "are these in another unit?"
        )
    tied = report.tied_users or 0
    if tied > _FEW_TIES * report.evaluated_users:
        found.append(
            f"{tied:,} of {report.evaluated_users:,} evaluated users have several interactions at their last "
            "time. The later row counts as the later interaction, so the order of the rows decides which is "
            "tested." + (_SORTED_TIES if report.ties_by_item else "")
        )
    return found


def _about_users(report: DataReport) -> list[str]:
    found = []
    without = report.users - report.evaluated_users
    if without == report.users:
        found.append(
            f"No user has {FEWEST_INTERACTIONS} interactions, so nothing can be evaluated and no version "
            "passes the gates."
        )
    elif without:
        found.append(
            f"{without:,} of {report.users:,} users have fewer than {FEWEST_INTERACTIONS} interactions: they "
            "are trained on, but not evaluated."
        )
    if report.unevaluated_clients and report.evaluated_users:
        found.append(f"{_clients(report.unevaluated_clients, report)} no user who can be evaluated.")
    if report.small_clients:
        found.append(
            f"{_clients(report.small_clients, report)} fewer than {FEW_USERS} users: their figures mean "
            "little, and their updates say much about a single user."
        )
    return found


def _about_ids(report: DataReport) -> list[str]:
    return [
        f"{count:,} {what} ids differ from another one only in case, blanks or Unicode form, such as "
        f"{' and '.join(map(repr, examples))}. They count as different {what}s: if they are not, write them "
        "in one way and make the partition again."
        for what, count, examples in (
            ("user", report.alike_users, report.examples_of_users),
            ("item", report.alike_items, report.examples_of_items),
        )
        if count
    ]


def _clients(count: int, report: DataReport) -> str:
    return f"{count:,} of {report.clients:,} clients {'has' if count == 1 else 'have'}"


def _day(seconds: int) -> str:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).date().isoformat()
    except OverflowError:
        return f"{seconds} s"


def _iso(number: int) -> str:
    """Return a number such as 2024, 202401, 20240131 or 202401311230 as ISO 8601."""
    digits = str(number)
    year, month, day, hour, minute = (digits[start:end] for start, end in _PLACES)
    date = f"{year}-{month or '01'}-{day or '01'}"
    return f"{date}T{hour}:{minute or '00'}" if hour else date
