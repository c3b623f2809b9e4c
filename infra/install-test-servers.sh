#!/bin/sh
# Installs the programs that the tests start, where that may be done unasked: on Debian or Ubuntu, as root, and only
# what is missing. Everywhere else it says what is missing and succeeds; the tests that need it are then skipped.
set -eu

postgres_is_there() {
    command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

wrk_is_there() {
    command -v wrk >/dev/null 2>&1
}

chromium_is_there() {
    command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 ||
        command -v google-chrome >/dev/null 2>&1
}

faketime_is_there() {
    ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1
}

install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

install_postgres() {
    # The programs alone: a cluster of its own would start at once and take port 5432.
    install postgresql-common &&
        mkdir -p /etc/postgresql-common &&
        echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf &&
        install postgresql
}

install_wrk() {
    install wrk
}

install_chromium() {
    install chromium
}

install_faketime() {
    install faketime
}

# The program is there, or it is said which tests will be skipped.
need() {
    if "$1_is_there"; then
        return
    fi
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        [ -n "${updated-}" ] || apt-get update -qq || true
        updated=yes
        if "install_$1" && "$1_is_there"; then
            return
        fi
    fi
    echo "$2 not there: tests that need it will be skipped." >&2
}

need postgres "PostgreSQL's server programs (initdb, pg_ctl) are"
need wrk "The load generator wrk is"
need chromium "The browser Chromium is"
need faketime "The library libfaketime, for wrong clocks, is"
