# Everything runs in .venv; `make install` sets it up, the others call it.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install demo serve test test-browser test-cluster test-clients
install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: install
	$(BIN)/i2v demo

serve: install
	@exec $(BIN)/i2v serve

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile tests/unit tests/test_architecture.py tests/test_docs.py
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'integration or conformance or stores' \
		tests/integration/test_crashes.py tests/integration/test_main_job.py tests/integration/test_preemption.py \
		tests/browser tests/clients tests/stores
	$(BIN)/python -m pytest tests/gpu

# All of the page, driven in Debian's Chromium; screenshots to look at are left in build/screenshots.
test-browser: install
	$(BIN)/python -m pytest tests/browser

# Three Ray nodes, PostgreSQL and an S3 server, one node killed; pools that sleep, pools of emulated cards, two cards on one job.
test-cluster: install
	$(BIN)/python -m pytest tests/integration/test_nodes.py tests/integration/test_sleeping_pools.py \
		tests/integration/test_emulated_pools.py tests/integration/test_two_cards.py

# Clients that others wrote, in more versions, Schemathesis, and every example of the documentation; what they need is
# installed into .cache/clients.
test-clients: install
	$(BIN)/python -m pytest tests/clients
