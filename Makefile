# make demo   the whole way on a real model, with a short report
# make test   everything that this repository promises, as tests
# make gpu    the engine's tests on the accelerator that is there, without network or default model
#
# All make .venv and install what they need. PYTHON names the interpreter, BACKEND MLX's backend
# (on Linux cuda13 where there is an NVIDIA GPU, else cpu; cuda12 for an older driver; none on
# macOS, where plain mlx serves).

PYTHON ?= python3
BACKEND ?= $(if $(filter Linux,$(shell uname -s)),$(if $(shell command -v nvidia-smi),cuda13,cpu))
comma := ,
bin := .venv/bin
amber := tests/smalltalk/node_modules/.package-lock.json

# PYTEST may name another Python's pytest, where the packages are installed already.
PYTEST ?= $(bin)/python -m pytest

.PHONY: demo test gpu lint regenerate clean

demo: .venv/demo $(amber)
	$(bin)/python examples/demo.py

test: lint $(amber)
	$(bin)/python -m pytest

gpu: $(if $(findstring $(bin),$(PYTEST)),.venv/test)
	$(PYTEST) tests/engine --without-default-model -rs

lint: .venv/test
	$(bin)/ruff format --check .
	$(bin)/ruff check .

# After a change of the API: the document, the Python client's types, the Smalltalk bindings.
regenerate: .venv/test
	$(bin)/neuroscope-bridge openapi
	$(bin)/datamodel-codegen
	$(bin)/neuroscope-bridge generate

.venv/demo: pyproject.toml
	$(PYTHON) -m venv .venv
	$(bin)/pip install --quiet --editable '.[$(BACKEND)]'
	touch $@

.venv/test: pyproject.toml
	$(PYTHON) -m venv .venv
	$(bin)/pip install --quiet --editable '.[$(if $(BACKEND),$(BACKEND)$(comma))test]'
	touch $@

$(amber): tests/smalltalk/package.json tests/smalltalk/package-lock.json
	npm ci --prefix tests/smalltalk --no-fund --no-audit

clean:
	rm -rf .venv tests/smalltalk/node_modules
