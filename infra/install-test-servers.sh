#!/bin/sh
# Installs the missing programs that the tests start, on Debian or Ubuntu as root. Elsewhere it lists the missing ones
# and succeeds; the tests that need them are then skipped.
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
    # Installs the programs without a cluster, which would start at once and take port 5432.
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

# Installs a program if it is missing, or reports that it cannot.
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
    echo "Tests that need it will be skipped, because it is missing: $2." >&2
}

need postgres "PostgreSQL's server programs (initdb, pg_ctl)"
need wrk "the load generator wrk"
need chromium "the browser Chromium"
need faketime "the library libfaketime, for wrong clocks"
