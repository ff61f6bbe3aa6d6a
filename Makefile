# Every command of the project. `make` creates .venv by itself; nothing else is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# A notebook's numbers come from one thread a run, so that they are the same on every machine.
NB_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONHASHSEED=0 TQDM_DISABLE=1

.PHONY: help book test notebooks replicate stress record serve lab bench retarget pdf epub clean

help:
	@echo "make book        build the book and print where to open it"
	@echo "make test        run every test and compare every notebook with its stored outputs"
	@echo "make notebooks   re-run every notebook and store its outputs  [NB=path]"
	@echo "make replicate   re-run every claim with other seeds         SEED=1 [SEEDS=5] [STUDY=name] [NB=path]"
	@echo "make stress      re-run every claim with longer training      BUDGET=2 [SEEDS=5] [STUDY=name] [NB=path]"
	@echo "make record      measure recorded studies, where they stopped   [STUDY=name]"
	@echo "make pdf         print the whole book into one PDF; needs Chromium or Chrome"
	@echo "make epub        bind the whole book for a reader of e-books"
	@echo "make serve       read the book on localhost"
	@echo "make lab         edit the notebooks in JupyterLab"
	@echo "make bench       measure the speed of the training loop"
	@echo "make retarget    put your repository into links and badges    REPO=owner/name"

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "Python 3.10 or newer is needed: make PYTHON=python3.12 " + "...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

book: $(READY)
	$(BIN)/python -m book.build

test: $(READY)
	$(NB_ENV) $(BIN)/python -m pytest -n auto --nbval --alone --nbval-cell-timeout=600 chapters tests

notebooks: $(READY)
	$(NB_ENV) $(BIN)/python -m book.notebooks run $(NB)

# SEEDS=5 measures each claim with at most five seeds, for a quicker look.
# STUDY=a,b measures these recorded studies again, however long, instead of the short ones.
MOST = $(if $(SEEDS),--seeds $(SEEDS)) $(if $(STUDY),--study $(STUDY))
replicate: $(READY)
	$(NB_ENV) $(BIN)/python -m book.notebooks replicate --seed $(or $(SEED),1) $(MOST) $(NB)

stress: $(READY)
	$(NB_ENV) $(BIN)/python -m book.notebooks stress --budget $(or $(BUDGET),2) $(MOST) $(NB)

# Hours on a CPU, minutes on a GPU; killed, it goes on where it was. `book.record --list` names them.
record: $(READY)
	$(NB_ENV) $(BIN)/python -m book.record --study "$(STUDY)"

pdf: book
	$(BIN)/python -m book.pdf

epub: book
	$(BIN)/python -m book.epub

serve: book
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/html 8000

lab: $(READY)
	$(BIN)/jupyter lab chapters

bench: $(READY)
	$(BIN)/python -m tests.bench

retarget: $(READY)
	$(BIN)/python -m book.retarget $(REPO)

clean:
	rm -rf _build build dist *.egg-info
