#!/bin/sh
# Installs the servers that the tests start, where that may be done unasked: on Debian or Ubuntu, as root, and only
# what is missing. Everywhere else it says what is missing and succeeds; the tests that need it are then skipped.
set -eu

postgres_is_there() {
    command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

faketime_is_there() {
    ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1
}

if postgres_is_there && faketime_is_there; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "PostgreSQL's server programs (initdb, pg_ctl) or libfaketime are missing: tests that need them will be skipped." >&2
    exit 0
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || true

install_postgres() {
    # The programs alone: a cluster of its own would start at once and take port 5432.
    apt-get install -y -qq --no-install-recommends postgresql-common &&
        mkdir -p /etc/postgresql-common &&
        echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf &&
        apt-get install -y -qq --no-install-recommends postgresql
}

if ! postgres_is_there && ! install_postgres || ! postgres_is_there; then
    echo "PostgreSQL could not be installed: tests that need it will be skipped." >&2
fi
if ! faketime_is_there && ! apt-get install -y -qq --no-install-recommends faketime; then
    echo "libfaketime could not be installed: tests with a wrong clock will be skipped." >&2
fi
