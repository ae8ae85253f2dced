# Every target sets up what it needs: .venv from the pinned, hashed lock file (.ci/venv). Nothing needs root, a server or a key.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo dev test soak check lock clean bench bench-all bench-reports runtime development validator

# Where it is set, every process that is started compiles all of Dagster anew: 3 s of CPU each.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
ARGS ?=

help: ## these lines
	@echo "make ..."
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1 \2/p' Makefile | while read -r name what; do printf '  %-13s %s\n' "$$name" "$$what"; done
	@echo "ARGS='...' is passed on: make test ARGS='-k ledger', make dev ARGS='--port 3001'"

demo: runtime ## sample images to videos and a cost report, with simulated providers: nothing is bought
	@$(BIN)/wan-pipeline demo $(ARGS)

dev: runtime ## Dagster's UI over the same; an image put into the bucket's inbox becomes a video
	@exec $(BIN)/wan-pipeline dev $(ARGS)

# Many tests wait for real processes: three workers keep two cores busy. A file stays with one worker, in the order of conftest.py.
test: development validator ## the tests
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

soak: development ## thousands of histories of faults, lies and deaths; SEED=7 repeats the run that printed 7
	$(BIN)/python -m wan_pipeline_tests.generation.soak $(ARGS)
	$(BIN)/python -m pytest -m long

# dg looks for `telemetry: false` in $DAGSTER_HOME only; a home of its own keeps the check out of .wan.
check: export DAGSTER_HOME := $(CURDIR)/.venv/dagster
check: export VIRTUAL_ENV := $(CURDIR)/.venv
check: development ## style, types, layers, definitions, lock files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	@mkdir -p "$$DAGSTER_HOME" && cp dagster.yaml "$$DAGSTER_HOME"
	$(BIN)/dg check defs
	$(BIN)/dagster definitions validate -w workspace.yaml
	.ci/check-locks

# Every benchmark that has a --quick; what each measures, and its figures, are in docs/benchmarks.md.
BENCHMARKS = $(basename $(notdir $(shell grep -l '"--quick"' benchmarks/*.py)))
bench: development ## every benchmark once, small: does it run? minutes
	@set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name --quick $(ARGS); done
	$(BIN)/python -m benchmarks.reports --jobs 3000

bench-all: development ## every benchmark at its full size: an hour or two, on a machine that does nothing else
	@set -e; for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name $(ARGS); done
	$(BIN)/python -m benchmarks.reports

bench-reports: development ## reports, export and reconciliation out of a million jobs, on SQLite and PostgreSQL
	$(BIN)/python -m benchmarks.reports --full $(ARGS)

# uv reads pyproject.toml and writes pinned, hashed files without a URL, which both uv and pip install from. The validator reads
# CSV: it does without pyarrow.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-annotate \
	--no-header --no-emit-index-url --no-emit-find-links
lock: development ## renew requirements*.txt; ARGS='--upgrade' for the newest versions
	$(LOCK) pyproject.toml --group build -o requirements.txt $(ARGS)
	$(LOCK) pyproject.toml --group build --group dev -c requirements.txt -o requirements-dev.txt $(ARGS)
	$(LOCK) --group pyproject.toml:focus-validator --no-emit-package pyarrow -o requirements-focus-validator.txt $(ARGS)
	.ci/check-locks

clean: ## remove .venv and what tools left; never .wan, which holds your videos and the ledger
	rm -rf .venv build dist .hypothesis .pytest_cache .ruff_cache .import_linter_cache .tmp_dagster_home_*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

runtime:
	@.ci/venv requirements.txt

development:
	@.ci/venv requirements-dev.txt

validator: development
	@.ci/focus-validator
