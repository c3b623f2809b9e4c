#!/bin/sh
# Gives the statements that make the services' databases to a command, one on each line. Each service has a role that can
# enter its own database only; PREFECT_PASSWORD, MLFLOW_PASSWORD and GATEWAY_PASSWORD are the roles' passwords. The
# image of PostgreSQL starts it without arguments.
set -eu

statements() {
    for name in prefect mlflow gateway; do
        eval "password=\$$(echo "$name" | tr '[:lower:]' '[:upper:]')_PASSWORD"
        echo "CREATE ROLE $name LOGIN PASSWORD '$password';"
        echo "CREATE DATABASE $name OWNER $name;"
        echo "REVOKE CONNECT ON DATABASE $name FROM PUBLIC;"
    done
}

if [ $# -eq 0 ]; then
    set -- psql --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres
fi
statements | "$@"
