.DEFAULT_GOAL := help
.PHONY: help demo serve test check format protos bench clean setup

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTO = $(shell find protos -name '*.proto')
REPOSITORY := models

help:  ## say what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1|/' | column -t -s '|'

demo: setup  ## export the trained models, serve them, call them with a photo, a recording, music and texts; recommend films
	$(BIN)/cuelight export all --if-missing --repository $(REPOSITORY)
	$(BIN)/python clients/python/examples/demo.py --model-repository $(REPOSITORY)

serve: setup  ## export the models where they are missing and serve them until Ctrl-C
	$(BIN)/cuelight export all --if-missing --repository $(REPOSITORY)
	$(BIN)/cuelight serve --model-repository $(REPOSITORY)

test: setup  ## run every test, on both fronts
	$(BIN)/python -m pytest

check: setup  ## lint, types, generated code, layout rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layout.py
	$(MAKE) --no-print-directory protos
	git diff --exit-code -- '*_pb2*' '*.binpb'

format: setup  ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

protos: setup  ## regenerate the committed gRPC code
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I protos --python_out=protos --mypy_out=quiet:protos \
		--grpc_python_out=protos --mypy_grpc_out=quiet:protos $(PROTO)
	$(BIN)/python -m grpc_tools.protoc -I protos --include_imports \
		--descriptor_set_out=clients/python/cuelight/client/open_inference.binpb \
		protos/cuelight/inference/v2/open_inference.proto

PEERS_PYTHON := $(BIN)/python

bench: setup  ## measure against a bare grpcio echo, the bare model, sherpa-onnx's server, pgvector and Chroma
	$(BIN)/python benchmarks/serving.py
	$(BIN)/python benchmarks/sequences.py
	$(BIN)/python benchmarks/speech.py
	$(BIN)/python benchmarks/recommender.py --peers-python $(PEERS_PYTHON)

setup: $(VENV)/.installed

# torch is asked for by its version first: an open range would take the newest build with gigabytes of CUDA.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Cuelight needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install torch==2.13.0
	$(BIN)/python -m pip install --editable '.[server,recommender,exporters,vision,cli,dev]'
	touch $@

clean:  ## remove the environment, the exported models and everything cached
	rm -rf $(VENV) .cache $(REPOSITORY) samples build dist .mypy_cache .ruff_cache .pytest_cache
