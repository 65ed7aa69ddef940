"""Reflection, asked by gRPC's own client over a real connection, v1alpha and v1."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2 as v1alpha
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from cuelight.inference.v2 import open_inference_pb2
from cuelight.server.rpc.changes import Changes
from cuelight.server.rpc.front_config import FrontConfig
from cuelight.server.rpc.grpcio_front import GrpcioFront
from cuelight.server.rpc.health import HealthServicer, health_service
from cuelight.server.rpc.ledger import CallLedger
from cuelight.server.rpc.methods import Service
from cuelight.server.rpc.reflection import reflection_services

NOT_FOUND = 5
INVALID_ARGUMENT = 3


@contextmanager
def in_thread(front: Callable[[], GrpcioFront]) -> Iterator[int]:
    """Run a front on a loop of its own while a blocking client asks it; yields its port."""
    started: Future[tuple[int, Callable[[], object]]] = Future()

    async def serve() -> None:
        leaving, loop = asyncio.Event(), asyncio.get_running_loop()
        serving = front()
        try:
            await serving.start()
        except Exception as error:
            started.set_exception(error)
            raise
        started.set_result((serving.port, lambda: loop.call_soon_threadsafe(leaving.set)))
        await leaving.wait()
        await serving.stop(0)

    with ThreadPoolExecutor(1) as executor:
        ended = executor.submit(asyncio.run, serve())
        port, leave = started.result()
        try:
            yield port
        finally:
            leave()
            ended.result()


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    def front() -> GrpcioFront:
        inference = Service("inference.GRPCInferenceService", ())
        health = health_service(HealthServicer(lambda name: True, Changes()))
        services = (inference, health, *reflection_services((inference, health)))
        return GrpcioFront(FrontConfig("127.0.0.1", 0, 1 << 20), services, CallLedger(10))

    with in_thread(front) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


@pytest.fixture
def database(channel: grpc.Channel) -> ProtoReflectionDescriptorDatabase:
    return ProtoReflectionDescriptorDatabase(channel)


def ask(channel: grpc.Channel, version: str, **query: Any) -> v1alpha.ServerReflectionResponse:
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=v1alpha.ServerReflectionRequest.SerializeToString,
        response_deserializer=v1alpha.ServerReflectionResponse.FromString,
    )
    (response,) = call(iter([v1alpha.ServerReflectionRequest(host="here", **query)]))
    return response


def test_every_service_is_listed(database: ProtoReflectionDescriptorDatabase) -> None:
    assert list(database.get_services()) == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    ]


def test_a_client_without_proto_files_learns_the_whole_service(database: ProtoReflectionDescriptorDatabase) -> None:
    pool = DescriptorPool(database)

    learned = pool.FindServiceByName("inference.GRPCInferenceService")

    ours = open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert [method.name for method in learned.methods] == [method.name for method in ours.methods]
    request = GetMessageClass(learned.methods_by_name["ModelInfer"].input_type)(model_name="photo")
    assert open_inference_pb2.ModelInferRequest.FromString(request.SerializeToString()).model_name == "photo"


def test_the_imports_of_a_file_come_with_it(channel: grpc.Channel) -> None:
    files = ask(channel, "v1", file_containing_symbol="inference.GRPCInferenceService").file_descriptor_response

    assert len(files.file_descriptor_proto) == 2
    assert files.file_descriptor_proto[0] == open_inference_pb2.DESCRIPTOR.serialized_pb


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_both_versions_answer_and_describe_themselves(channel: grpc.Channel, version: str) -> None:
    name = f"grpc.reflection.{version}.ServerReflection"

    response = ask(channel, version, file_containing_symbol=name)

    assert response.valid_host == "here"
    assert response.original_request.file_containing_symbol == name
    pool = DescriptorPool()
    pool.AddSerializedFile(response.file_descriptor_response.file_descriptor_proto[0])
    method = pool.FindServiceByName(name).methods_by_name["ServerReflectionInfo"]
    assert method.input_type.full_name == f"grpc.reflection.{version}.ServerReflectionRequest"


def test_a_file_is_found_by_its_name(channel: grpc.Channel) -> None:
    files = ask(channel, "v1", file_by_filename=health_pb2.DESCRIPTOR.name).file_descriptor_response

    assert list(files.file_descriptor_proto) == [health_pb2.DESCRIPTOR.serialized_pb]


@pytest.mark.parametrize(
    "query",
    [
        {"file_by_filename": "no/such.proto"},
        {"file_containing_symbol": "no.Such"},
        {"all_extension_numbers_of_type": "no.Such"},
        {"file_containing_extension": {"containing_type": "no.Such", "extension_number": 1}},
        {"file_containing_extension": {"containing_type": "inference.ModelInferRequest", "extension_number": 9}},
    ],
)
def test_what_is_not_known_is_not_found(channel: grpc.Channel, query: dict[str, Any]) -> None:
    assert ask(channel, "v1", **query).error_response.error_code == NOT_FOUND


def test_a_type_without_extensions_has_none(channel: grpc.Channel) -> None:
    numbers = ask(channel, "v1", all_extension_numbers_of_type="inference.ModelInferRequest")

    assert numbers.all_extension_numbers_response.base_type_name == "inference.ModelInferRequest"
    assert not numbers.all_extension_numbers_response.extension_number


def test_an_empty_question_is_an_invalid_argument(channel: grpc.Channel) -> None:
    assert ask(channel, "v1").error_response.error_code == INVALID_ARGUMENT
