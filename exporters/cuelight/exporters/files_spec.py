"""A model whose files are taken over, or rewritten, rather than traced from a PyTorch module.

It proves itself in its own way: `write` raises ProofError, or returns the lines a person reads.
"""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cuelight.exporters.spec import Check
from cuelight.exporters.weights import WheelFile

__all__ = ["FilesExport", "FilesSpec", "ProofError", "export_files"]


class ProofError(Exception):
    """The files do not do what they are said to do."""


@dataclass(frozen=True, slots=True)
class FilesSpec:
    """One model to export. `write(folder, cache_dir)` writes every file of a version and returns its proof.

    `task`, `architecture` and `check` are as those of an `ExportSpec`.
    """

    name: str
    summary: str
    write: Callable[[Path, Path], str]
    source: str
    license: str
    files: tuple[WheelFile, ...]
    task: str = ""
    architecture: str = ""
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class FilesExport:
    """What was written, and its proof in words."""

    path: Path
    version: int
    size_bytes: int
    proof: str


def export_files(spec: FilesSpec, repository: Path, cache_dir: Path, version: int | None = None) -> FilesExport:
    """Write one model into `<repository>/<name>/<version>/`, by default as the next version.

    Raises: ProofError; FileExistsError when the version is there already; WeightsError when the weights cannot be had.
    """
    # The report's module names this one's types.
    from cuelight.exporters.reports.report import make_files_report, write_report  # noqa: PLC0415

    folder = repository / spec.name
    taken = [int(path.name) for path in folder.glob("*") if path.is_dir() and path.name.isdecimal()]
    number = version if version is not None else max(taken, default=0) + 1
    target = folder / str(number)
    if target.exists():
        raise FileExistsError(f"{target} exists; versions are never overwritten")
    repository.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{spec.name}-", dir=repository))
    try:
        proof = spec.write(scratch, cache_dir)
        write_report(make_files_report(spec, scratch, number, proof), scratch)
        scratch.chmod(0o755)
        folder.mkdir(exist_ok=True)
        # Renamed in one step, so that a polling server never sees half a version.
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    size_bytes = sum(path.stat().st_size for path in target.iterdir())
    return FilesExport(target, number, size_bytes, proof)
