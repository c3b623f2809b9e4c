#!/bin/sh
# Runs a command in the environment that `fedrec env` prints for FEDREC_HOME. What is set already stays as it is.
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
