#!/bin/sh
# Usage: prepare.sh INTERACTIONS ITEMS. Makes the folders of a federation on one machine below $STACK. The arguments are
# tables in the format of `fedrec data partition`. Existing folders are kept. The silos' settings are written again,
# because ports may have changed.
set -eu
umask 022

interactions=$1 items=$2
mkdir -p "$STACK/coordinator"
chmod 700 "$STACK/coordinator"

if [ ! -f "$STACK/pgpass" ]; then
    password=$(python -c 'import secrets; print(secrets.token_urlsafe(24))')
    (umask 077 && echo "127.0.0.1:*:*:fedrec:$password" >"$STACK/pgpass")
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

exchange=${SILO_EXCHANGE:-$(python -c 'import pathlib, sys; print(pathlib.Path(sys.argv[1]).as_uri())' \
    "$STACK/coordinator/exchange")}
for name in silo-01 silo-02 silo-03; do
    home=$STACK/silos/$name
    cat >"$home/silo.yaml" <<END
# Written by infra/stack/prepare.sh at each start; infra/silo.example.yaml explains every key.
name: $name
prefect_api_url: ${SILO_PREFECT_API_URL:-http://127.0.0.1:$PREFECT_PORT/api}
exchange: "$exchange"
source:
  folder: "\$FEDREC_HOME/source"
END
    if [ ! -f "$home/keys/public.pem" ]; then
        FEDREC_HOME=$home fedrec silo enrol --name "$name" >/dev/null
    fi
    FEDREC_HOME=$STACK/coordinator fedrec trust "$name" "$home/keys/public.pem" >/dev/null
done
