#!/bin/sh
# Usage: join.sh -- COMMAND. Joins the gateway with the invitation in INVITATION, once there is one, unless this silo has
# joined; then runs the command. The certificate and the coordinator's fingerprint come with the invitation: here both
# sides are one person.
set -eu
shift

until [ -f "$FEDREC_HOME/gateway.json" ]; do
    if [ -f "$INVITATION" ]; then
        fedrec silo join "$INVITATION" --yes || sleep 2
    else
        sleep 1
    fi
done
exec "$@"
