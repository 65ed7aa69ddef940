"""Golden vectors: inputs and outputs an export was proven with, replayed on this machine before a version serves.

`golden.npz` beside the model file holds arrays `{case}/inputs/{tensor}` and `{case}/outputs/{tensor}`, a case having
any name, and the scalars `atol` and `rtol`. An output agrees when |got - want| <= atol + rtol * |want| everywhere;
booleans and strings when they are equal. BF16 tensors are held as the uint16 of their bits.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.signature import ModelSignature, TensorSpec

__all__ = ["Case", "GoldenVectors", "example_of", "read_golden", "replay"]

Arrays = dict[str, NDArray[Any]]
Run = Callable[[Arrays], Sequence[NDArray[Any]]]

_BF16_TO_FP32_SHIFT = 16


@dataclass(frozen=True, slots=True)
class Case:
    """One request and the answer it must get."""

    name: str
    inputs: Arrays
    outputs: Arrays


@dataclass(frozen=True, slots=True)
class GoldenVectors:
    """What a file holds. `atol` is absolute, `rtol` relative to the wanted value."""

    cases: tuple[Case, ...]
    atol: float
    rtol: float


def read_golden(path: Path) -> GoldenVectors | None:
    """Read a file of golden vectors; None when there is no such file.

    Raises: ModelLoadError naming the file and what is wrong with it.
    """
    if not path.exists():
        return None
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ModelLoadError(f"{path}: expected an .npz archive, got something else")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                return _vectors({name: archive[name] for name in archive.files}, path)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ModelLoadError(f"{path}: cannot be read: {error}") from error


def example_of(golden: GoldenVectors, signature: ModelSignature, where: str) -> Arrays:
    """Return the first case's inputs: a request that the model is known to take.

    Raises: ModelLoadError naming `where` when they are not of the model's names and datatypes.
    """
    return _feeds(golden.cases[0], signature, f'{where}: golden case "{golden.cases[0].name}"')


def replay(golden: GoldenVectors, run: Run, signature: ModelSignature, where: str) -> None:
    """Run every case through `run`, which returns the outputs in the signature's order.

    Raises: ModelLoadError naming `where` (model, version, file), the case, the tensor, the largest error and what is
    allowed.
    """
    for case in golden.cases:
        at = f'{where}: golden case "{case.name}"'
        inputs = _feeds(case, signature, at)
        for name in case.outputs:
            if name not in signature.outputs:
                raise ModelLoadError(
                    f'{at}: output "{name}": not in the model, which has {", ".join(signature.outputs)}'
                )
        try:
            got = dict(zip(signature.outputs, run(inputs), strict=True))
        except Exception as error:
            # ONNX Runtime raises many types; whichever it is, the model did not give the answer.
            raise ModelLoadError(f"{at}: the model failed to run it: {error}") from error
        for name, want in case.outputs.items():
            _compare(got[name], want, golden, signature.outputs[name], f'{at}: output "{name}"')


def _vectors(arrays: Mapping[str, NDArray[Any]], path: Path) -> GoldenVectors:
    inputs: dict[str, Arrays] = {}
    outputs: dict[str, Arrays] = {}
    tolerances: dict[str, float] = {}
    for key, array in arrays.items():
        case, _, rest = key.partition("/")
        kind, _, tensor = rest.partition("/")
        if key in ("atol", "rtol"):
            tolerances[key] = float(array)
        elif kind in ("inputs", "outputs") and tensor:
            (inputs if kind == "inputs" else outputs).setdefault(case, {})[tensor] = array
        else:
            raise ModelLoadError(f'{path}: array "{key}": expected "atol", "rtol" or "CASE/inputs|outputs/TENSOR"')
    for name in ("atol", "rtol"):
        if not tolerances.get(name, -1.0) >= 0:
            raise ModelLoadError(f'{path}: "{name}": got {tolerances.get(name, "nothing")}, expected 0 or more')
    if not outputs:
        raise ModelLoadError(f"{path}: holds no case")
    cases = tuple(Case(name, inputs.get(name, {}), outputs[name]) for name in sorted(outputs))
    return GoldenVectors(cases, tolerances["atol"], tolerances["rtol"])


def _feeds(case: Case, signature: ModelSignature, at: str) -> Arrays:
    feeds: Arrays = {}
    for name, array in case.inputs.items():
        spec = signature.inputs.get(name)
        if spec is None:
            raise ModelLoadError(f'{at}: input "{name}": not in the model, which has {", ".join(signature.inputs)}')
        feeds[name] = _as_objects(array) if spec.datatype.name == "BYTES" else array
        if spec.datatype.name != "BYTES" and array.dtype != spec.datatype.dtype:
            raise ModelLoadError(f'{at}: input "{name}": expected {spec.describe()}, got {array.dtype}')
    for name, spec in signature.inputs.items():
        if name not in feeds and not spec.optional:
            raise ModelLoadError(f'{at}: input "{name}": missing; the model needs {spec.describe()}')
    return feeds


def _compare(got: NDArray[Any], want: NDArray[Any], golden: GoldenVectors, spec: TensorSpec, at: str) -> None:
    if got.shape != want.shape:
        raise ModelLoadError(f"{at}: expected shape {list(want.shape)}, got {list(got.shape)}")
    if spec.datatype.name in ("BYTES", "BOOL"):
        if not np.array_equal(_as_objects(got), _as_objects(want)):
            raise ModelLoadError(f"{at}: differs from what was exported")
        return
    got_values, want_values = _as_double(got, spec), _as_double(want, spec)
    same = (got_values == want_values) | (np.isnan(got_values) & np.isnan(want_values))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(got_values - want_values))
        # Infinity times rtol would allow anything.
        allowed = golden.atol + golden.rtol * np.where(np.isfinite(want_values), np.abs(want_values), 0.0)
        agrees = same | (error <= allowed)
    if not agrees.all():
        worst = int(np.argmax(np.where(agrees, -np.inf, np.nan_to_num(error - allowed, nan=np.inf))))
        raise ModelLoadError(
            f"{at}: off by {error.flat[worst]:.3g} at element {worst} (got {got_values.flat[worst]:.9g}, "
            f"expected {want_values.flat[worst]:.9g}), allowed {allowed.flat[worst]:.3g}; "
            f"{int((~agrees).sum())} of {agrees.size} elements disagree"
        )


def _as_objects(array: NDArray[Any]) -> NDArray[Any]:
    """Return strings as an object array of bytes, anything else as it is."""
    if array.dtype.kind not in "USO":
        return array
    result = np.empty(array.size, dtype=object)
    result[:] = [item.encode() if isinstance(item, str) else bytes(item) for item in array.reshape(-1).tolist()]
    return result.reshape(array.shape)


def _as_double(array: NDArray[Any], spec: TensorSpec) -> NDArray[np.float64]:
    if spec.datatype.name == "BF16":
        array = (array.astype(np.uint32) << _BF16_TO_FP32_SHIFT).view(np.float32)
    return array.astype(np.float64)
