# make demo   install masktools and run its demonstration      make lint    style and types
# make docs   build the site: docs/_build/html/index.html      make test-site   run all that it shows
# make test   install everything for development and test      make clean   remove what these made
# make mini SOURCE="manifest.csv ..."     train a model like the bundled one, from recordings to bundle (days on one core)
# RUN=folder where it is trained; MINI="--skip text" and the like go to recipes/mini/make.py, which tells what there is.
# make model-report SOURCE="a.csv b.csv" [EMBEDDERS="aisfx=PATH musicnn=PATH"] [MODELS="mini other/"] [KEEP=folder]
#             measure bundles on recordings they have not heard, side by side; with KEEP a stopped run goes on
# make test-slow   the tests that take long, which make test leaves out
# JOBS=4 runs so many tests at once (2 if left out).
# PYTHON=python3.12 chooses the interpreter of a new environment; DEMO=folder where the demonstration goes.

PYTHON ?= python3
JOBS ?= 2
DEMO ?= demo-out
RUN ?= mini-run
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
# timm imports torchvision: this fails at once where torch and torchvision are of different builds (CPU and CUDA).
ONE_BUILD = $(BIN)/python -c "import timm" || \
	{ echo "torch and torchvision in $(VENV) are of different builds: run 'make clean-venv' and try again" >&2; exit 1; }

.PHONY: demo docs test test-slow test-laion test-site test-space lint model-report mini clean clean-venv

demo: $(VENV)/.installed-demo
	$(BIN)/masktools demo -o $(DEMO)

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-slow: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m slow

# The site, without a network, into docs/_build/html; warnings are errors. What was executed before is kept.
docs: $(VENV)/.installed-docs
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m sphinx -W --keep-going -b html \
		-d docs/_build/doctrees docs docs/_build/html

# Every block of Python, every command and every notebook of the site, as a reader would run them.
test-site: $(VENV)/.installed-docs
	OMP_NUM_THREADS=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pytest beartype hypothesis
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m site tests/house/test_site.py

test-space:
	test -d $(VENV)-space || $(PYTHON) -m venv $(VENV)-space
	$(VENV)-space/bin/python -m pip install --disable-pip-version-check -e . -r spaces/requirements.txt \
		pytest hypothesis beartype playwright
	OMP_NUM_THREADS=2 $(VENV)-space/bin/python -m pytest -m space tests/test_space.py

# laion-clap needs numpy below 2, so it has an environment of its own
test-laion:
	test -d $(VENV)-laion || $(PYTHON) -m venv $(VENV)-laion
	$(VENV)-laion/bin/python -m pip install --disable-pip-version-check -e ".[laion,clap]" \
		pytest hypothesis beartype lightning jsonargparse
	OMP_NUM_THREADS=1 $(VENV)-laion/bin/python -m pytest -m laion tests/networks/conditioning/test_laion.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

model-report: $(VENV)/.installed-dev
	@test -n "$(SOURCE)" || { echo "say which recordings: make model-report SOURCE=manifest.csv" >&2; exit 1; }
	$(BIN)/python docs/model_report.py $(SOURCE) $(MODELS:%=--model %) $(EMBEDDERS:%=--embedder %) \
		$(KEEP:%=--keep %) $(REPORT)

mini: $(VENV)/.installed-dev
	@test -n "$(SOURCE)" || { echo 'say which recordings: make mini SOURCE="manifest.csv ..."' >&2; exit 1; }
	$(BIN)/python recipes/mini/make.py $(SOURCE) -o "$(RUN)" $(MINI)

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "masktools needs Python 3.11 or newer: say make PYTHON=python3.11 (or newer)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) -e ".[dev]"
	@$(ONE_BUILD)
	@touch $(VENV)/.installed-demo $@

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(BIN)/pip
	$(INSTALL) -e ".[docs]"
	@touch $@

clean:
	rm -rf $(DEMO) docs/_build docs/auto docs/cards docs/cli build dist .pytest_cache .ruff_cache .hypothesis
	find masktools tests -type d -name __pycache__ -prune -exec rm -rf {} +

clean-venv:
	rm -rf $(VENV) $(VENV)-laion $(VENV)-space
