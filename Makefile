# Every command of the project. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
MEMBERS := $(wildcard libs/* services/*)

JAVASCRIPT := clients/javascript
NODE_GRPC := clients/node-grpc
PACKAGES := $(JAVASCRIPT)/node_modules/.installed $(NODE_GRPC)/node_modules/.installed

.PHONY: help setup lock lock-javascript check check-javascript format format-check lint types layers test test-unit \
	test-integration test-faults test-faults-long live-faults test-containers browser oracle permissions mutations images up down status logs load-flights bench \
	monitoring prometheus bench-compare bench-memory bench-live bench-crowds bench-transactions bench-document profile wrk docs reference changes

##@ Start here
help: ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-zA-Z0-9_-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) $(PACKAGES) ## Install everything the project needs (Python packages, Java and ZooKeeper; with npm, those of the JavaScript client)

$(STAMP): requirements.lock $(addsuffix /pyproject.toml,$(MEMBERS))
	@scripts/setup.sh
	@touch $@

# Not `npm ci`: it refuses a lock that lacks the binaries of other platforms, which not every registry has.
$(PACKAGES): %/node_modules/.installed: %/package-lock.json
	@! command -v npm >/dev/null || (cd $* && \
		npm install --no-save --ignore-scripts --no-audit --no-fund --prefer-offline --silent && touch node_modules/.installed)

lock: ## Resolve the dependencies again and rewrite requirements.lock
	@$(BIN)/uv lock --upgrade --quiet
	@$(BIN)/uv export --quiet --all-packages --all-groups --no-emit-workspace --no-emit-index-url --no-header --output-file requirements.lock

lock-javascript: ## Resolve the JavaScript packages again and rewrite their lock, which names no registry
	@for each in $(JAVASCRIPT) $(NODE_GRPC); do (cd $$each && rm -rf package-lock.json && \
		npm install --package-lock-only --ignore-scripts --no-audit --no-fund --silent && \
		sed -i '/^ *"resolved": /d' package-lock.json) || exit; done

##@ Check
check: $(STAMP) $(PACKAGES) ## Everything that needs no server
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target format-check lint layers types check-javascript test-unit

format: $(STAMP) $(PACKAGES) ## Format the code
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .
	@! command -v npm >/dev/null || npm --prefix $(JAVASCRIPT) run --silent format

format-check: $(STAMP) ## Fail on unformatted code
	@$(BIN)/ruff format --check --quiet .

lint: $(STAMP) ## Lint the code
	@$(BIN)/ruff check --quiet .

layers: $(STAMP) ## Fail on an import that goes up or sideways
	@$(BIN)/lint-imports --no-cache

types: $(STAMP) ## Type-check everything, strictly
	@$(BIN)/pyright --warnings

check-javascript: $(PACKAGES) ## Format, lint, types and unit tests of the JavaScript client; skipped without npm
	@! command -v npm >/dev/null || npm --prefix $(JAVASCRIPT) run --silent check

test: check test-integration test-faults ## Everything that must pass

test-unit: $(STAMP) ## Unit, property and conformance tests that need no server
	@$(BIN)/pytest -q -m "not servers and not faults and not long and not containers" -n 2

test-integration: $(STAMP) $(PACKAGES) browser prometheus ## Tests on real servers
	@$(BIN)/pytest -q -m "servers and not faults and not long" -n 2 --dist loadfile

test-faults: $(STAMP) ## Kill and freeze real processes
	@$(BIN)/pytest -q -m "faults and not long"

test-faults-long: $(STAMP) ## The same for long, and write docs/fault-report.md (FOR=600 SEED=1 TIMES=100)
	@OQL_ELECTIONS=$(or $(TIMES),100) OQL_FUZZ_SECONDS=$(or $(FOR),600) OQL_FUZZ_SEED=$(or $(SEED),1) \
		OQL_FAULT_REPORT=docs/fault-report.md $(BIN)/pytest -q -m long

live-faults: $(STAMP) ## Live queries under a thousand breaks (DROPS=1000)
	@OQL_LIVE_DROPS=$(or $(DROPS),1000) OQL_LIVE_WRITERS=60 $(BIN)/pytest -q -m faults tests/faults/test_live_faults.py -o log_cli=true -o log_cli_level=INFO

oracle: $(STAMP) ## Random queries against the oracle, for long (QUERIES=1000000 SEED=1)
	@$(BIN)/python -m tests.oracle --queries $(or $(QUERIES),1000000) --seed $(or $(SEED),1)

permissions: $(STAMP) ## Random permissions at every door against a judge, for long (CASES=1000000 SEED=0)
	@$(BIN)/python -m tests.security --cases $(or $(CASES),1000000) --seed $(or $(SEED),0)

mutations: $(STAMP) ## Take out every listed guard and see its tests fail (ONLY=webhooks)
	@$(BIN)/python -m tests.security.mutations --only "$(ONLY)"

test-containers: $(STAMP) ## The data services as Docker containers, and the images; skipped where no engine answers
	@OQL_STACK=containers $(BIN)/pytest -q -m containers

##@ Run
up: $(STAMP) ## Start the data services and the cluster; again restarts what has died (KERNELS=4 scales)
	@$(BIN)/objectql-devstack up

down: $(STAMP) ## Stop everything; data and logs stay
	@$(BIN)/objectql-devstack down

status: $(STAMP) ## Tell what runs
	@$(BIN)/objectql-devstack status

logs: $(STAMP) ## Print the end of the logs (SERVICE=kernel-1 FOLLOW=1)
	@$(BIN)/objectql-devstack logs $(SERVICE) $(if $(FOLLOW),--follow)

images: ## Build an image of every service, objectql/<service> (OQL_IMAGE_PREFIX, OQL_IMAGE_TAG)
	@scripts/images.sh

load-flights: $(STAMP) ## Load the flights into the running cluster; again loads only what is missing
	@$(BIN)/python -m examples.flights.load

##@ Write
docs: $(STAMP) $(PACKAGES) ## Run the commands of the README and the guides on a cluster, and check what is generated
	@$(BIN)/pytest -q tests/test_reference.py tests/integration/test_docs.py

reference: $(STAMP) ## Write the generated parts of the documentation anew
	@$(BIN)/python -m scripts.reference

changes: $(STAMP) ## Show the next release's part of the change log
	@$(BIN)/towncrier build --draft --version next

##@ Measure
bench: $(STAMP) wrk ## Measure the parts and the whole, print tables, write bench/results/*.json (ONLY="rest growth")
	@$(BIN)/python -m bench run $(if $(ONLY),--only $(ONLY))

bench-compare: $(STAMP) wrk ## Measure, and tell what changed against bench/results (NEW=folder, ONLY=rest, FAIL=1)
	@$(BIN)/python -m bench compare $(if $(ONLY),--only $(ONLY)) $(if $(NEW),--new $(NEW)) $(if $(FAIL),--fail)

bench-memory: $(STAMP) wrk ## Memory of an idle cluster, after 20,000 and after 200,000 requests
	@$(BIN)/python -m bench memory

bench-live: $(STAMP) ## Live queries: fan-out, many filters, idle sockets
	@$(BIN)/python -m bench live

bench-crowds: $(STAMP) ## Live queries: a thousand slow readers, a right that ends
	@$(BIN)/python -m bench crowds

bench-transactions: $(STAMP) ## Transactions over one to four databases
	@$(BIN)/python -m bench transactions

bench-document: $(STAMP) ## Write the tables and the chart of docs/performance.md from bench/results
	@$(BIN)/python -m bench document

profile: $(STAMP) wrk ## Show where gateway and kernel spend their time (SCENARIOS="get update")
	@$(BIN)/python -m bench profile $(SCENARIOS)

monitoring: $(STAMP) ## Write the dashboards and alert rules again (deploy/grafana, deploy/prometheus, the chart)
	@$(BIN)/python -m deploy.monitoring

prometheus: # judges the dashboards and rules; of the distribution
	@command -v prometheus >/dev/null || scripts/setup.sh prometheus

browser: # of the distribution; no test downloads one
	@command -v chromium-headless-shell chromium google-chrome >/dev/null || scripts/setup.sh chromium-headless-shell

wrk:
	@command -v wrk >/dev/null || scripts/setup.sh wrk
