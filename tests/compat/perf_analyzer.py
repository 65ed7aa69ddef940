"""Triton's perf_analyzer, unmodified: its binary, taken out of the wheel it ships in, and what that needs to run."""

import os
import platform
import shutil
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

from cuelight.exporters.weights import WheelFile

BINARY = WheelFile(
    requirement="tritonclient==2.51.0",
    path="tritonclient-2.51.0.data/data/bin/perf_analyzer",
    sha256="a8e3fa6d2fcd535770f18fa3c9baf21aee85697352637d24c6b2818401c95a34",
    platform="manylinux1_x86_64",
    python="3.10",
)
CUDA_RUNTIME = WheelFile(
    requirement="nvidia-cuda-runtime-cu12==12.6.77",
    path="nvidia/cuda_runtime/lib/libcudart.so.12",
    sha256="095296727cfb5f51e5b3ae69a3cb88cbd7b6592f314ace0fdfc4e1d758c2aa85",
    platform="manylinux2014_x86_64",
)
BASE64_PACKAGE = "libb64-0d"


def why_not() -> str | None:
    """Return why perf_analyzer cannot run on this machine, or None when it can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return "perf_analyzer is built for Linux on x86-64 only"
    if find_library("b64") is None and (shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None):
        return f"perf_analyzer needs libb64, which only {BASE64_PACKAGE} of Debian and Ubuntu has"
    return None


def fetched(cache_dir: Path) -> tuple[Path, dict[str, str]]:
    """Return the binary and the environment to run it in, fetched where they are not in the cache.

    Raises: WeightsError or subprocess.CalledProcessError when a part cannot be had.
    """
    binary = BINARY.fetch(cache_dir)
    binary.chmod(0o755)
    folders = [str(CUDA_RUNTIME.fetch(cache_dir).parent)]
    if find_library("b64") is None:
        folders.append(str(_base64_library(cache_dir / BASE64_PACKAGE)))
    return binary, {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(folders)}


def _base64_library(folder: Path) -> Path:
    """Unpack Debian's package beside the cache, without installing it, and return the folder of the library."""
    if not list(folder.rglob("libb64.so*")):
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", BASE64_PACKAGE], cwd=folder, check=True, capture_output=True)
        (package,) = folder.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True, capture_output=True)
    return next(iter(folder.rglob("libb64.so*"))).parent
