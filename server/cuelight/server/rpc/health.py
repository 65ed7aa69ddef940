"""The health service, `grpc.health.v1.Health`: what load balancers and kubelets ask.

The empty service name and the names of the mounted services stand for the whole server, any other name for a part of
it that the server knows (a model). Watch streams each change when it happens; no one polls.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

import asyncio
from collections.abc import AsyncGenerator, Callable

from grpc_health.v1 import health_pb2 as pb

from cuelight.server.errors import NotFound, ShuttingDown
from cuelight.server.rpc.changes import Changes
from cuelight.server.rpc.context import RpcContext
from cuelight.server.rpc.methods import Service, service_from_descriptor

__all__ = ["HealthServicer", "health_service"]

_HEARD_S = 0.25
"""Between the last status and the end: gRPC's clients drop a message that an error overtakes."""
_SERVING = pb.HealthCheckResponse.SERVING
_NOT_SERVING = pb.HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN


class HealthServicer:
    """Answers from `is_ready`: True, False, or None for a name the server does not know.

    `changes` is notified whenever an answer of `is_ready` may have changed.
    """

    def __init__(self, is_ready: Callable[[str], bool | None], changes: Changes) -> None:
        self._is_ready = is_ready
        self._changes = changes
        self._closed = False

    async def Check(self, request: pb.HealthCheckRequest, context: RpcContext) -> pb.HealthCheckResponse:
        """Return the status now. Raises: NotFound for an unknown name."""
        status = self._status(request.service)
        if status == _SERVICE_UNKNOWN:
            raise NotFound(f'health: no service or model "{request.service}" here')
        return pb.HealthCheckResponse(status=status)

    async def Watch(
        self, request: pb.HealthCheckRequest, context: RpcContext
    ) -> AsyncGenerator[pb.HealthCheckResponse, None]:
        """Yield the status now and at every change, until the caller leaves. Raises: ShuttingDown at the end."""
        sent = None
        while True:
            changed = self._changes.next()
            status = self._status(request.service)
            if status != sent:
                yield pb.HealthCheckResponse(status=status)
                sent = status
            if self._closed:
                await asyncio.sleep(_HEARD_S)
                raise ShuttingDown("the server has shut down")
            await changed.wait()

    def close(self) -> None:
        """End every Watch: the server is about to leave."""
        self._closed = True
        self._changes.notify()

    def _status(self, service: str) -> "pb.HealthCheckResponse.ServingStatus":
        ready = self._is_ready(service)
        if ready is None:
            return _SERVICE_UNKNOWN
        return _SERVING if ready else _NOT_SERVING


def health_service(servicer: HealthServicer) -> Service:
    """Return the method table; health answers while the server drains.

    `List` came into the contract between grpcio-health-checking 1.81.1 and 1.85.1, and is UNIMPLEMENTED here.
    """
    return service_from_descriptor(
        pb.DESCRIPTOR.services_by_name["Health"], servicer, while_draining=("Check", "Watch"), left_out=("List",)
    )
