#!/bin/sh
# Usage: up.sh INTERACTIONS ITEMS. Runs a whole federation on this machine below FEDREC_HOME/stack until SIGINT or
# SIGTERM. POSTGRES_PORT, PREFECT_PORT, MLFLOW_PORT and SERVING_PORT set other ports.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${FEDREC_HOME:?is not set}"
STACK=$(cd "$FEDREC_HOME" && pwd)/stack
export STACK
export POSTGRES_PORT="${POSTGRES_PORT:-5433}" PREFECT_PORT="${PREFECT_PORT:-4200}" MLFLOW_PORT="${MLFLOW_PORT:-5000}"
export SERVING_PORT="${SERVING_PORT:-8080}"
unset FEDREC_HOME PREFECT_API_URL MLFLOW_TRACKING_URI

mkdir -p "$STACK"
sh "$here/prepare.sh" "$1" "$2"

prefect=http://127.0.0.1:$PREFECT_PORT mlflow=http://127.0.0.1:$MLFLOW_PORT
cat <<END
Prefect: $prefect   Recommendations: http://127.0.0.1:$SERVING_PORT   Ctrl-C stops everything.
MLflow: $mlflow/#/experiments?workflowType=machine_learning
When the coordinator's worker is running, train over the three silos from Prefect (deployment demo), or with:
  FEDREC_HOME=$STACK/coordinator PREFECT_API_URL=$prefect/api MLFLOW_TRACKING_URI=$mlflow \\
    .venv/bin/fedrec train --config infra/stack/demo.yaml
END
exec honcho -e /dev/null -f "$here/../Procfile.stack" start
