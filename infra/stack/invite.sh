#!/bin/sh
# Usage: invite.sh SILO... Writes INVITATIONS/SILO/invitation.json for each silo that has none yet, with which it joins
# the gateway at GATEWAY_URL.
set -eu

for name in "$@"; do
    folder=$INVITATIONS/$name
    mkdir -p "$folder"
    if [ ! -f "$folder/invitation.json" ]; then
        fedrec invite "$name" --url "$GATEWAY_URL" --out "$folder/new.json" >/dev/null
        # Renaming is atomic, so a silo reads a complete invitation.
        mv "$folder/new.json" "$folder/invitation.json"
    fi
done
