# Oki-Toki on Kubernetes. `make demo` shows it, `make test` proves it, `make help` explains the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

UV_VERSION := 0.13.9
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := operator app agents loadtests chaos local plugin
TENANT ?= acme
ARGS ?= -u 5 -t 30s
SIZES ?= 100,1000,5000
export PYTHONPATH := $(subst $(eval ) ,:,$(abspath $(SOURCES)))
export UV_PYTHON_DOWNLOADS := never
LOCAL := $(BIN)/python -m okitoki_local
PLAN ?= smoke
PYTEST := $(BIN)/python -m pytest

.PHONY: help demo drill demo-down test check setup cluster cluster-down cluster-env cluster-tools images clean-cache \
        crds lint types imports generated charts test-unit test-api test-cluster load format \
        bench-operator bench-publish

help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ The two commands
demo: cluster images ## Bring the platform up, run calls and writes, kill servers under them, print the verdict
	$(LOCAL) demo
test: check test-api test-cluster ## Every test: the quick gate, then against an API server, then on the cluster

##@ Step by step
setup: $(VENV)/.ready system-packages ## Python environment from uv.lock, Debian packages that the tests need
cluster: setup ## A kind cluster of 1 control plane and 4 workers (reused when healthy)
	$(LOCAL) cluster up
images: cluster ## Build the project's images and load what changed into the nodes
	$(LOCAL) images
drill: images ## Faults under load, each with a verdict: PLAN=smoke|full|voice|soak|controls, ARGUMENTS="--seed 1 --only NAME …"
	$(LOCAL) drill --plan $(PLAN) $(ARGUMENTS)
demo-down: setup ## Remove the cluster with everything in it (the build cache stays; see clean-cache)
	$(LOCAL) cluster down
cluster-down: demo-down ## The same as demo-down
cluster-env: $(VENV)/.ready ## Shell exports and short names (kc, net) for the README's tour
	@$(LOCAL) cluster env
	@echo "alias net=in-cluster-net kc='in-cluster-net kubectl'"
cluster-tools: setup ## Only the command-line tools and API server of the cluster, no cluster
	$(LOCAL) cluster tools
clean-cache: setup ## Remove what was built and downloaded outside the checkout
	$(LOCAL) cluster clean-cache

##@ The quick gate
check: lint types imports generated charts test-unit ## All of the lines below
lint: setup ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
types: setup ## mypy --strict
	$(BIN)/mypy
imports: setup ## Layers, by import-linter
	$(BIN)/lint-imports
generated: setup ## crds/, the CRD chart and docs/api.md are what the models say
	$(BIN)/python -m okitoki.api.crds --check
	$(BIN)/python -m okitoki.api.crds --check charts/okitoki-crds/files
	$(BIN)/python -m okitoki.api.reference --check
charts: cluster-tools ## helm lint of the charts
	$(LOCAL) run helm lint --strict charts/okitoki-crds
	$(LOCAL) run helm lint --strict charts/okitoki --values charts/okitoki/ci/values.yaml
	$(LOCAL) run helm lint --strict charts/okitoki --values charts/okitoki/ci/values.yaml --values charts/okitoki/ci/with-metrics.yaml
	$(LOCAL) run helm lint --strict charts/okitoki-load --values charts/okitoki-load/ci/values.yaml
	$(LOCAL) run helm lint --strict charts/okitoki-drills --values charts/okitoki-drills/ci/values.yaml
	$(LOCAL) run helm lint --strict charts/okitoki-drills --values charts/okitoki-drills/ci/values.yaml --values charts/okitoki-drills/ci/with-every-right.yaml
test-unit: cluster-tools ## Unit tests: no cluster
	$(PYTEST) tests/unit

##@ Tests that need more
test-api: cluster-tools ## Against a real API server (etcd and kube-apiserver on loopback)
	$(PYTEST) tests/api
test-cluster: images ## On the local kind cluster
	$(PYTEST) tests/cluster

##@ Load
load: $(VENV)/.ready ## Locust on a tenant of the local cluster: make load TENANT=acme ARGS="-u 10 -t 1m" (docs/load.md)
	$(LOCAL) load-test $(if $(AGENTS),--agents $(AGENTS)) $(if $(WEB),--web) $(TENANT) $(ARGS)

##@ Benchmark
bench-operator: cluster-tools ## The operator with many Tenants beside a peer, on a real API server: SIZES=100,1000,5000 (docs/benchmark.md)
	PYTHONPATH=$(PYTHONPATH):$(abspath tests) nice -n 19 $(BIN)/python -m bench run --sizes $(SIZES) $(ARGUMENTS)
bench-publish: $(VENV)/.ready ## Its last figures into docs/benchmark.md and docs/benchmark/
	PYTHONPATH=$(PYTHONPATH):$(abspath tests) $(BIN)/python -m bench publish

##@ Writing
crds: setup ## Generate crds/, their copy in the chart and docs/api.md from the models
	$(BIN)/python -m okitoki.api.crds
	$(BIN)/python -m okitoki.api.crds charts/okitoki-crds/files
	$(BIN)/python -m okitoki.api.reference
format: setup ## ruff: mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: system-packages
system-packages:
	@local/bin/system-packages

$(VENV)/.ready: pyproject.toml uv.lock
	@echo "== Python environment from uv.lock" >&2
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv sync --frozen --quiet --inexact
	@touch $@
