#!/bin/sh
# Usage: prepare.sh INTERACTIONS ITEMS. Makes the folders of a federation on one machine below $STACK. The arguments are
# tables in the format of `fedrec data partition`. Existing folders are kept. The silos' settings are written again.
set -eu
umask 022

interactions=$1 items=$2
mkdir -p "$STACK/coordinator"
chmod 700 "$STACK/coordinator"
# Containers mount these, so they exist before.
mkdir -p "$STACK/coordinator/gateway" "$STACK/coordinator/trusted_silos" "$STACK/coordinator/serving"

if ! grep -q :gateway: "$STACK/pgpass" 2>/dev/null; then
    if [ -d "$STACK/postgres/data" ]; then
        echo "An earlier release made $STACK, with one database role for all services. Move it away to begin anew." >&2
        exit 1
    fi
    (umask 077 && python -c 'import secrets
for role in ("fedrec", "prefect", "mlflow", "gateway"):
    print(f"127.0.0.1:*:*:{role}:{secrets.token_urlsafe(24)}")' >"$STACK/pgpass.new")
    mv "$STACK/pgpass.new" "$STACK/pgpass"
fi

# Each silo gets its part and the coordinator gets the catalogue. The complete data are not kept.
if [ ! -f "$STACK/coordinator/items.parquet" ]; then
    parts=$STACK/parts
    fedrec data partition --interactions "$interactions" --items "$items" --random 3 --out "$parts" --force
    for name in silo-01 silo-02 silo-03; do
        home=$STACK/silos/$name
        mkdir -p "$home/source"
        chmod 700 "$home"
        mv "$parts/clients/$name/interactions.parquet" "$home/source/"
    done
    mv "$parts/items.parquet" "$STACK/coordinator/"
    rm -r "$parts"
fi

for name in silo-01 silo-02 silo-03; do
    mkdir -p "$STACK/invitations/$name" "$STACK/public_keys/$name"
    chmod 700 "$STACK/invitations" "$STACK/invitations/$name"
    cat >"$STACK/silos/$name/silo.yaml" <<END
# Written by infra/stack/prepare.sh at each start; infra/silo.example.yaml explains every key.
name: $name
source:
  folder: "\$FEDREC_HOME/source"
END
done
