"""Every error a caller can meet, without a word about any transport.

    CuelightError
    ├── InvalidRequest            the request itself is wrong; sending it again cannot help
    ├── Unauthenticated           no valid token came
    ├── Forbidden                 the token does not cover what was asked for
    ├── NotFound                  the thing named is not here
    │   ├── ModelNotFound
    │   ├── UserNotFound
    │   └── ItemNotFound
    ├── ModelLoadFailed           a model could not be loaded or proven; what served before serves on
    ├── SequenceNotActive         a step of a sequence that never started, ended or expired
    ├── Overloaded                a queue, table or limit is full; retry with backoff
    ├── MessageTooLarge           a message beyond the size limit, either way
    ├── Unavailable               not now; soon, or on another server
    │   ├── DataFolderLost
    │   ├── ModelNotReady
    │   └── ShuttingDown
    ├── DeadlineExceeded          the caller's own deadline passed before the work was done
    ├── Unsupported               a valid option that this model or build does not offer
    └── InferenceFailed           our fault; details go to the log, never to the caller

`cuelight.server.rpc.status` maps each class to a gRPC status. `ConfigError` stands apart: it is raised at startup only
and ends the process with exit code 2.
"""

__all__ = [
    "ConfigError",
    "CuelightError",
    "DataFolderLost",
    "DeadlineExceeded",
    "Forbidden",
    "InferenceFailed",
    "InvalidRequest",
    "ItemNotFound",
    "MessageTooLarge",
    "ModelLoadFailed",
    "ModelNotFound",
    "ModelNotReady",
    "NotFound",
    "Overloaded",
    "SequenceNotActive",
    "ShuttingDown",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "UserNotFound",
]


class CuelightError(Exception):
    """An error the caller may see: its message names the offender, what was expected and what came."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequest(CuelightError):
    """The request is malformed: wrong tensor name, shape, datatype, byte count or parameter."""


class Unauthenticated(CuelightError):
    """No valid credentials came with the call."""


class Forbidden(CuelightError):
    """The credentials do not allow what was asked for."""


class NotFound(CuelightError):
    """The thing named does not exist here."""


class ModelNotFound(NotFound):
    """No model, or no version of it, of that name is in the repository."""


class UserNotFound(NotFound):
    """Nothing is stored of a user of that id."""


class ItemNotFound(NotFound):
    """No item of that id is in the catalogue."""


class ModelLoadFailed(CuelightError):
    """A load that was asked for failed: the message says why. What served before serves on."""


class SequenceNotActive(CuelightError):
    """The sequence was never started, has ended or has expired; start it over."""


class Overloaded(CuelightError):
    """A bounded resource is full; `retry_after_s` (seconds) travels to the caller as a retry hint."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class MessageTooLarge(CuelightError):
    """A message is larger than the limit; `direction` is `received` or `sent`."""

    def __init__(self, direction: str, size_bytes: int, limit_bytes: int, at_least: bool = False) -> None:
        size = f"at least {size_bytes}" if at_least else f"{size_bytes}"
        super().__init__(f"{direction} message of {size} bytes, the limit is {limit_bytes} bytes")


class Unavailable(CuelightError):
    """Not now: retry soon, or elsewhere."""


class DataFolderLost(Unavailable):
    """Somebody deleted or replaced files of the data folder that the server writes to; it stops."""


class ModelNotReady(Unavailable):
    """The model is known but not loaded, or its load failed."""


class ShuttingDown(Unavailable):
    """The server drains and takes no new work."""


class DeadlineExceeded(CuelightError):
    """The deadline passed before the work was done."""


class Unsupported(CuelightError):
    """A valid option that this model or this build does not offer."""


class InferenceFailed(CuelightError):
    """The model failed to run; the cause is in the log under the request id."""


class ConfigError(Exception):
    """The configuration is unusable; raised at startup, ends the process with exit code 2."""
