.PHONY: setup demo serve test check format protos clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROTO := $(shell find protos -name '*.proto')

protos:  ## regenerate the committed gRPC code
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out=protos --mypy_out=quiet:protos \
		--grpc_python_out=protos --mypy_grpc_out=quiet:protos $(PROTO)
	$(BIN)/python -m grpc_tools.protoc -I protos --include_imports \
		--descriptor_set_out=clients/python/cuelight/client/open_inference.binpb \
		protos/cuelight/inference/v2/open_inference.proto
