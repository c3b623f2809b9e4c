#!/bin/sh
# Installs the programs that the tests start, where that may be done unasked: on Debian or Ubuntu, as root, and only
# what is missing. Everywhere else it says what is missing and succeeds; the tests that need it are then skipped.
set -eu

postgres_is_there() {
    command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

chromium_is_there() {
    command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 ||
        command -v google-chrome >/dev/null 2>&1
}

may_install() {
    [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1
}

install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

install_postgres() {
    apt-get update -qq &&
        # The programs alone: a cluster of its own would start at once and take port 5432.
        install postgresql-common &&
        mkdir -p /etc/postgresql-common &&
        echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf &&
        install postgresql
}

install_chromium() {
    apt-get update -qq && install chromium
}

if ! postgres_is_there; then
    if ! may_install; then
        echo "PostgreSQL's server programs (initdb, pg_ctl) are missing: tests that need them will be skipped." >&2
    elif ! install_postgres || ! postgres_is_there; then
        echo "PostgreSQL could not be installed: tests that need it will be skipped." >&2
    fi
fi
if ! chromium_is_there; then
    if ! may_install; then
        echo "Chromium is missing: the tests of the page will be skipped." >&2
    elif ! install_chromium || ! chromium_is_there; then
        echo "Chromium could not be installed: the tests of the page will be skipped." >&2
    fi
fi
