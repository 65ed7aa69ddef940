"""The stateful model that is measured, and its messages: an LSTM of 256 units over 80 features, 32 outputs."""

import time
from pathlib import Path
from struct import pack

import numpy as np
import onnxruntime as ort

from cuelight.inference.v2 import open_inference_pb2 as pb
from tests.scale_models import write_version
from tests.sequence_models import lstm_model

__all__ = ["BATCHED", "SINGLE", "STATE_BYTES", "framed", "step_request", "steps_per_s", "write_lstms"]

BATCHED, SINGLE = "lstm", "lstm_single"
FEATURES, UNITS, OUTPUTS = 80, 256, 32
MAX_BATCH_SIZE = 64
STATE_BYTES = 2 * UNITS * 4


def write_lstms(repository: Path) -> None:
    """Write the model twice: batched up to 64 rows, and with batching off."""
    model = lstm_model(UNITS, FEATURES, OUTPUTS)
    for name, rows in ((BATCHED, MAX_BATCH_SIZE), (SINGLE, 1)):
        write_version(repository, name, 1, model)
        (repository / name / "config.pbtxt").write_text(f"max_batch_size: {rows}\n")


def step_request(model: str, sequence_id: str, *, start: bool = False, end: bool = False) -> pb.ModelInferRequest:
    """Return a step of a sequence."""
    request = pb.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype="FP32", shape=[1, FEATURES])
    request.raw_input_contents.append(np.full((1, FEATURES), 0.1, np.float32).tobytes())
    request.parameters["sequence_id"].string_param = sequence_id
    if start:
        request.parameters["sequence_start"].bool_param = True
    if end:
        request.parameters["sequence_end"].bool_param = True
    return request


def framed(request: pb.ModelInferRequest) -> bytes:
    """Return the message as gRPC frames it."""
    message = request.SerializeToString()
    return b"\0" + pack(">I", len(message)) + message


def steps_per_s(repository: Path, rows: int, seconds: float = 1.0) -> float:
    """Return how many steps a second ONNX Runtime alone makes on one core, the state handed back and forth."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    path = repository / BATCHED / "1" / "model.onnx"
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    x = np.full((rows, FEATURES), 0.1, np.float32)
    h = c = np.zeros((rows, UNITS), np.float32)
    count, started_s = 0, time.perf_counter()
    while (took_s := time.perf_counter() - started_s) < seconds:
        _, h, c = session.run(["y", "h_next", "c_next"], {"x": x, "h": h, "c": c})
        count += rows
    return count / took_s
