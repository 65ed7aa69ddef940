"""Regions of shared memory that callers registered."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cuelight.server.errors import InvalidRequest, NotFound
from cuelight.server.inference.shared_memory import SharedMemoryRegions

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="shared memory objects are files on Linux")

SIZE = 64


@pytest.fixture
def shared() -> Iterator[Path]:
    """Yield a shared memory object of 64 bytes, 0 to 63."""
    path = Path("/dev/shm") / f"cuelight-test-{os.getpid()}"
    path.write_bytes(bytes(range(SIZE)))
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def regions(shared: Path) -> Iterator[SharedMemoryRegions]:
    """Yield the regions with `r` registered: bytes 16 to 48 of the object."""
    regions = SharedMemoryRegions()
    regions.register("r", f"/{shared.name}", 16, 32)
    yield regions
    regions.unregister()


def test_what_is_read_and_written_are_the_callers_bytes(regions: SharedMemoryRegions, shared: Path) -> None:
    assert bytes(regions.read("r", 4, 8)) == bytes(range(20, 28))

    regions.write("r", 30, b"\xff\xfe")

    content = shared.read_bytes()
    assert content[46:48] == b"\xff\xfe"
    assert (content[:46], content[48:]) == (bytes(range(46)), bytes(range(48, SIZE)))
    assert bytes(regions.read("r", 0, 32)) == content[16:48]


def test_a_region_outlives_its_name_in_the_file_system(regions: SharedMemoryRegions, shared: Path) -> None:
    shared.unlink()

    assert bytes(regions.read("r", 0, 1)) == b"\x10"


@pytest.mark.parametrize(("offset", "byte_size"), [(0, 33), (32, 1), (-1, 1), (0, -1), (2**62, 2**62)])
def test_bytes_outside_the_region_are_refused(regions: SharedMemoryRegions, offset: int, byte_size: int) -> None:
    with pytest.raises(InvalidRequest, match=r'shared memory region "r": bytes .* asked for, it has 32 bytes'):
        regions.read("r", offset, byte_size)


def test_bytes_that_do_not_fit_are_refused_and_not_written(regions: SharedMemoryRegions, shared: Path) -> None:
    with pytest.raises(InvalidRequest, match='"r": bytes 31 to 33 asked for'):
        regions.write("r", 31, b"\xff\xff")

    assert shared.read_bytes() == bytes(range(SIZE))


def test_an_object_that_shrank_is_an_error_and_no_crash(regions: SharedMemoryRegions, shared: Path) -> None:
    os.truncate(shared, 20)

    with pytest.raises(InvalidRequest, match="has shrunk"):
        regions.read("r", 0, 32)


@pytest.mark.parametrize(
    ("name", "key", "offset", "byte_size", "says"),
    [
        ("r", "{key}", 0, 1, '"r": registered already'),
        ("", "{key}", 0, 1, "a region needs a name"),
        ("s", "{key}", 0, 0, '"s": byte_size: got 0'),
        ("s", "{key}", 60, 5, '"s": bytes 60 to 65 asked for, but the object "{key}" has 64 bytes'),
        ("s", "{key}", 2**63, 2**63, "has 64 bytes"),
        ("s", "/no-such-object", 0, 1, 'key "/no-such-object": No such file'),
        ("s", "", 0, 1, 'key "": expected the name of an object'),
        ("s", "/", 0, 1, "expected the name of an object"),
        ("s", "/..", 0, 1, "expected the name of an object"),
        ("s", "/../../etc/passwd", 0, 1, "expected the name of an object"),
        ("s", "//etc", 0, 1, "expected the name of an object"),
        ("s", "a\0b", 0, 1, "expected the name of an object"),
    ],
)
def test_a_registration_that_cannot_be_is_refused_by_name(
    regions: SharedMemoryRegions, shared: Path, name: str, key: str, offset: int, byte_size: int, says: str
) -> None:
    key = key.format(key=f"/{shared.name}")

    with pytest.raises(InvalidRequest) as raised:
        regions.register(name, key, offset, byte_size)

    assert says.format(key=key) in str(raised.value)
    assert [region.name for region in regions.status()] == ["r"]


def test_links_and_devices_are_no_shared_memory(regions: SharedMemoryRegions, shared: Path) -> None:
    link = shared.with_suffix(".link")
    link.symlink_to("/etc/passwd")
    fifo = shared.with_suffix(".fifo")
    os.mkfifo(fifo)
    try:
        for path in (link, fifo):
            with pytest.raises(InvalidRequest):
                regions.register("s", f"/{path.name}", 0, 1)
    finally:
        link.unlink()
        fifo.unlink()


def test_status_and_unregister_know_one_region_or_all(regions: SharedMemoryRegions, shared: Path) -> None:
    regions.register("s", shared.name, 0, 8)

    assert [(region.name, region.offset, region.byte_size) for region in regions.status()] == [
        ("r", 16, 32),
        ("s", 0, 8),
    ]
    assert regions.status("s")[0].key == shared.name
    regions.unregister("r")
    regions.unregister("r")
    for ask in (lambda: regions.status("r"), lambda: regions.read("r", 0, 1), lambda: regions.write("r", 0, b"")):
        with pytest.raises(NotFound, match='shared memory region "r": not registered'):
            ask()
    regions.unregister()
    assert regions.status() == []


def test_an_unregistered_region_leaves_no_descriptor_open(shared: Path) -> None:
    regions = SharedMemoryRegions()
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(10):
        regions.register("r", shared.name, 0, 8)
        regions.unregister("r")
        with pytest.raises(InvalidRequest):
            regions.register("r", shared.name, 0, 800)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
