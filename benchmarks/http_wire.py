"""HTTP/1.1 calls over one connection, one at a time: what a caller sends and reads. Source: RFC 9112."""

from collections.abc import Sequence

__all__ = ["HttpWire", "post"]

_END_OF_HEAD = b"\r\n\r\n"


def post(path: str, body: bytes) -> bytes:
    """Return a request with a JSON body."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + _END_OF_HEAD + body


class HttpWire:
    """One connection. Take `outgoing` and send it after every call."""

    def __init__(self) -> None:
        self.outgoing: list[bytes] = []
        self._rest = b""

    def call(self, messages: Sequence[bytes]) -> int:
        """Send a request of `post`; return its number, always 0: the next one may come after its answer only."""
        self.outgoing.extend(messages)
        return 0

    def receive(self, data: bytes) -> list[tuple[int, bytes | None]]:
        """Return the call and its answer's body, once that is whole; None for a body whose status is not 200.

        Raises: ValueError when the answer's length is told in a way that is not known here.
        """
        self._rest += data
        head_end = self._rest.find(_END_OF_HEAD)
        if head_end < 0:
            return []
        status, *fields = self._rest[:head_end].lower().split(b"\r\n")
        lengths = [int(field[15:]) for field in fields if field.startswith(b"content-length:")]
        if not lengths:
            raise ValueError(f"expected an answer with a content-length, got {self._rest[:head_end]!r}")
        start = head_end + len(_END_OF_HEAD)
        if len(self._rest) < start + lengths[0]:
            return []
        body = self._rest[start : start + lengths[0]]
        self._rest = self._rest[start + lengths[0] :]
        return [(0, body if b" 200" in status else None)]
