"""What a call can fail with, one class for each thing a caller can do about it.

CuelightClientError
├── InvalidRequest       the request is wrong; sending it again cannot help
├── NotFound             no such model, version or region
├── NotActive            a sequence that was never started, ended or expired
├── Overloaded           the server is full; the client has already retried as the server asked
├── Unavailable          no server answers, or it is shutting down; try another one
├── DeadlineExceeded     the deadline passed first
├── Unsupported          this server or model does not offer it
├── NotAllowed           no valid credentials, or not for this
└── ServerError          a failure inside the server; its log has the details under `request_id`
"""

import re

import grpc

from cuelight.client.retries import code_of, details_of, trailing_value

__all__ = [
    "CuelightClientError",
    "DeadlineExceeded",
    "InvalidRequest",
    "NotActive",
    "NotAllowed",
    "NotFound",
    "Overloaded",
    "ServerError",
    "Unavailable",
    "Unsupported",
    "error_from",
    "error_of_status",
]

_REQUEST_ID_KEY = "x-request-id"
_NOT_CONNECTED = re.compile(r"failed to connect to all addresses; last error: \w+: (?:ipv[46]:)?(\S+): (.+)", re.DOTALL)


class CuelightClientError(Exception):
    """A failed call: the server's message, the gRPC code, and the request id to look for in the server's log."""

    def __init__(self, message: str, code: grpc.StatusCode | None = None, request_id: str | None = None) -> None:
        super().__init__(message if request_id is None else f"{message} (request id {request_id})")
        self.message = message
        self.code = code
        self.request_id = request_id


class InvalidRequest(CuelightClientError):
    """The request is wrong: a tensor's name, shape or datatype, an option, a value."""


class NotFound(CuelightClientError):
    """The model, version or region named does not exist on the server."""


class NotActive(CuelightClientError):
    """The sequence was never started, has ended or has expired."""


class Overloaded(CuelightClientError):
    """The server is full."""


class Unavailable(CuelightClientError):
    """No server answers, or it is shutting down, or the model is still loading."""


class DeadlineExceeded(CuelightClientError):
    """The deadline passed before the answer came."""


class Unsupported(CuelightClientError):
    """The server or the model does not offer what was asked for."""


class NotAllowed(CuelightClientError):
    """The credentials are missing, not valid, or not enough."""


class ServerError(CuelightClientError):
    """The server failed; that is not the caller's fault."""


_ERROR_OF_CODE: dict[grpc.StatusCode, type[CuelightClientError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.FAILED_PRECONDITION: NotActive,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
    grpc.StatusCode.UNAUTHENTICATED: NotAllowed,
    grpc.StatusCode.PERMISSION_DENIED: NotAllowed,
}


def error_of_status(name: str, details: str) -> CuelightClientError:
    """Return the typed error of a message that failed on a stream; `name` as in `grpc.StatusCode`, or unknown."""
    code = grpc.StatusCode.__members__.get(name)
    kind = _ERROR_OF_CODE.get(code, ServerError) if code is not None else InvalidRequest
    return kind(details, code)


def error_from(error: grpc.RpcError) -> CuelightClientError:
    """Return the typed error of a failed call."""
    code = code_of(error)
    details = details_of(error)
    request_id = trailing_value(error, _REQUEST_ID_KEY)
    kind = _ERROR_OF_CODE.get(code, ServerError) if code is not None else ServerError
    return kind(_in_short(details) if details else str(error), code, request_id)


def _in_short(details: str) -> str:
    """Return what a failure says; of grpcio's words for a server that is not there, which one, and why."""
    found = _NOT_CONNECTED.search(details)
    return f"no server answers at {found[1]}: {found[2]}" if found else details
