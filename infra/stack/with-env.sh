#!/bin/sh
# Runs a command in the environment that `fedrec env` prints for FEDREC_HOME. Variables that are already set are kept.
set -eu

settings=$(fedrec env)
while IFS= read -r line; do
    if ! printenv "${line%%=*}" >/dev/null; then
        export "${line?}"
    fi
done <<END
$settings
END
exec "$@"
