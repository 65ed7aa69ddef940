"""The health service: statuses now, changes as they happen."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2 as pb

from cuelight.server.errors import NotFound, ShuttingDown
from cuelight.server.rpc.changes import Changes
from cuelight.server.rpc.health import HealthServicer, health_service
from cuelight.server.rpc.methods import service_from_descriptor

SERVING = pb.HealthCheckResponse.SERVING
NOT_SERVING = pb.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN


class Context:
    attachment: object = None

    def metadata(self) -> tuple[()]:
        return ()

    def deadline(self) -> None:
        return None

    def peer(self) -> str:
        return "unix:"

    def set_trailing_metadata(self, metadata: object) -> None:
        pass


class Board:
    """Readiness by name, with the signal that goes with it."""

    def __init__(self, **ready: bool) -> None:
        self.ready = ready
        self.changes = Changes()
        self.health = HealthServicer(self.ready.get, self.changes)

    def set(self, name: str, ready: bool) -> None:
        self.ready[name] = ready
        self.changes.notify()

    def watch(self, name: str) -> AsyncIterator[pb.HealthCheckResponse]:
        return self.health.Watch(pb.HealthCheckRequest(service=name), Context())


@pytest.mark.parametrize(("ready", "status"), [(True, SERVING), (False, NOT_SERVING)])
def test_check_tells_what_is_ready(ready: bool, status: int) -> None:
    board = Board(photo=ready)

    response = asyncio.run(board.health.Check(pb.HealthCheckRequest(service="photo"), Context()))

    assert response.status == status


def test_check_of_an_unknown_name_is_not_found_and_names_it() -> None:
    with pytest.raises(NotFound, match='"speech"'):
        asyncio.run(Board(photo=True).health.Check(pb.HealthCheckRequest(service="speech"), Context()))


def test_watch_sends_the_status_now_and_each_change() -> None:
    async def scenario() -> list[int]:
        board = Board(photo=False)
        watch = board.watch("photo")
        seen = [(await anext(watch)).status]
        for ready in (True, False):
            board.set("photo", ready)
            seen.append((await anext(watch)).status)
        return seen

    assert asyncio.run(scenario()) == [NOT_SERVING, SERVING, NOT_SERVING]


def test_watch_of_an_unknown_name_waits_until_it_is_known() -> None:
    async def scenario() -> list[int]:
        board = Board()
        watch = board.watch("photo")
        seen = [(await anext(watch)).status]
        board.set("photo", True)
        return [*seen, (await anext(watch)).status]

    assert asyncio.run(scenario()) == [SERVICE_UNKNOWN, SERVING]


def test_a_change_elsewhere_sends_nothing() -> None:
    async def scenario() -> pb.HealthCheckResponse:
        board = Board(photo=True)
        watch = board.watch("photo")
        await anext(watch)
        answer = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        board.set("speech", True)
        await asyncio.sleep(0)
        board.set("photo", False)
        return await answer

    assert asyncio.run(scenario()).status == NOT_SERVING


def test_close_ends_every_watch() -> None:
    async def scenario() -> None:
        board = Board(photo=True)
        watch = board.watch("photo")
        await anext(watch)
        board.health.close()
        with pytest.raises(ShuttingDown):
            await anext(watch)

    asyncio.run(scenario())


def test_health_answers_while_the_server_drains() -> None:
    service = health_service(Board().health)

    assert service.name == "grpc.health.v1.Health"
    assert all(method.while_draining for method in service.methods)


def test_a_method_that_a_later_contract_adds_keeps_nobody_from_serving() -> None:
    """The Health service of grpcio-health-checking 1.85 has `List`, older ones do not."""
    file = descriptor_pb2.FileDescriptorProto(name="later.proto", package="later", syntax="proto3")
    file.message_type.add(name="Anything")
    later = file.service.add(name="Health")
    for name in ("Check", "List", "Watch"):
        later.method.add(name=name, input_type=".later.Anything", output_type=".later.Anything")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)

    service = service_from_descriptor(pool.FindServiceByName("later.Health"), Board().health, left_out=("List",))

    assert [method.name for method in service.methods] == ["Check", "Watch"]
    mounted = health_service(Board().health)
    assert {method.name for method in mounted.methods if method.while_draining} == {"Check", "Watch"}
    assert {method.name for method in mounted.methods} == {"Check", "Watch"}
