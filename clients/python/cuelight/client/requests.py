"""What a caller's own iterator raises while grpcio sends from it: grpcio tells of a failed call and not of that."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from typing import Any

__all__ = ["AsyncRequests", "Requests"]


class Requests:
    """The requests of one call, and the `error` that ended them, if any."""

    def __init__(self, requests: Iterable[Any]) -> None:
        self._requests = requests
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._requests
        except Exception as error:
            self.error = error
            raise


class AsyncRequests:
    """The same for asyncio."""

    def __init__(self, requests: AsyncIterator[Any]) -> None:
        self._requests = requests
        self.error: Exception | None = None

    async def __aiter__(self) -> AsyncGenerator[Any, None]:
        try:
            async for request in self._requests:
                yield request
        except Exception as error:
            self.error = error
            raise
