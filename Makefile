# Two commands do everything on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint format bench sweep fixtures pictures clean

# The main job, on the photos and the small models that come with the source.
demo: .venv/.run
	$(BIN)/backbone stages fixtures/models/swin-micro
	$(BIN)/backbone extract --model fixtures/models/swin-micro --out-indices all fixtures/photos -o demo-features --overwrite
	$(BIN)/backbone inspect demo-features

# One worker a core, one thread a worker: the models of the tests are too small to share.
test: .venv/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto $(ARGS)

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Side by side with transformers and timm, in one run; ARGS="--quick" for a first look.
bench: .venv/.test
	$(BIN)/python -m benchmarks $(ARGS)

# Every architecture that timm has, against timm itself; takes an hour or two.
sweep: .venv/.test
	$(BIN)/python -m benchmarks.timm_sweep $(ARGS)

fixtures: .venv/.run
	$(BIN)/python fixtures/make.py

# The pictures of README.md and docs/; needs a chromium.
pictures: .venv/.test
	$(BIN)/python tools/make_pictures.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

# pip compiles the packages that it installs, but for editable ones.
.venv/.run: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	$(BIN)/python -m compileall -q backbone_cli
	@touch $@

.venv/.test: .venv/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,test]'
	@touch $@

clean:
	rm -rf .venv demo-features build dist .pytest_cache .mypy_cache .ruff_cache
