#!/bin/sh
# Usage: join.sh SILO OTHER... -- COMMAND. Joins the gateway with the invitation in INVITATION, once there is one, unless
# this silo has joined. Puts its public key into PUBLIC_KEYS/SILO, and the others' from PUBLIC_KEYS/OTHER into its
# roster, as soon as they are there. Then runs the command.
# Certificate, fingerprint and keys come through folders because everybody here is one person. Elsewhere each owner
# gets the other silos' keys from their owners, never by way of the coordinator, and compares the fingerprints by
# telephone: docs/silo-owner.md.
set -eu
name=$1
shift

until [ -f "$FEDREC_HOME/gateway.json" ]; do
    if [ -f "$INVITATION" ]; then
        fedrec silo join "$INVITATION" --yes || sleep 2
    else
        sleep 1
    fi
done

# Renaming is atomic, so a silo reads a complete key.
cp "$FEDREC_HOME/keys/public.pem" "$PUBLIC_KEYS/$name/new.pem"
mv "$PUBLIC_KEYS/$name/new.pem" "$PUBLIC_KEYS/$name/public.pem"
while [ "$1" != -- ]; do
    if [ ! -f "$FEDREC_HOME/roster/$1.pem" ]; then
        until [ -f "$PUBLIC_KEYS/$1/public.pem" ]; do
            sleep 1
        done
        fedrec silo roster "$1" "$PUBLIC_KEYS/$1/public.pem"
    fi
    shift
done
shift
exec "$@"
