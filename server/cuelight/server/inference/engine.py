"""The engine: one ONNX Runtime session and the one thread that runs it.

An engine is built once and then only run. `run` is synchronous and releases the GIL; the batcher calls it on the
engine's own thread, or, for a model whose step costs less than the hop to a thread, on the event loop. (ONNX Runtime
allows concurrent runs of one session, so the rare large request of such a model may run on the thread meanwhile.)

On CUDA, inputs and outputs go through an IOBinding, so that the copies are the engine's own and not the session's.
"""

import ctypes
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from cuelight.server.inference.datatypes import DATATYPES
from cuelight.server.inference.signature import ModelSignature

__all__ = ["CPU_PROVIDER", "CUDA_PROVIDER", "OrtEngine", "SessionConfig", "open_session"]

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"

Arrays = dict[str, NDArray[Any]]

_ORT_LOG_ERROR = 3
_LONGEST_LOCK_WAIT_S = 0.02
"""Longer than a run waits for the interpreter lock (a few times its switch interval of 5 ms): it was the model then."""
_CPU_ONLY = ("BYTES", "BF16")
"""Outputs fetched to host memory by ONNX Runtime itself: strings live there, and NumPy cannot fetch BF16."""


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """How a session is built: on which device, with how many threads for one run."""

    device: Literal["cpu", "cuda"] = "cpu"
    device_id: int = 0
    threads: int = 1


def open_session(
    model: Path | bytes, config: SessionConfig, weights_folder: Path | None = None
) -> ort.InferenceSession:
    """Build a session that does not spin and logs errors only, from a file or from a serialized model.

    `weights_folder` is where a serialized model's external data lies.

    Raises: whatever ONNX Runtime raises on a file it cannot use; RuntimeError when the CUDA provider was asked for and
    is not there, for ONNX Runtime itself would fall back to the CPU without a word.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = config.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ORT_LOG_ERROR
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if config.device == "cuda":
        _check_cuda(ort.get_available_providers())
    if weights_folder is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights_folder))
    source = model if isinstance(model, bytes) else str(model)
    session = ort.InferenceSession(source, options, providers=_providers(config))
    if config.device == "cuda":
        _check_cuda(session.get_providers())
    return session


class OrtEngine:
    """One session with its thread. `run` maps input arrays to the outputs in the signature's order."""

    def __init__(self, session: ort.InferenceSession, signature: ModelSignature, config: SessionConfig) -> None:
        self.session = session
        self.config = config
        self.provider = str(session.get_providers()[0])
        self.executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cuelight-engine")
        self._signature = signature
        self._output_names = list(signature.outputs)
        tensors = (*signature.inputs.values(), *signature.outputs.values())
        if config.device == "cuda":
            self.run = self._run_bound
        elif any(tensor.datatype.name == "BF16" for tensor in tensors):
            self.run = self._run_values
        else:
            self.run = self._run_arrays

    def close(self) -> None:
        """Free the session and end the thread, once the run it is in has ended; `run` fails from then on.

        Engine and `run` refer to each other: left to the garbage collector, the weights would stay for minutes.
        """
        self.executor.submit(self._free)
        self.executor.shutdown(wait=False)

    def step_time_s(self, feeds: Arrays, repeats: int = 5) -> float:
        """Return the fastest of `repeats` runs, in seconds: what a step costs when nothing disturbs it.

        A run that comes back while the event loop is busy waits for the interpreter lock, hundreds of times as long as
        a small model runs. So where one thread does all the work, that thread's own time counts.
        """
        fastest = math.inf
        for _ in range(repeats):
            fastest = min(fastest, self.run_time_s(feeds))
        if self.config.device == "cpu" and self.config.threads == 1 and fastest < _LONGEST_LOCK_WAIT_S:
            return min(fastest, self.caller_time_s(feeds))
        return fastest

    def run_time_s(self, feeds: Arrays) -> float:
        """Return how long one run takes, in seconds."""
        started_s = time.perf_counter()
        self.run(feeds)
        return time.perf_counter() - started_s

    def caller_time_s(self, feeds: Arrays, repeats: int = 5) -> float:
        """Return how long the calling thread itself is busy in a run, in seconds; infinity where no clock tells."""
        busy_before_s = time.thread_time()
        for _ in range(repeats):
            self.run(feeds)
        # Where the thread's clock ticks coarsely, as in some sandboxes, it may not have ticked at all.
        return (time.thread_time() - busy_before_s) / repeats or math.inf

    def _free(self) -> None:
        del self.session
        self.run = _run_closed

    def _run_arrays(self, feeds: Arrays) -> Sequence[NDArray[Any]]:
        outputs: Sequence[NDArray[Any]] = self.session.run(self._output_names, feeds)
        return outputs

    def _run_values(self, feeds: Arrays) -> Sequence[NDArray[Any]]:
        values = {name: self._value(name, array) for name, array in feeds.items()}
        outputs = self.session.run_with_ort_values(self._output_names, values)
        return [_array(value) for value in outputs]

    def _run_bound(self, feeds: Arrays) -> Sequence[NDArray[Any]]:
        binding = self.session.io_binding()
        for name, array in feeds.items():
            if self._signature.inputs[name].datatype.name == "BYTES":
                binding.bind_cpu_input(name, array)
            else:
                binding.bind_ortvalue_input(name, self._value(name, array))
        for name, spec in self._signature.outputs.items():
            binding.bind_output(name, "cpu" if spec.datatype.name in _CPU_ONLY else "cuda", self.config.device_id)
        self.session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return [_array(value) for value in binding.get_outputs()]

    def _value(self, name: str, array: NDArray[Any]) -> ort.OrtValue:
        array = np.ascontiguousarray(array)
        if self._signature.inputs[name].datatype.name == "BF16":
            return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, DATATYPES["BF16"].onnx_number)
        return ort.OrtValue.ortvalue_from_numpy(array, self.config.device, self.config.device_id)


def _run_closed(feeds: Arrays) -> Sequence[NDArray[Any]]:
    raise RuntimeError("the engine is closed")


def _check_cuda(offered: Sequence[str]) -> None:
    if CUDA_PROVIDER not in offered:
        raise RuntimeError(f"{CUDA_PROVIDER} is not available; onnxruntime offers {', '.join(offered)}")


def _providers(config: SessionConfig) -> list[Any]:
    if config.device == "cuda":
        # TF32 keeps 10 bits of mantissa: golden vectors of an FP32 model would not agree.
        return [(CUDA_PROVIDER, {"device_id": str(config.device_id), "use_tf32": "0"}), CPU_PROVIDER]
    return [CPU_PROVIDER]


def _array(value: ort.OrtValue) -> NDArray[Any]:
    """Return the value as an array; BF16, which NumPy lacks, as the uint16 of its bits."""
    if value.data_type() != "tensor(bfloat16)":
        array: NDArray[Any] = value.numpy()
        return array
    shape = value.shape()
    size_bytes = math.prod(shape) * 2
    return np.frombuffer(ctypes.string_at(value.data_ptr(), size_bytes), np.uint16).reshape(shape)
