"""A model whose files are taken over, or rewritten, rather than traced from a PyTorch module.

It proves itself in its own way: `write` raises ProofError, or returns the lines a person reads.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cuelight.exporters.spec import Check
from cuelight.exporters.versions import check_writable, new_version, put_in_place
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

    Raises: ProofError; ExportError when the repository cannot be written to; FileExistsError when the version is there
    already; WeightsError when the weights cannot be had.
    """
    # The report's module names this one's types.
    from cuelight.exporters.reports.report import make_files_report, write_report  # noqa: PLC0415

    number = new_version(repository / spec.name, version)
    target = repository / spec.name / str(number)
    check_writable(repository)
    repository.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{spec.name}-", dir=repository) as scratch:
        ready = Path(scratch) / "finished"
        ready.mkdir()
        proof = spec.write(ready, cache_dir)
        write_report(make_files_report(spec, ready, number, proof), ready)
        put_in_place(ready, target)
    size_bytes = sum(path.stat().st_size for path in target.iterdir())
    return FilesExport(target, number, size_bytes, proof)
