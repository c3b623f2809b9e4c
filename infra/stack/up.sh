#!/bin/sh
# Usage: up.sh INTERACTIONS ITEMS. Runs a whole federation on this machine below FEDREC_HOME/stack until SIGINT or
# SIGTERM. POSTGRES_PORT, PREFECT_PORT, MLFLOW_PORT, SERVING_PORT, GATEWAY_PORT and GATEWAY_METRICS_PORT set other
# ports.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${FEDREC_HOME:?is not set}"
STACK=$(cd "$FEDREC_HOME" && pwd)/stack
export STACK
export POSTGRES_PORT="${POSTGRES_PORT:-5433}" PREFECT_PORT="${PREFECT_PORT:-4200}" MLFLOW_PORT="${MLFLOW_PORT:-5000}"
export SERVING_PORT="${SERVING_PORT:-8080}" GATEWAY_PORT="${GATEWAY_PORT:-8443}"
export GATEWAY_METRICS_PORT="${GATEWAY_METRICS_PORT:-9464}"
unset FEDREC_HOME PREFECT_API_URL MLFLOW_TRACKING_URI

mkdir -p "$STACK"
sh "$here/prepare.sh" "$1" "$2"

prefect=http://127.0.0.1:$PREFECT_PORT mlflow=http://127.0.0.1:$MLFLOW_PORT
orders=postgresql+psycopg://gateway@127.0.0.1:$POSTGRES_PORT/gateway
cat <<END
Prefect: $prefect   Recommendations: http://127.0.0.1:$SERVING_PORT   Ctrl-C stops everything.
MLflow: $mlflow/#/experiments?workflowType=machine_learning
When the coordinator's worker is running, train over the three silos from Prefect (deployment demo), or with:
  export FEDREC_HOME=$STACK/coordinator PREFECT_API_URL=$prefect/api MLFLOW_TRACKING_URI=$mlflow
  export FEDREC_ORDERS=$orders PGPASSFILE=$STACK/pgpass
  .venv/bin/fedrec train --config infra/stack/demo.yaml
  .venv/bin/fedrec silos
END
exec honcho -e /dev/null -f "$here/../Procfile.stack" start
