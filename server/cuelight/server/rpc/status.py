"""The one table from errors to gRPC statuses, and the rule for what a caller is told.

Codes are plain integers with the numbers of the gRPC specification, so that neither the table nor the envoy front
needs grpcio.

Source: https://grpc.github.io/grpc/core/md_doc_statuscodes.html
"""

import asyncio
import math
from dataclasses import dataclass
from enum import IntEnum

from cuelight.server import errors
from cuelight.server.rpc.context import Metadata
from cuelight.server.rpc.cut_text import cut_middle

__all__ = ["INTERNAL_MESSAGE", "MAX_MESSAGE_BYTES", "STATUS_OF_ERROR", "Status", "StatusCode", "status_of"]


class StatusCode(IntEnum):
    """The gRPC status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


STATUS_OF_ERROR: dict[type[errors.CuelightError], StatusCode] = {
    errors.InvalidRequest: StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: StatusCode.UNAUTHENTICATED,
    errors.Forbidden: StatusCode.PERMISSION_DENIED,
    errors.NotFound: StatusCode.NOT_FOUND,
    errors.ModelNotFound: StatusCode.NOT_FOUND,
    errors.UserNotFound: StatusCode.NOT_FOUND,
    errors.ItemNotFound: StatusCode.NOT_FOUND,
    errors.ModelLoadFailed: StatusCode.FAILED_PRECONDITION,
    errors.SequenceNotActive: StatusCode.FAILED_PRECONDITION,
    errors.Overloaded: StatusCode.RESOURCE_EXHAUSTED,
    errors.MessageTooLarge: StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: StatusCode.UNAVAILABLE,
    errors.DataFolderLost: StatusCode.UNAVAILABLE,
    errors.ModelNotReady: StatusCode.UNAVAILABLE,
    errors.ShuttingDown: StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
    errors.Unsupported: StatusCode.UNIMPLEMENTED,
    errors.InferenceFailed: StatusCode.INTERNAL,
}

MAX_MESSAGE_BYTES = 2000
"""Of a status, in UTF-8. It travels percent-encoded, three bytes for one at worst, among metadata that clients of gRPC
take 8 KiB of by default: beyond that they fail calls on their own. Source: gRPC core, GRPC_ARG_MAX_METADATA_SIZE."""

INTERNAL_MESSAGE = "internal error; the server's log has the details under this request id"


@dataclass(frozen=True, slots=True)
class Status:
    """What a call ends with: code, message and trailing metadata."""

    code: StatusCode
    message: str
    trailing_metadata: Metadata = ()
    unexpected: bool = False


def status_of(error: BaseException) -> Status:
    """Return the status that `error` ends a call with.

    An error outside the table is unexpected: the caller sees a fixed text, and the front logs the traceback. A message
    that is too long, such as one that quotes what the caller sent, loses its middle.
    """
    if isinstance(error, errors.CuelightError):
        message = cut_middle(error.message, MAX_MESSAGE_BYTES)
        return Status(STATUS_OF_ERROR[type(error)], message, _retry_pushback(error))
    if isinstance(error, asyncio.CancelledError):
        return Status(StatusCode.CANCELLED, "the call was cancelled")
    return Status(StatusCode.INTERNAL, INTERNAL_MESSAGE, unexpected=True)


def _retry_pushback(error: errors.CuelightError) -> Metadata:
    """Return the retry hint as gRPC clients understand it. Source: gRFC A6, "Pushback"."""
    if isinstance(error, errors.Overloaded) and error.retry_after_s is not None:
        return (("grpc-retry-pushback-ms", str(math.ceil(error.retry_after_s * 1000))),)
    return ()
