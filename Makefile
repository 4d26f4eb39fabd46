# make demo         the whole way on a real model, with a short report
# make test         everything that this repository promises, as tests: all of what follows
# make check        format, lint, types
# make unit         tests without a server, a model to fetch, or a Smalltalk: under a minute
# make integration  tests of the server, of every architecture, of the default model, of pages
# make smalltalk    tests in real Smalltalk systems
# make gpu          the engine's tests on the accelerator that is there, without a network
# make fuzz         requests made at random from the API document, others in each run
# make docs         the documents as a site, in .build/site
# make regenerate   what is rendered, after a change of the API or of a template
#
# `make integration PYTEST="--architecture llama"` passes options on to pytest. All make .venv and
# install what they need. PYTHON names the interpreter, BACKEND MLX's backend (on Linux cuda13 where
# there is an NVIDIA GPU, else cpu; cuda12 for an older driver; none on macOS, where plain mlx
# serves). VENV_PYTHON names another Python, where the packages are installed already.

PYTHON ?= python3
BACKEND ?= $(if $(filter Linux,$(shell uname -s)),$(if $(shell command -v nvidia-smi),cuda13,cpu))
comma := ,
bin := .venv/bin
VENV_PYTHON ?= $(bin)/python
amber := systems/node_modules/.package-lock.json

.PHONY: demo docs test test-engine test-bridge test-squeak test-filed-in-squeak test-filed-in-others check unit integration smalltalk gpu fuzz regenerate clean

demo: .venv/demo $(amber)
	$(bin)/python examples/demo.py

test: check $(amber)
	$(MAKE) --no-print-directory --jobs=2 --keep-going --output-sync=line \
		test-engine test-filed-in-squeak test-filed-in-others test-bridge test-squeak

test-engine: .venv/test
	$(VENV_PYTHON) -m pytest tests/engine $(PYTEST)

test-bridge: .venv/test $(amber)
	$(VENV_PYTHON) -m pytest tests/bridge $(PYTEST)

test-squeak: .venv/test
	$(VENV_PYTHON) -m pytest tests/squeak $(PYTEST)

test-filed-in-squeak: .venv/test $(amber)
	$(VENV_PYTHON) -m pytest tests/smalltalk -k squeak $(PYTEST)

test-filed-in-others: .venv/test $(amber)
	$(VENV_PYTHON) -m pytest tests/smalltalk -k "not squeak" $(PYTEST)

check: .venv/test
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy

unit: .venv/test
	$(VENV_PYTHON) -m pytest tests/engine tests/bridge \
		-m "not (slow or server or smollm2 or image or browser)" $(PYTEST)

integration: .venv/test
	$(VENV_PYTHON) -m pytest -m "(slow or server or smollm2 or browser) and not image" $(PYTEST)

smalltalk: .venv/test $(amber)
	$(VENV_PYTHON) -m pytest -m image $(PYTEST)

gpu: $(if $(findstring $(bin),$(VENV_PYTHON)),.venv/test)
	$(VENV_PYTHON) -m pytest tests/engine -m "not (smollm2 or browser)" -rs $(PYTEST)

fuzz: .venv/test
	$(VENV_PYTHON) -m pytest tests/engine/server/test_contract.py --hypothesis-profile fuzz $(PYTEST)

docs: .venv/test
	$(bin)/mkdocs build

# After a change of the API or of a template: the document, the names of hook points, the examples,
# the schema of circuits, the Python client's types, the Smalltalk bindings.
regenerate: .venv/test
	$(bin)/neuroscope-bridge openapi
	$(bin)/neuroscope-bridge hook-points
	$(bin)/neuroscope-bridge examples
	$(bin)/neuroscope-bridge verify --schema > docs/circuit.schema.json
	$(bin)/datamodel-codegen
	$(bin)/neuroscope-bridge python-client
	$(bin)/ruff format --quiet bridge/api_client.py
	$(bin)/ruff check --quiet --fix bridge/api_client.py
	$(bin)/neuroscope-bridge generate

.venv/demo: pyproject.toml
	$(PYTHON) -m venv .venv
	$(bin)/pip install --quiet --editable '.[$(BACKEND)]'
	touch $@

.venv/test: pyproject.toml
	$(PYTHON) -m venv .venv
	$(bin)/pip install --quiet --editable '.[$(if $(BACKEND),$(BACKEND)$(comma))test]'
	touch $@

$(amber): systems/package.json systems/package-lock.json
	npm ci --prefix systems --no-fund --no-audit

clean:
	rm -rf .venv systems/node_modules
