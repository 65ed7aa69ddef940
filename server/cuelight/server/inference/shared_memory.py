"""Regions of POSIX shared memory that callers on this machine registered: tensors without a copy through a socket.

Bytes are read and written through the file descriptor and not through a mapping: a caller that shrinks its memory
object while the server uses it then gets an error, where a mapping would end the whole server by SIGBUS.

Source: Triton's shared memory extension; shm_overview(7).
"""

import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from cuelight.server.errors import InvalidRequest, NotFound, Overloaded, Unsupported

__all__ = ["SharedMemoryRegion", "SharedMemoryRegions"]

_OBJECTS = Path("/dev/shm")
"""Where Linux shows the objects of shm_open(3) as files."""
_MAX_REGIONS = 1024
"""Each holds a file descriptor."""


@dataclass(frozen=True, slots=True)
class SharedMemoryRegion:
    """`byte_size` bytes from byte `offset` on of the shared memory object `key`, known to callers as `name`."""

    name: str
    key: str
    offset: int
    byte_size: int
    descriptor: int


class SharedMemoryRegions:
    """Owns the registered regions and their descriptors. Lives on the event loop."""

    def __init__(self) -> None:
        self._regions: dict[str, SharedMemoryRegion] = {}

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Open the object `key` and remember the region under `name`.

        Raises: InvalidRequest when the name is taken, the object does not exist or is smaller; Overloaded beyond 1024
        regions; Unsupported where shared memory objects are not files.
        """
        if not sys.platform.startswith("linux"):
            raise Unsupported("system shared memory is offered on Linux only")
        if not name:
            raise InvalidRequest("shared memory: a region needs a name")
        if name in self._regions:
            raise InvalidRequest(f'shared memory region "{name}": registered already; unregister it first')
        if len(self._regions) >= _MAX_REGIONS:
            raise Overloaded(f"shared memory: {_MAX_REGIONS} regions are registered, no more are taken")
        if not byte_size:
            raise InvalidRequest(f'shared memory region "{name}": byte_size: got 0, expected 1 or more')
        descriptor = _open(name, key)
        size = os.fstat(descriptor).st_size
        if offset + byte_size > size:
            os.close(descriptor)
            raise InvalidRequest(
                f'shared memory region "{name}": bytes {offset} to {offset + byte_size} asked for, '
                f'but the object "{key}" has {size} bytes'
            )
        self._regions[name] = SharedMemoryRegion(name, key, offset, byte_size, descriptor)

    def unregister(self, name: str = "") -> None:
        """Forget a region, or all of them where `name` is empty. An unknown name is no error, as in Triton."""
        for known in [name] if name else list(self._regions):
            if (region := self._regions.pop(known, None)) is not None:
                os.close(region.descriptor)

    def status(self, name: str = "") -> list[SharedMemoryRegion]:
        """Return the region of that name, or all. Raises: NotFound for an unknown name."""
        return [self._region(name)] if name else list(self._regions.values())

    def read(self, name: str, offset: int, byte_size: int) -> memoryview:
        """Return a copy of `byte_size` bytes from byte `offset` of the region on.

        Raises: NotFound for an unknown region; InvalidRequest when the bytes lie outside it, or are gone.
        """
        region = self._within(name, offset, byte_size)
        data = os.pread(region.descriptor, byte_size, region.offset + offset)
        if len(data) != byte_size:
            raise InvalidRequest(f'shared memory region "{name}": object "{region.key}" has shrunk since registration')
        return memoryview(data)

    def write(self, name: str, offset: int, data: bytes | memoryview) -> None:
        """Write the bytes from byte `offset` of the region on.

        Raises: NotFound for an unknown region; InvalidRequest when they do not fit into it.
        """
        region = self._within(name, offset, len(data))
        os.pwrite(region.descriptor, data, region.offset + offset)

    def _within(self, name: str, offset: int, byte_size: int) -> SharedMemoryRegion:
        region = self._region(name)
        if offset < 0 or byte_size < 0 or offset + byte_size > region.byte_size:
            raise InvalidRequest(
                f'shared memory region "{name}": bytes {offset} to {offset + byte_size} asked for, '
                f"it has {region.byte_size} bytes"
            )
        return region

    def _region(self, name: str) -> SharedMemoryRegion:
        region = self._regions.get(name)
        if region is None:
            raise NotFound(f'shared memory region "{name}": not registered')
        return region


def _open(name: str, key: str) -> int:
    """Open a shared memory object by its key: a name with at most one slash, in front."""
    filename = key.removeprefix("/")
    if not filename or filename in (".", "..") or "/" in filename or "\0" in filename:
        raise InvalidRequest(f'shared memory region "{name}": key "{key}": expected the name of an object, "/NAME"')
    try:
        descriptor = os.open(_OBJECTS / filename, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise InvalidRequest(f'shared memory region "{name}": key "{key}": {error.strerror}') from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InvalidRequest(f'shared memory region "{name}": key "{key}": no shared memory object')
    return descriptor
