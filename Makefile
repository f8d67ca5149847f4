PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := build/peers
INSTALLED := $(VENV)/.installed

# waiting threads soon sleep: other work may need the cores
export GOMP_SPINCOUNT ?= 3000
# as msdkit itself sets it: huge pages for large tensors
export THP_MEM_ALLOC_ENABLE ?= 1

.PHONY: demo test check campaign peers bench bench-gpu docs linkcheck

$(INSTALLED): setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --quiet torch torchvision
	$(BIN)/pip install --disable-pip-version-check --quiet -e '.[dev,demo]'
	touch $@

demo: $(INSTALLED)  ## teach, distil four ways and compare, on real data; at most 12 minutes on 2 cores
	$(BIN)/python projects/demo/run.py

test: $(INSTALLED)  ## all tests
	$(BIN)/pytest -n auto --dist loadfile

check: $(INSTALLED)  ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

campaign: $(INSTALLED)  ## kills, full disks, damage, odd input, two at once: what survives; 14 minutes on 2 cores
	$(BIN)/python tools/campaign.py --page docs/reliability.md

peers: $(INSTALLED)  ## what others compute of the same, into docs/peers.md; a minute on 2 cores
	@for peer in $$(grep -v '^#' tests/peers/requirements.txt); do \
		test -e $(PEERS)/$$peer || { $(BIN)/python -m pip install --disable-pip-version-check \
			--quiet --no-deps --upgrade --target $(PEERS) $$peer && touch $(PEERS)/$$peer; } \
			|| echo "$$peer cannot be installed here: what it compares is skipped"; \
	done
	PYTHONPATH=$(PEERS) $(BIN)/pytest -n0 tests/peers --page docs/peers.md

bench: $(INSTALLED)  ## speed, as ratios within one run, into docs/results; 9 minutes on 2 cores
	$(BIN)/python benchmarks/run.py

bench-gpu: $(INSTALLED)  ## the same on a GPU, in bf16; says so where there is none
	$(BIN)/python benchmarks/run.py --gpu

docs: $(INSTALLED)  ## the pages that are committed, then the site, in build/docs/html; a warning is an error
	$(BIN)/python tools/make_docs.py
	$(BIN)/sphinx-build --fail-on-warning --keep-going --fresh-env --quiet docs build/docs/html

linkcheck: $(INSTALLED)  ## links to other sites: needs the network, so CI does not run it
	$(BIN)/sphinx-build --builder linkcheck --quiet docs build/docs/linkcheck
