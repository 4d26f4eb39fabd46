# make demo   the whole way on a real model, with a short report
# make test   everything that this repository promises, as tests
#
# Both make .venv and install what they need. PYTHON names the interpreter, BACKEND MLX's backend
# (cpu on Linux; cuda12 or cuda13 for an NVIDIA GPU; none on macOS, where plain mlx serves).

PYTHON ?= python3
BACKEND ?= $(if $(filter Linux,$(shell uname -s)),cpu)
comma := ,
bin := .venv/bin
amber := tests/smalltalk/node_modules/.package-lock.json

.PHONY: demo test lint regenerate clean

demo: .venv/demo $(amber)
	$(bin)/python examples/demo.py

test: lint $(amber)
	$(bin)/python -m pytest

lint: .venv/test
	$(bin)/ruff format --check .
	$(bin)/ruff check .

# After a change of the API: the document, the Python client's types, the Smalltalk bindings.
regenerate: .venv/test
	$(bin)/neuroscope-bridge openapi
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

$(amber): tests/smalltalk/package.json tests/smalltalk/package-lock.json
	npm ci --prefix tests/smalltalk --no-fund --no-audit

clean:
	rm -rf .venv tests/smalltalk/node_modules
