#!/bin/sh
# Runs a PostgreSQL server in the foreground on 127.0.0.1:$POSTGRES_PORT, with its data below $STACK/postgres. The first
# run creates the data, with the passwords in $STACK/pgpass. As root, the server runs under the account postgres.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=$STACK/postgres
# On Debian the programs are not in PATH but in one folder per version.
programs=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
if [ -z "$programs" ]; then
    initdb=$(command -v initdb) || {
        echo "PostgreSQL's initdb is missing; infra/install-test-servers.sh installs it on Debian." >&2
        exit 1
    }
    programs=$(dirname "$initdb")
fi

mkdir -p "$folder"
chmod 700 "$folder"
run=
if [ "$(id -u)" -eq 0 ]; then
    run="setpriv --reuid=postgres --regid=postgres --init-groups"
    chown postgres "$folder"
    if ! $run test -x "$folder"; then
        echo "The account postgres cannot enter $folder. Allow it to enter the parent folders, or set another FEDREC_HOME." >&2
        exit 1
    fi
fi
cd "$folder"

password_of() {
    sed -n "s/^[^:]*:[^:]*:[^:]*:$1://p" "$STACK/pgpass"
}

if [ ! -d data ]; then
    $run rm -rf data.new
    password_of fedrec | $run sh -c 'umask 077 && cat >password'
    $run "$programs/initdb" --pgdata data.new --username fedrec --pwfile password --auth scram-sha-256 \
        --encoding UTF8 --no-locale >/dev/null
    $run rm password
    PREFECT_PASSWORD=$(password_of prefect) MLFLOW_PASSWORD=$(password_of mlflow) \
        GATEWAY_PASSWORD=$(password_of gateway) sh "$here/databases.sh" \
        $run "$programs/postgres" --single -D data.new postgres >/dev/null
    # Renaming is atomic, so the data are either complete or absent.
    $run mv data.new data
fi

$run "$programs/postgres" -D data -p "$POSTGRES_PORT" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c shared_buffers=64MB -c log_min_messages=fatal &
server=$!

# On SIGTERM the server waits for its clients, which are being stopped too. After 3 s SIGINT ends their connections,
# before honcho kills the server.
stop() {
    trap '' TERM INT
    kill -TERM "$server" 2>/dev/null || exit 0
    for _ in 1 2 3 4 5 6; do
        sleep 0.5
        kill -0 "$server" 2>/dev/null || exit 0
    done
    kill -INT "$server" 2>/dev/null || exit 0
    wait "$server" || true
    exit 0
}
trap stop TERM INT
wait "$server"
