# Two commands are all that a newcomer needs: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
SEED ?= 1
MINUTES ?= 10
SETTLED := .venv/.settled
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: demo test test-ray test-kubernetes lint types contracts tests bench bench-noria bench-peers crash strangers soak clean

demo: .venv/.demo ## replay the flights of 2013 through the loop
	$(BIN)/noria demo

test: lint types contracts tests ## everything that CI runs

lint: $(SETTLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(SETTLED)
	$(BIN)/pyright

contracts: $(SETTLED)
	$(BIN)/lint-imports

tests: $(SETTLED)
	$(BIN)/pytest -n 2 --dist loadfile

test-ray: .venv-ray/.settled ## steps on a real Ray of several nodes (installs about 250 MB into .venv-ray)
	.venv-ray/bin/pytest tests/runs/test_ray.py tests/runs/test_executors.py

test-kubernetes: .venv-kubernetes/.settled ## steps as Kubernetes Jobs, on a small API server (about 230 MB into .venv-kubernetes), or on a cluster of yours: docs/executors.md
	.venv-kubernetes/bin/pytest tests/runs/test_kubernetes.py tests/runs/test_real_kubernetes.py tests/runs/test_executors.py

bench: bench-noria bench-peers ## all figures of docs/benchmarks.md (half an hour)

bench-noria: $(SETTLED) ## import time; the cost of the engine, of large values, of the log, of a prediction; what a canary decides (minutes)
	$(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/engine.py --past
	$(BIN)/python benchmarks/claims.py
	$(BIN)/python benchmarks/waking.py
	$(BIN)/python benchmarks/values.py
	$(BIN)/python benchmarks/prediction_log.py
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/rollouts.py 200

bench-peers: $(SETTLED) ## the same work in other engines; makes their environments in ~/.cache/noria-bench
	$(BIN)/python benchmarks/peers/run.py

crash: $(SETTLED) ## kill a run, and cut its connection, at every one of its commits in turn (many minutes; CRASH_SEED chooses the short version's moments)
	$(BIN)/pytest -v -s -m "soak or not soak" tests/runs/test_crash_certificate.py

strangers: $(SETTLED) ## play invented users through the whole circle, from world SEED on for MINUTES
	$(BIN)/python tests/strangers/play.py --seed $(SEED) --minutes $(MINUTES)

soak: $(SETTLED) ## the long runs: replays killed again and again, every test of loops on PostgreSQL, a bad model on all of June
	$(BIN)/pytest -m soak

.venv/bin/pip:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --upgrade "pip>=25.1"

.venv/.demo: pyproject.toml | .venv/bin/pip
	$(BIN)/pip install -q -e ".[demo]"
	touch $@

$(SETTLED): pyproject.toml | .venv/bin/pip
	$(BIN)/pip install -q -e ".[demo,onnx,postgres]" --group dev
	touch $@ .venv/.demo

.venv-%/.settled: pyproject.toml
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/pip install -q --upgrade "pip>=25.1"
	.venv-$*/bin/pip install -q -e ".[$*]" --group $*-tests
	touch $@

clean:
	rm -rf .venv .venv-ray .venv-kubernetes .noria demo-report.json demo-report.html
