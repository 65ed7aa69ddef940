"""Our wire contract is the one tritonclient 2.73 was built with: every name, number, label, type, oneof and enum.

Both register the same full names, and protobuf allows that once per process: tritonclient's descriptors are read in a
process of their own.
"""

import base64
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from cuelight.inference.v2 import model_config_pb2, open_inference_pb2

_DUMP = """
import base64
from tritonclient.grpc import model_config_pb2, service_pb2
for module in (service_pb2, model_config_pb2):
    print(base64.b64encode(module.DESCRIPTOR.serialized_pb).decode())
"""
_TIMEOUT_S = 60

FILES = ("open_inference", "model_config")


@cache
def theirs() -> dict[str, FileDescriptorProto]:
    run = subprocess.run([sys.executable, "-c", _DUMP], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    files = [FileDescriptorProto.FromString(base64.b64decode(line)) for line in run.stdout.split()]
    return dict(zip(FILES, files, strict=True))


@cache
def ours() -> dict[str, FileDescriptorProto]:
    modules = (open_inference_pb2, model_config_pb2)
    files = [FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb) for module in modules]
    return dict(zip(FILES, files, strict=True))


def facts_of_file(file: FileDescriptorProto) -> Iterator[tuple[str, ...]]:
    yield ("package", file.package)
    yield ("syntax", file.syntax)
    for enum in file.enum_type:
        yield from facts_of_enum("", enum)
    for message in file.message_type:
        yield from facts_of_message("", message)
    for service in file.service:
        for method in service.method:
            streams = f"{method.client_streaming} {method.server_streaming}"
            yield ("rpc", f"{service.name}.{method.name}", method.input_type, method.output_type, streams)


def facts_of_message(scope: str, message: DescriptorProto) -> Iterator[tuple[str, ...]]:
    name = f"{scope}.{message.name}"
    yield ("message", name, "map entry" if message.options.map_entry else "")
    for field in message.field:
        yield (
            "field",
            f"{name}.{field.name}",
            str(field.number),
            FieldDescriptorProto.Label.Name(field.label),
            FieldDescriptorProto.Type.Name(field.type),
            field.type_name,
            message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else "",
            str(field.proto3_optional),
        )
    for enum in message.enum_type:
        yield from facts_of_enum(name, enum)
    for nested in message.nested_type:
        yield from facts_of_message(name, nested)


def facts_of_enum(scope: str, enum: EnumDescriptorProto) -> Iterator[tuple[str, ...]]:
    for value in enum.value:
        yield ("enum", f"{scope}.{enum.name}", value.name, str(value.number))


@pytest.mark.parametrize("file", FILES)
def test_our_descriptors_are_tritonclients(file: str) -> None:
    their_facts, our_facts = set(facts_of_file(theirs()[file])), set(facts_of_file(ours()[file]))

    assert len(their_facts) > 250
    assert our_facts - their_facts == set()
    assert their_facts - our_facts == set()
