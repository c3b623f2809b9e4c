#!/bin/sh
# Prefect's client raises another error for the state of an unknown task run than for everything else unknown.
#
# One would guess: an id that the server does not have raises ObjectNotFound, as read_task_run, read_flow_run and
#   set_flow_run_state do.
# What happens: set_task_run_state raises PrefectHTTPStatusError with status 404, which is no ObjectNotFound.
# Whom it hurts: who cancels the tasks of a run that ended before Prefect recorded them, and ignores ObjectNotFound:
#   the cleaning up ends with an error. Ignore both.
# Versions: Prefect 3.9.1.
# Source: prefect.client.orchestration, set_task_run_state of both clients.
#
# It needs python3 and a package index. Exit 0: as described; 1: it has changed.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check prefect==3.9.1 fastapi==0.139.0

cat > "$folder/unknown.py" <<'PY'
import sys
import uuid

import prefect
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled
from prefect.testing.utilities import prefect_test_harness

print("Python", sys.version.split()[0], "Prefect", prefect.__version__)
unknown = uuid.uuid4()
with prefect_test_harness(), get_client(sync_client=True) as client:
    for name, arguments in (
        ("read_task_run", []),
        ("set_flow_run_state", [Cancelled()]),
        ("set_task_run_state", [Cancelled()]),
    ):
        try:
            getattr(client, name)(unknown, *arguments)
        except Exception as error:
            print(f"{name}: {type(error).__name__}, ObjectNotFound: {isinstance(error, ObjectNotFound)}")
PY

PREFECT_HOME="$folder/home" "$folder/venv/bin/python" "$folder/unknown.py" 2>"$folder/log" | tee "$folder/seen.txt"
for line in "read_task_run: ObjectNotFound, ObjectNotFound: True" "set_flow_run_state: ObjectNotFound, ObjectNotFound: True" \
    "set_task_run_state: PrefectHTTPStatusError, ObjectNotFound: False"; do
    grep -q "$line" "$folder/seen.txt" || { echo "Changed: $line"; exit 1; }
done
echo "As described: only the state of a task run raises another error."
