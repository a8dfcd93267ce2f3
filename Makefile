# Everything one does with the course. `make` alone lists it.

PYTHON ?= python3
BIN := .venv/bin
COLAB := .venv-colab/bin
.PHONY: help run lab test build bench reproduce evidence handout solutions site grade \
	messages colab badges audit clean

help: ## print this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

run: .venv/run.stamp ## execute every lesson into build/run/ (RUN="01_naive_training -p steps 2000")
	$(BIN)/python notebooks/run.py $(RUN)

lab: .venv/run.stamp ## open the lessons in JupyterLab
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks

test: .venv/dev.stamp ## check the style, run the tests, compare every notebook with its outputs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest -n 2 --dist loadgroup tests
	$(BIN)/pytest -n 2 --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout=300 notebooks

build: .venv/dev.stamp ## make the notebooks from notebooks/src (LESSONS=01_naive_training)
	$(BIN)/python notebooks/build.py $(LESSONS)

bench: .venv/dev.stamp ## measure the speed, as ratios to the lecture's loop
	$(BIN)/python tests/benchmarks/bench.py

reproduce: .venv/dev.stamp ## print the lecture's numbers beside ours (STEPS=200000)
	$(BIN)/python tests/reproduce.py $(if $(STEPS),--steps $(STEPS))

evidence: .venv/dev.stamp ## rerun the studies that lessons quote (STUDY=name)
	$(BIN)/python data/build_evidence.py $(STUDY)

handout: ## pack the lessons for a class into build/unit-gaussian-handout.zip
	$(PYTHON) notebooks/handout.py

solutions: ## pack the solved lessons into build/unit-gaussian-solutions.zip
	$(PYTHON) notebooks/handout.py --solutions

site: .venv/dev.stamp ## render the lessons as web pages into build/site/
	$(BIN)/python -m notebooks.publish

grade: .venv/run.stamp ## grade DIR/<student>/<NN_topic>.ipynb into DIR/grades.csv (DIR=submissions)
	$(BIN)/python notebooks/grade.py $(or $(DIR),$(error say where: make grade DIR=submissions))

messages: .venv/dev.stamp ## collect what the checks say to every wrong answer in build/messages.md
	$(BIN)/python tests/exercises/page.py

# The variable is what a kernel of that age asks for, in a note about its debugger.
colab: export PYDEVD_DISABLE_FILE_VALIDATION := 1
colab: .venv-colab/colab.stamp ## run the lessons and the panels' tests on the versions that Colab ships
	$(COLAB)/python notebooks/run.py --out build/colab
	$(COLAB)/pytest -n 2 tests/test_widgets.py tests/test_live_view.py tests/test_plotting.py
	$(COLAB)/pytest -n 2 --dist loadfile --nbval --nbval-current-env --nbval-cell-timeout=300 notebooks

badges: .venv/dev.stamp ## point badges and set-up cells at a repository on GitHub (REPO=owner/name)
	$(BIN)/python -m notebooks.badges $(if $(REPO),"$(REPO)")

# Advisories are known for the builds on PyPI alone; what cannot be looked up is an error.
audit: .venv/dev.stamp ## look for known vulnerabilities in the pinned packages and what they need
	PIP_EXTRA_INDEX_URL= $(BIN)/pip-audit --strict --requirement requirements-dev.txt

clean: ## remove all that was made here, the environments too
	rm -rf .venv .venv-colab build .pytest_cache .ruff_cache .hypothesis

# The stamp comes last: an interrupted set-up is taken up again, a changed requirements file
# renews it. JupyterLab's settings have it save a panel's last state with the notebook.
.venv/run.stamp: requirements.txt notebooks/overrides.json
.venv-colab/colab.stamp: tests/colab.txt
.venv/run.stamp .venv-colab/colab.stamp:
	@$(PYTHON) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "The course needs Python 3.11 or newer with its venv module (Debian: python3-venv);" \
		"choose one with make PYTHON=/path/to/python3." >&2; exit 1; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --requirement $<
	mkdir -p $(@D)/share/jupyter/lab/settings
	cp notebooks/overrides.json $(@D)/share/jupyter/lab/settings
	touch $@

.venv/dev.stamp: requirements-dev.txt .venv/run.stamp
	$(BIN)/python -m pip install --requirement requirements-dev.txt
	touch $@
