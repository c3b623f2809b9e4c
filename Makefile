# Start with `make quickstart` and `make test`. `make help` lists all targets.

PYTHON ?= python3
FEDREC_HOME ?= $(CURDIR)/.fedrec
export FEDREC_HOME

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# For the shell, because make would split a path at blanks.
RAW := "$$FEDREC_HOME"/data/ml-100k-raw
PARTITION := "$$FEDREC_HOME"/data/ml-100k
# What the tests of examples/ train on: the copy that a package ships, so that set-up needs the registry alone.
export FEDREC_TEST_MOVIELENS := $(CURDIR)/$(VENV)/movielens

.DEFAULT_GOAL := help
.PHONY: help install data quickstart test e2e check format ui stack bench lock clean

help: ## Show this list
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

install: $(INSTALLED) ## Create .venv and install the locked dependencies

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v[:2] < (3, 14) else "fedrec needs Python 3.11, 3.12 or 3.13, but $(PYTHON) is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@# Older versions of pip treat a locked package as unlocked if it is also required with extras.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=24,<27'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

data: | $(INSTALLED) ## Fetch MovieLens-100K and partition it by occupation
	@test -f $(PARTITION)/partition.json || { \
		$(BIN)/fedrec data fetch ml-100k --out $(RAW) && \
		$(BIN)/fedrec data partition --interactions $(RAW)/interactions.csv --items $(RAW)/items.csv \
			--users $(RAW)/users.csv --by occupation --out $(PARTITION); }

quickstart: $(INSTALLED) data ## Train over 21 silos, promote the model, print recommendations
	$(BIN)/fedrec train --config configs/ml-100k.yaml
	$(BIN)/fedrec promote --model fedrec-ml-100k
	$(BIN)/fedrec recommend --model fedrec-ml-100k --history "Toy Story,Star Wars" -k 10
	@echo
	@echo "Next: make ui shows every round in MLflow and Prefect. The path of the report is printed above."

$(FEDREC_TEST_MOVIELENS)/interactions.csv: | $(INSTALLED)
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
		--dest $(VENV)/wheels recbole==1.2.1
	$(BIN)/fedrec data fetch ml-100k --archive $(VENV)/wheels/recbole-1.2.1-py3-none-any.whl \
		--out $(FEDREC_TEST_MOVIELENS)

test: $(INSTALLED) $(FEDREC_TEST_MOVIELENS)/interactions.csv ## Run the suite, with full branch coverage of models/
	@sh infra/install-test-servers.sh
	@# In the order of the files, because the slow ones come first. One process runs a file and its servers. There are
	@# more processes than a small machine has cores, because the slow tests wait for servers and heartbeats.
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not cluster and not minutes" --cov --cov-report=term-missing:skip-covered
	$(BIN)/pytest -m cluster tests/flows/runners tests/faults/coordinator

e2e: $(INSTALLED) ## Test silos and faults with real processes under separate accounts (as root, half an hour)
	@sh infra/install-test-servers.sh
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder -v --durations=25 tests/e2e tests/faults \
		tests/flows/runners/test_remote_silos.py tests/flows/test_housekeeping.py tests/tasks/exchange/test_store_s3.py \
		tests/tasks/exchange/test_store_s3_prefix.py tests/tasks/datasets/test_sql_source.py

check: $(INSTALLED) ## Check format, lint, types and architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

ui: $(INSTALLED) ## Open MLflow's and Prefect's UIs on this FEDREC_HOME (Ctrl-C stops both)
	@echo "MLflow: http://127.0.0.1:$${MLFLOW_PORT:-5000}/#/experiments?workflowType=machine_learning"
	@echo "Prefect: http://127.0.0.1:$${PREFECT_PORT:-4200}"
	@mkdir -p "$$FEDREC_HOME"/mlflow
	@PATH="$(CURDIR)/$(BIN):$$PATH" env -u MLFLOW_TRACKING_URI sh infra/stack/with-env.sh honcho -e /dev/null -f infra/Procfile.ui start

stack: $(INSTALLED) data ## Start PostgreSQL, Prefect, MLflow and three silos on MovieLens-100K (Ctrl-C stops all)
	@sh infra/install-test-servers.sh
	@PATH="$(CURDIR)/$(BIN):$$PATH" exec sh infra/stack/up.sh $(RAW)/interactions.csv $(RAW)/items.csv

bench: $(INSTALLED) data ## Measure quality over three seeds, and the overhead compared with a plain loop
	$(BIN)/python benchmarks/main_job.py --seeds 1 2 3

lock: ## Resolve requirements.lock again (needs uv)
	@# It keeps the locked releases where it can; without the file it takes the newest of everything.
	@# After another Prefect or MLflow: make install, then .venv/bin/python -m tasks.local.schemas.snapshots.
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --quiet --output-file requirements.lock

clean: ## Remove the environment and the caches, but no data
	rm -rf $(VENV) *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
