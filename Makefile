# make run    demo music and a real song, every separator, scores, an HTML leaderboard
# make test   the whole test suite
# make check  ruff and mypy
# make docs   the documentation site, in site/
# make bench  the speed tables of benchmarks/
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test check docs bench clean
run: .venv/models
	@$(BIN)/harness fetch separator spleeter_2stems || \
		echo "The weights of spleeter_2stems (89 MB) cannot be had here; the run leaves it out"
	$(BIN)/harness run --all

test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist worksteal

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: .venv/installed
	$(BIN)/python benchmarks/classical.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/resume.py

.venv/installed: pyproject.toml constraints.txt hatch_build.py harness/metrics/engine/kernel.c
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "harness needs Python 3.11 or newer; run 'make PYTHON=python3.12 $(MAKECMDGOALS)'"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# The models that audio-separator runs; without them a run leaves them out and says so.
.venv/models: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[audio-separator]' || \
		echo "audio-separator cannot be installed here; the models that need it are left out"
	touch $@

.venv/docs: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv results reports site
