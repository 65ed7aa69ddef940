"""What figures were measured on."""

import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["machine"]


def machine(cores: int) -> dict[str, str]:
    """Return what the figures were measured on."""
    names = [line.split(":")[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    version = [sys.executable, "-c", "import grpc, onnxruntime; print(grpc.__version__, onnxruntime.__version__)"]
    grpcio, onnxruntime = subprocess.run(version, capture_output=True, text=True, check=True).stdout.split()
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": str(cores),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "grpcio": grpcio,
        "onnxruntime": onnxruntime,
        "date": datetime.now(UTC).date().isoformat(),
    }


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
