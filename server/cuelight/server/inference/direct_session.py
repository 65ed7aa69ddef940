"""Running a tiny model without letting go of the interpreter lock.

`InferenceSession.run` releases the lock. For a model of a few microseconds that is the wrong trade: a transport thread
takes the lock in between, and getting it back costs ten times the run (measured on the grpcio front: 55 us a call
instead of 6). The onnxruntime wheel carries the C library as well; called through `ctypes.PyDLL`, which keeps the lock,
a run over tensors bound once costs 3.6 us, copies included.

Only for models on the CPU whose every size but the batch is fixed, and only from the event loop. Where the C library is
not in the wheel, `open_direct_session` returns None and the ordinary session serves.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from cuelight.server.inference.signature import ModelSignature, TensorSpec

__all__ = ["Binding", "DirectSession", "open_direct_session"]

Arrays = dict[str, NDArray[Any]]

_API_VERSION = 14
"""The table of functions only ever grows at its end; this version has all that is used here."""

# Places in the table `OrtApi`. Source: onnxruntime_c_api.h, struct OrtApi, in order of declaration.
_GET_ERROR_MESSAGE = 2
_CREATE_ENV = 3
_CREATE_SESSION = 7
_RUN = 9
_CREATE_SESSION_OPTIONS = 10
_SET_GRAPH_OPTIMIZATION_LEVEL = 23
_SET_INTRA_OP_THREADS = 24
_SET_INTER_OP_THREADS = 25
_CREATE_TENSOR_WITH_DATA = 49
_CREATE_CPU_MEMORY_INFO = 69
_RELEASE_STATUS = 93
_RELEASE_SESSION = 95
_RELEASE_VALUE = 96

_LOG_ERROR = 3
_ENABLE_ALL_OPTIMIZATIONS = 99
_ARENA_ALLOCATOR = 1
_DEFAULT_MEMORY = 0
_UNSUPPORTED = ("BYTES", "BF16")

_Pointer = ctypes.c_void_p


class DirectSession:
    """A session of the C library with its tensors bound once per number of rows. Owned by the event loop."""

    def __init__(self, model: Path, signature: ModelSignature) -> None:
        self._api = _ort_api()
        self._signature = signature
        self._session = self._api.create_session(model)
        self._input_names = _names(signature.inputs)
        self._output_names = _names(signature.outputs)
        self._bindings: dict[int, Binding] = {}
        self._run = self._api.run

    def run(self, inputs: Arrays, rows: int) -> Arrays:
        """Return the outputs, as views that the next run of the same number of rows overwrites.

        Raises: RuntimeError with ONNX Runtime's message when the model fails.
        """
        binding = self.bound(rows)
        for name, buffer in binding.inputs.items():
            buffer[...] = inputs[name]
        self.run_bound(binding)
        return binding.outputs

    def bound(self, rows: int) -> "Binding":
        """Return the tensors of that number of rows; fill them, run them with `run_bound`, read them."""
        binding = self._bindings.get(rows)
        if binding is None:
            binding = self._bindings[rows] = self._bind(rows)
        return binding

    def run_bound(self, binding: "Binding") -> None:
        """Run on what the tensors hold.

        Raises: RuntimeError with ONNX Runtime's message when the model fails.
        """
        status = self._run(*binding.arguments)
        if status:
            raise RuntimeError(self._api.message(status))

    def close(self) -> None:
        """Free the session and its tensors."""
        for binding in self._bindings.values():
            for value in binding.values:
                self._api.release_value(value)
        self._bindings.clear()
        self._api.release_session(self._session)

    def _bind(self, rows: int) -> "Binding":
        signature = self._signature
        inputs = {name: _buffer(spec, signature, rows) for name, spec in signature.inputs.items()}
        outputs = {name: _buffer(spec, signature, rows) for name, spec in signature.outputs.items()}
        specs = {**signature.inputs, **signature.outputs}
        values = [
            self._api.create_tensor(array, specs[name].datatype.onnx_number)
            for name, array in (*inputs.items(), *outputs.items())
        ]
        taken = (_Pointer * len(inputs))(*values[: len(inputs)])
        given = (_Pointer * len(outputs))(*values[len(inputs) :])
        arguments = (
            self._session,
            None,
            ctypes.addressof(self._input_names),
            ctypes.addressof(taken),
            len(inputs),
            ctypes.addressof(self._output_names),
            len(outputs),
            ctypes.addressof(given),
        )
        return Binding(inputs, outputs, values, arguments, (taken, given))


class Binding:
    """The tensors of one number of rows. `kept` holds what `arguments` points to."""

    __slots__ = ("arguments", "input_views", "inputs", "kept", "output_views", "outputs", "values")

    def __init__(
        self, inputs: Arrays, outputs: Arrays, values: list[int], arguments: tuple[Any, ...], kept: Sequence[Any]
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.input_views = {name: _bytes_view(array) for name, array in inputs.items()}
        self.output_views = [_bytes_view(array) for array in outputs.values()]
        self.values = values
        self.arguments = arguments
        self.kept = kept


def open_direct_session(model: Path, signature: ModelSignature) -> DirectSession | None:
    """Open a model for runs that keep the interpreter lock; None where this build or this model does not allow it."""
    specs = (*signature.inputs.values(), *signature.outputs.values())
    if not signature.fixed or any(spec.optional or spec.datatype.name in _UNSUPPORTED for spec in specs):
        return None
    if _library() is None:
        return None
    return DirectSession(model, signature)


class _OrtApi:
    """The few functions of the C library that a run needs, each keeping the interpreter lock."""

    def __init__(self, library: ctypes.PyDLL) -> None:
        library.OrtGetApiBase.restype = _Pointer
        base = ctypes.cast(library.OrtGetApiBase(), ctypes.POINTER(_Pointer))
        get_api = ctypes.PYFUNCTYPE(_Pointer, ctypes.c_uint32)(base[0] or 0)
        self._table = ctypes.cast(get_api(_API_VERSION), ctypes.POINTER(_Pointer))
        # Run(session, options, input names, inputs, input count, output names, output count, outputs)
        size, pointer = ctypes.c_size_t, _Pointer
        self.run = self._function(_RUN, pointer, pointer, pointer, pointer, size, pointer, size, pointer)
        self._message = self._function(_GET_ERROR_MESSAGE, _Pointer, result=ctypes.c_char_p)
        self._release_status = self._function(_RELEASE_STATUS, _Pointer, result=None)
        self.release_session = self._function(_RELEASE_SESSION, _Pointer, result=None)
        self.release_value = self._function(_RELEASE_VALUE, _Pointer, result=None)
        out = ctypes.POINTER(_Pointer)
        self._create_tensor = self._function(
            _CREATE_TENSOR_WITH_DATA, _Pointer, _Pointer, size, _Pointer, size, ctypes.c_int, out
        )
        self._environment = self._made(_CREATE_ENV, (ctypes.c_int, _LOG_ERROR), (ctypes.c_char_p, b"cuelight"))
        self._memory = self._made(
            _CREATE_CPU_MEMORY_INFO, (ctypes.c_int, _ARENA_ALLOCATOR), (ctypes.c_int, _DEFAULT_MEMORY)
        )

    def create_session(self, model: Path) -> int:
        """Open a session of one thread and return its handle; raises RuntimeError with ONNX Runtime's message."""
        options = self._made(_CREATE_SESSION_OPTIONS)
        for setter, value in (
            (_SET_INTRA_OP_THREADS, 1),
            (_SET_INTER_OP_THREADS, 1),
            (_SET_GRAPH_OPTIMIZATION_LEVEL, _ENABLE_ALL_OPTIMIZATIONS),
        ):
            self._check(self._function(setter, _Pointer, ctypes.c_int)(options, value))
        path = (ctypes.c_char_p, str(model).encode())
        return self._made(_CREATE_SESSION, (_Pointer, self._environment), path, (_Pointer, options))

    def create_tensor(self, array: NDArray[Any], onnx_number: int) -> int:
        """Return a handle of a tensor over the array's memory, which must outlive it."""
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        value = _Pointer()
        status = self._create_tensor(
            self._memory,
            array.ctypes.data,
            array.nbytes,
            ctypes.addressof(shape),
            array.ndim,
            onnx_number,
            ctypes.byref(value),
        )
        self._check(status)
        return value.value or 0

    def message(self, status: int) -> str:
        """Return the message of a failed status and free it."""
        text = self._message(status).decode(errors="replace")
        self._release_status(status)
        return str(text)

    def _function(self, place: int, *arguments: Any, result: Any = _Pointer) -> Callable[..., Any]:
        return ctypes.PYFUNCTYPE(result, *arguments)(self._table[place] or 0)

    def _made(self, place: int, *typed: tuple[Any, Any]) -> int:
        made = _Pointer()
        # Without the lock: opening a large file takes seconds, and the event loop must not stand still for them.
        prototype = ctypes.CFUNCTYPE(_Pointer, *(kind for kind, _ in typed), ctypes.POINTER(_Pointer))
        create = prototype(self._table[place] or 0)
        self._check(create(*(value for _, value in typed), ctypes.byref(made)))
        return made.value or 0

    def _check(self, status: int | None) -> None:
        if status:
            raise RuntimeError(self.message(status))


@cache
def _ort_api() -> _OrtApi:
    library = _library()
    if library is None:
        raise RuntimeError("the onnxruntime package has no C library")
    return _OrtApi(library)


@cache
def _library() -> ctypes.PyDLL | None:
    folder = Path(onnxruntime.__file__).parent / "capi"
    found = sorted((*folder.glob("libonnxruntime.so*"), *folder.glob("libonnxruntime*.dylib")))
    return ctypes.PyDLL(str(found[0])) if found else None


def _buffer(spec: TensorSpec, signature: ModelSignature, rows: int) -> NDArray[Any]:
    shape = (rows, *spec.shape[1:]) if signature.batches else spec.shape
    return np.zeros(shape, spec.datatype.dtype)


def _bytes_view(array: NDArray[Any]) -> memoryview:
    # The stubs of NumPy before Python 3.12 do not say that an array is a buffer.
    return memoryview(array.reshape(-1)).cast("B")  # type: ignore[arg-type,unused-ignore]


def _names(specs: dict[str, TensorSpec]) -> "ctypes.Array[ctypes.c_char_p]":
    return (ctypes.c_char_p * len(specs))(*(name.encode() for name in specs))
