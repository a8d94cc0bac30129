# The one door. `make help` lists what it opens.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXTRAS := server,postgres,s3,train,onnx,he,demo,dev
PACKAGES := audit compliance gateway kernel policies privacy privgate
export OMP_NUM_THREADS ?= 1
export PRIVGATE_TEST_DATA ?= ../shared/data
# Where it is set, each of the many processes that a test starts would compile the program anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-he test test-slow soak check fix serve bench bench-dp bench-accuracy bench-he tutorials lock clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## Install everything into .venv

# torch is pinned by the lock: an unpinned one is gigabytes of GPU code.
$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

# The database tests run against a real server; on Debian as root its binaries are installed when they are missing.
.PHONY: postgres-binaries
postgres-binaries:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || \
	  { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	    (apt-get -qq update && apt-get -qq install -y --no-install-recommends postgresql >/dev/null); } || \
	  echo "PostgreSQL server binaries not found: its tests will be skipped"

# A confined child writes nothing, so what is not compiled before it starts is compiled at every start.
.PHONY: bytecode
bytecode: $(READY)
	@$(BIN)/python -m compileall -q $(PACKAGES)

demo: $(READY) ## Run the whole cycle on real data (DATA=breast-cancer or DATA=adult); results in demo-out/
	@$(BIN)/python -m privgate.demo --data $(or $(DATA),breast-cancer) --out demo-out

demo-he: $(READY) ## Four hospitals fit one model, encrypted, as processes over TLS; results in demo-he-out/
	@$(BIN)/python -m privgate.demo.consortium --out demo-he-out

test: $(READY) bytecode postgres-binaries ## Run the tests
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not slow"

test-slow: $(READY) bytecode postgres-binaries ## Run the long suites (both databases, full tamper counts)
	$(BIN)/pytest -q -n 2 --dist loadfile -m slow

soak: $(READY) ## Run what is too long for CI; results in benchmarks/results/soak.jsonl
	$(BIN)/python -m benchmarks.soak

check: $(READY) ## Format, lint, types, import directions, architecture, documents, Dockerfile
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/hadolint Dockerfile
	$(BIN)/pytest -q tests/architecture tests/docs

fix: $(READY) ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

serve: $(READY) ## Start a gateway and a worker on loopback, in ./var
	@$(BIN)/python -m privgate.demo --serve var

bench: $(READY) postgres-binaries ## Measure the cycle; JSON lines in benchmarks/results/cycle.jsonl
	$(BIN)/python -m benchmarks.cycle

bench-dp: $(READY) ## Measure private training against its peers (QUICK=1: short, prints only); benchmarks/results/dp.jsonl
	$(BIN)/python -m benchmarks.dp $(if $(QUICK),--quick)

bench-accuracy: $(READY) ## What private models reach on public tables, GLM intervals, synthetic tables (QUICK=1: few runs, prints only)
	$(BIN)/python -m benchmarks.accuracy $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.glm $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.glm_rival $(if $(QUICK),--quick)
	$(BIN)/python -m benchmarks.synthesis $(if $(QUICK),--quick)

bench-he: $(READY) ## Measure sums, training and inference under encryption (QUICK=1: prints only); benchmarks/results/he.jsonl
	$(BIN)/python -m benchmarks.he $(if $(QUICK),--quick)

tutorials: $(READY) ## Run the notebooks of docs/tutorials and keep what comes out
	$(BIN)/python -m tests.support.tutorials

lock: ## Renew constraints.txt from what is installed in .venv
	$(BIN)/pip freeze --exclude-editable | sed -e 's/+cpu//' -e '/ @ /d' | sort -f > constraints.txt

clean: ## Remove what the targets made
	rm -rf $(VENV) demo-out demo-he-out var .pytest_cache .mypy_cache .ruff_cache .hypothesis
