# Each target makes .venv and installs what it needs, when that is missing or pyproject.toml is newer.
PYTHON ?= python3
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check
# For the test of the HTML report, which is skipped without a browser; installs it where that can be done.
BROWSER = { command -v chromium || command -v google-chrome || test "$$(id -u)" != 0 || { apt-get update && \
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; }; } >/dev/null 2>&1 || true

.PHONY: demo test test-quick oldest newest clients lint bench torture mutants coverage gallery docs interop pages clean verdicts

# Compiled tests are kept, even where the shell keeps none: to compile them takes some seconds.
test test-quick: export PYTHONDONTWRITEBYTECODE =

demo: .venv/.demo
	.venv/bin/sae-train demo --out out/demo $(if $(FAST),--fast)

test: .venv/.dev
	@$(BROWSER)
	.venv/bin/python -m pytest -q

# For daily work: without notebooks, pages, training runs and simulations.
test-quick: .venv/.dev
	.venv/bin/python -m pytest -q -m 'not slow and not interop and not pages'

# The analysis with every dependency at the lowest version that pyproject.toml allows, and at the newest there is.
# `rm -r .newest` first for newer ones; make PYTHON=python3.13 newest chooses the interpreter.
ANALYSIS = tests frontier $(addprefix --ignore=tests/,trainers clients interop test_notebooks.py test_benchmarks.py \
  test_mutants.py test_types.py test_report_browser.py)
OLD_WARNINGS = -W ignore::DeprecationWarning -W ignore::PendingDeprecationWarning -W ignore::FutureWarning

oldest: .oldest/.ready
	PYTHONPATH=. .oldest/bin/python -m pytest -q -m 'not slow and not interop and not pages' $(OLD_WARNINGS) $(ANALYSIS)

newest: .newest/.ready
	PYTHONPATH=. .newest/bin/python -m pytest -q -m 'not slow and not interop and not pages' $(ANALYSIS)

lint: .venv/.dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

# Against other packages, side by side; the peers get environments of their own below .bench/ at the first run.
# `python -m benchmarks.training`, `learning_rates`, `looks` and `quality` take longer and are run by themselves.
bench: .venv/.dev
	for subject in pareto_sets fits start_up torchrun evaluation scaling page; do \
	  .venv/bin/python -m benchmarks.$$subject || exit 1; done

# What a run survives: kills, full disks, damaged and lost files; minutes. The table goes to docs/reliability.md.
torture: .venv/.dev
	.venv/bin/python -m benchmarks.torture

# Do the tests notice planted faults? A sample in each numerical module; an hour on a calm machine.
mutants: .venv/.dev
	.venv/bin/python -m benchmarks.mutants

coverage: .venv/.dev
	.venv/bin/python -m benchmarks.coverage

# The acceptance table of verdicts: error rates, power, coverage, by simulation and on real SAEs where they are.
verdicts: .venv/.dev
	.venv/bin/python -m benchmarks.verdicts

# The numbers of docs/after_training.md and of the errors in docs/looking_inside.md; then the page's snippets as printed.
pages: .venv/.dev
	.venv/bin/python -m benchmarks.pages
	.venv/bin/python -m pytest -q -m pages tests/trainers/test_pages.py

# Every figure once, and docs/gallery.md; the run of `make demo` unless RUN names another one.
RUN ?= out/demo/run
gallery: .venv/.demo
	@test -f $(RUN)/metrics.parquet || $(MAKE) demo
	.venv/bin/python -m frontier.gallery --out out/gallery --docs docs --run $(RUN)

# The pages of docs/, the notebooks with their outputs, and the reference from the docstrings, in out/site.
docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict
	@echo "open out/site/index.html"

# The other tools' own clients, offline: runs logged and read back, stores, a hub on this machine.
clients: .clients/.ready
	PYTHONPATH=. .clients/bin/python -m pytest -q tests/clients tests/test_places.py tests/test_to_frame.py

# SAELens, dictionary_learning and SAEBench load what we export; `rm -r .interop` first for their newest versions.
interop: .venv/.dev .interop/sae-lens/.ready .interop/dictionary-learning/.ready .interop/sae-bench/.ready
	SAE_FRONTIER_INTEROP=benchmarks/results/interop.json .venv/bin/python -m pytest -q -m interop tests/interop
	@cat benchmarks/results/interop.json

clean:
	rm -rf .venv .oldest .newest .interop .clients out dist

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
	  "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + "; try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/.demo: pyproject.toml | .venv/bin/python
	$(PIP) --editable '.[train]'
	@touch $@

.venv/.dev: pyproject.toml | .venv/bin/python
	$(PIP) --editable '.[dev]'
	@touch $@ .venv/.demo

.venv/.docs: pyproject.toml | .venv/bin/python
	$(PIP) --editable '.[docs]'
	@touch $@

.oldest/.ready .newest/.ready: pyproject.toml tests/versions.py
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python tests/versions.py $(patsubst .%,%,$(@D)) > $(@D)/requirements.txt
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -r $(@D)/requirements.txt
	@touch $@

.clients/.ready: pyproject.toml
	$(PYTHON) -m venv .clients
	.clients/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,clients]'
	.clients/bin/python -m pip install --quiet --disable-pip-version-check --no-deps sae-bench  # for its schema
	@touch $@

# Of what sae-bench asks for, only what its core evaluation imports: the rest brings other evaluations.
.interop/sae-bench/.ready: | .venv/.dev
	.venv/bin/python -m venv $(@D)
	torch=$$(.venv/bin/python -c 'import torch; print("torch==" + torch.__version__.split("+")[0])') && \
	  $(@D)/bin/python -m pip install --quiet --disable-pip-version-check "$$torch" sae-lens 'datasets<4' tabulate
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps sae-bench
	@touch $@

# Each package alone, beside the torch of .venv; dictionary-learning brings a torchvision that transformers cannot import.
.interop/%/.ready: | .venv/.dev
	.venv/bin/python -m venv .interop/$*
	torch=$$(.venv/bin/python -c 'import torch; print("torch==" + torch.__version__.split("+")[0])') && \
	  .interop/$*/bin/python -m pip install --quiet --disable-pip-version-check "$$torch" $*
	.interop/$*/bin/python -m pip uninstall --quiet --yes torchvision
	@touch $@
