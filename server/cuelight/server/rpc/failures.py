"""How a failed call is reported: to the caller as a status, to the operator as a log line, joined by a request id."""

import logging
import secrets
from contextlib import suppress

from cuelight.server.errors import InvalidRequest
from cuelight.server.rpc.context import RpcContext
from cuelight.server.rpc.status import Status, status_of

__all__ = ["REQUEST_ID_KEY", "failed_call", "request_id_of"]

REQUEST_ID_KEY = "x-request-id"

_log = logging.getLogger("cuelight.rpc")


def request_id_of(context: RpcContext) -> str:
    """Return the request id the caller sent as `x-request-id`, or a new one of 16 hex digits."""
    with suppress(InvalidRequest):  # broken metadata may be the very failure that is reported
        for key, value in context.metadata():
            if key == REQUEST_ID_KEY and isinstance(value, str) and value:
                return value[:128]
    return secrets.token_hex(8)


def failed_call(path: str, context: RpcContext, error: BaseException) -> Status:
    """Log the failure of a call and return the status to send, with the request id among its trailing metadata.

    Unexpected errors are logged with their traceback; what the caller itself got wrong is logged at level INFO.
    """
    status = status_of(error)
    request_id = request_id_of(context)
    fields = {"request_id": request_id, "method": path, "code": status.code.name, "peer": context.peer()}
    if status.unexpected:
        _log.error("call failed unexpectedly", exc_info=error, extra=fields)
    else:
        _log.info("call failed: %s", status.message, extra=fields)
    trailing = (*status.trailing_metadata, (REQUEST_ID_KEY, request_id))
    return Status(status.code, status.message, trailing, status.unexpected)
