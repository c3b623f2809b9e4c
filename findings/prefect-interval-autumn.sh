#!/bin/sh
# An interval schedule of one hour skips an hour on the night the clocks go back, on Python 3.11 but not on 3.13.
#
# One would guess: an hourly interval runs every hour of UTC on every Python; the docstring of IntervalSchedule says
#   "an hourly schedule will fire every UTC hour, even across DST boundaries".
# What happens: with the anchor 2026-01-05 02:30 UTC and the zone Europe/Berlin, asked from 2027-10-31 00:30 UTC, the
#   run after 00:30 UTC is at 02:30 UTC on Python 3.11 and at 01:30 UTC on Python 3.13. The clocks go back at 01:00 UTC.
# Whom it hurts: who runs a job every hour and has Prefect's server on Python below 3.13: one run a year is missing. A
#   server that moves from 3.11 to 3.13 changes its times.
# Versions: prefect 3.9.1, on Python 3.11 and 3.13.
# Source: prefect/server/schemas/schedules.py, IntervalSchedule._get_dates_generator, which adds to local
#   times with pendulum below Python 3.13 and with whenever from 3.13 on.
#
# It needs python3.11 and python3.13 on PATH and a package index. Exit 0: as described; 1: it has changed; 2: skipped.
set -eu

for name in python3.11 python3.13; do
    "$name" --version >/dev/null 2>&1 || { echo "Skipped: $name is not on PATH."; exit 2; }
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM

cat > "$folder/next.py" <<'PY'
import asyncio
import sys
from datetime import datetime, timedelta, timezone

import prefect
from prefect.server.schemas.schedules import IntervalSchedule

schedule = IntervalSchedule(
    interval=timedelta(hours=1),
    anchor_date=datetime(2026, 1, 5, 2, 30, tzinfo=timezone.utc),
    timezone="Europe/Berlin",
)
dates = asyncio.run(schedule.get_dates(n=3, start=datetime(2027, 10, 31, 0, 30, tzinfo=timezone.utc)))
times = [datetime.fromtimestamp(each.timestamp(), timezone.utc).strftime("%H:%M") for each in dates]
print("Python", sys.version.split()[0], "prefect", prefect.__version__, "UTC:", *times)
PY

for name in python3.11 python3.13; do
    "$name" -m venv "$folder/$name"
    "$folder/$name/bin/pip" install --quiet --disable-pip-version-check \
        prefect==3.9.1 fastapi==0.139.0 whenever==0.11.0 tzdata==2025.2
    PREFECT_HOME="$folder/prefect" PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1 \
        "$folder/$name/bin/python" -W ignore "$folder/next.py" | tee "$folder/$name.txt"
done

grep -q "UTC: 00:30 02:30 03:30" "$folder/python3.11.txt" || { echo "Changed on Python 3.11."; exit 1; }
grep -q "UTC: 00:30 01:30 02:30" "$folder/python3.13.txt" || { echo "Changed on Python 3.13."; exit 1; }
echo "As described: on Python 3.11 the hourly schedule has no run at 01:30 UTC."
