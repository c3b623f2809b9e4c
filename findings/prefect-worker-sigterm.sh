#!/bin/sh
# A Prefect worker that a script started with "&" goes on after SIGTERM.
#
# One would guess: SIGTERM ends a worker, however it was started; the worker says itself that it received it.
# What happens: its handler of SIGTERM sends SIGINT to its own process and leaves the rest to Python's default handler of
#   SIGINT. A shell without job control starts a command with "&" so that it ignores SIGINT. Then there is no such handler,
#   the SIGINT is lost, and the worker keeps polling for runs. Only a second SIGTERM ends it, by SIGKILL, without a word to
#   the server.
# Whom it hurts: who starts workers by a script, by nohup, or in CI, and expects an orderly end: the stop waits until
#   its own timeout, and runs are left behind. Restore SIGINT before starting the worker (env --default-signal=INT).
# Versions: Prefect 3.9.1.
# Source: prefect.utilities.processutils, setup_signal_handlers_worker and forward_signal_handler; POSIX, Shell Command
#   Language, 2.12 "Signals and Error Handling".
#
# It needs python3 and a package index. Exit 0: as described; 1: it has changed.
set -eu

folder=$(mktemp -d)
server='' worker=''
finish() {
    for pid in $worker $server; do kill -9 "$pid" 2>/dev/null || true; done
    rm -rf "$folder"
}
trap finish EXIT INT TERM
python3 -m venv "$folder/venv"
bin=$folder/venv/bin
"$bin/pip" install --quiet --disable-pip-version-check prefect==3.9.1 fastapi==0.139.0

port=$("$bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export PREFECT_HOME="$folder/home" PREFECT_API_URL="http://127.0.0.1:$port/api" PYTHONUNBUFFERED=1
"$bin/prefect" server start --host 127.0.0.1 --port "$port" >"$folder/server" 2>&1 &
server=$!
until "$bin/python" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1])' "$PREFECT_API_URL/health" 2>/dev/null; do
    sleep 1
done
"$bin/prefect" work-pool create --type process pool >/dev/null

# Usage: stopped BEFORE... Says whether a worker, started by this script with the command before it, ends by SIGTERM.
stopped() {
    "$@" "$bin/python" "$bin/prefect" worker start --pool pool >"$folder/worker" 2>&1 &
    worker=$!
    until grep -q "started!" "$folder/worker"; do sleep 1; done
    kill -TERM "$worker"
    for _ in $(seq 30); do
        sleep 1
        kill -0 "$worker" 2>/dev/null || { worker=''; echo "ends"; return; }
    done
    grep -o "Received SIG[A-Z]*" "$folder/worker" >&2
    kill -9 "$worker"
    worker=''
    echo "goes on for 30 s"
}

"$bin/python" -c 'import sys; from importlib.metadata import version; print("Python", sys.version.split()[0], "Prefect", version("prefect"))'
restoring='import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])'
plain=$(stopped env)
restored=$(stopped "$bin/python" -c "$restoring")
echo "started with \"&\": $plain"
echo "the same, with SIGINT restored: $restored"
[ "$plain" = "goes on for 30 s" ] && [ "$restored" = "ends" ] || { echo "Changed."; exit 1; }
echo "As described: SIGTERM alone does not end a worker that ignores SIGINT."
