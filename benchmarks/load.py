"""The load generator: h2load, which costs a few microseconds a call and so is never the limit itself."""

import re
import shutil
import statistics
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.made_models import INPUT_SHAPES
from cuelight.inference.v2 import open_inference_pb2 as pb

__all__ = ["MESSAGES_PER_STREAM", "Measurement", "h2load_missing", "measure", "write_bodies"]

MESSAGES_PER_STREAM = 100
CONNECTIONS = 8
_SERVICE = "inference.GRPCInferenceService"
_WINDOW_BITS = "24"


@dataclass(frozen=True, slots=True)
class Measurement:
    """Calls (or, of streams, messages) a second, and the latencies of calls in milliseconds."""

    per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


def h2load_missing() -> str | None:
    """Return what to install when h2load is not there, else None."""
    return None if shutil.which("h2load") else "h2load is missing: install Debian's nghttp2-client"


def write_bodies(folder: Path) -> None:
    """Write each model's request as one framed message, and as the messages of a whole stream."""
    for model, shape in INPUT_SHAPES.items():
        request = pb.ModelInferRequest(model_name=model)
        request.inputs.add(name="INPUT", datatype="FP32", shape=(1, *shape))
        values = np.random.default_rng(1).random((1, *shape), np.float32)
        request.raw_input_contents.append(values.tobytes())
        message = request.SerializeToString()
        frame = b"\0" + struct.pack(">I", len(message)) + message
        (folder / f"{model}.unary").write_bytes(frame)
        (folder / f"{model}.stream").write_bytes(frame * MESSAGES_PER_STREAM)


def measure(port: int, body: Path, concurrency: int, seconds: float, log: Path) -> Measurement:
    """Keep `concurrency` calls in flight for `seconds` after a warm-up of one second."""
    streamed = body.suffix == ".stream"
    connections = min(CONNECTIONS, concurrency)
    log.unlink(missing_ok=True)
    command = ["h2load", "-D", f"{seconds * 1000:.0f}ms", "--warm-up-time", "1", "-t", "1", "-c", str(connections)]
    command += ["-m", str(concurrency // connections), "-w", _WINDOW_BITS, "-W", _WINDOW_BITS, "-d", str(body)]
    command += ["-H", "content-type: application/grpc", "-H", "te: trailers", "--log-file", str(log)]
    command += [f"http://127.0.0.1:{port}/{_SERVICE}/{'ModelStreamInfer' if streamed else 'ModelInfer'}"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # h2load logs what was in flight at the end of the warm-up with status 0; its summary counts those right.
    rows = [line.split("\t") for line in log.read_text().splitlines()]
    latencies_ms = sorted(int(row[2]) / 1000 for row in rows if row[1] == "200")
    failed = sum(int(count) for count in re.findall(r"(\d+) (?:failed|errored|timeout)", printed))
    cuts = statistics.quantiles(latencies_ms, n=100) if len(latencies_ms) > 1 else latencies_ms * 99
    messages = len(latencies_ms) * (MESSAGES_PER_STREAM if streamed else 1)
    return Measurement(messages / seconds, cuts[49], cuts[98], failed)
