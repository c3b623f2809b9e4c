#!/bin/sh
# Usage: wait-for.sh URL... -- COMMAND. Runs the command after every URL has answered: an http URL with a status that is
# not an error, a postgresql URL with a connection. Gives up after WAIT_S seconds (default 300).
set -eu

answers() {
    case $1 in
    postgresql://*) python -c 'import sys, psycopg; psycopg.connect(sys.argv[1], connect_timeout=5)' "$1" ;;
    *) python -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "$1" ;;
    esac 2>/dev/null
}

deadline=$(($(date +%s) + ${WAIT_S:-300}))
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    until answers "$1"; do
        if [ "$(date +%s)" -ge "$deadline" ]; then
            echo "$1 did not answer within ${WAIT_S:-300} s." >&2
            exit 1
        fi
        sleep 0.5
    done
    shift
done
shift
exec "$@"
