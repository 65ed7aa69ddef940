"""The engine over ONNX Runtime: every way a session is run gives the same answers."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from cuelight.server.inference.datatypes import DATATYPES
from cuelight.server.inference.engine import CPU_PROVIDER, CUDA_PROVIDER, OrtEngine, SessionConfig, open_session
from cuelight.server.inference.signature import ModelSignature, TensorSpec
from tests.compat.identity_models import ELEM_TYPES, identity_model
from tests.scale_models import scale_model, write_version

VALUES: dict[str, NDArray[Any]] = {
    **{
        name: np.array([[0, 1, 100]], datatype.dtype)
        for name, datatype in DATATYPES.items()
        if name not in ("BOOL", "BF16", "BYTES")
    },
    "BOOL": np.array([[True, False, True]]),
    "BF16": np.array([[0x3F80, 0xC000, 0]], np.uint16),
    "BYTES": np.array([["a", "", "ü"]], dtype=object),
}
NO_CUDA = CUDA_PROVIDER not in ort.get_available_providers()
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(NO_CUDA, reason="no CUDA device")])]


def engine_of(folder: Path, model: Any, datatype: str, width: int, device: Literal["cpu", "cuda"] = "cpu") -> OrtEngine:
    path = write_version(folder, "model", 1, model) / "model.onnx"
    spec = DATATYPES[datatype]
    signature = ModelSignature({"x": TensorSpec("x", spec, (-1, width))}, {"y": TensorSpec("y", spec, (-1, width))}, 8)
    config = SessionConfig(device)
    return OrtEngine(open_session(path, config), signature, config)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("datatype", sorted(VALUES))
def test_every_datatype_goes_through_unchanged(tmp_path: Path, datatype: str, device: Literal["cpu", "cuda"]) -> None:
    engine = engine_of(tmp_path, identity_model(ELEM_TYPES[datatype]), datatype, 3, device)

    (output,) = engine.run({"x": VALUES[datatype]})

    assert output.tolist() == VALUES[datatype].tolist()
    engine.close()


@pytest.mark.gpu
@pytest.mark.skipif(NO_CUDA, reason="no CUDA device")
def test_cuda_agrees_with_the_cpu(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    engines = [engine_of(tmp_path, scale_model(2.5), "FP32", 4, device) for device in ("cpu", "cuda")]

    on_cpu, on_cuda = (engine.run({"x": x})[0] for engine in engines)

    assert [engine.provider for engine in engines] == [CPU_PROVIDER, CUDA_PROVIDER]
    np.testing.assert_allclose(on_cuda, on_cpu, rtol=1e-6)


@pytest.mark.skipif(not NO_CUDA, reason="this machine has CUDA")
def test_cuda_that_is_not_there_is_an_error_and_no_silent_fallback(tmp_path: Path) -> None:
    path = write_version(tmp_path, "model", 1, scale_model(2.0)) / "model.onnx"

    with pytest.raises(RuntimeError, match=CUDA_PROVIDER):
        open_session(path, SessionConfig("cuda"))


def test_a_close_lets_the_run_before_it_end(tmp_path: Path) -> None:
    engine = engine_of(tmp_path, scale_model(2.0), "FP32", 4)
    running = engine.executor.submit(engine.run, {"x": np.ones((1, 4), np.float32)})

    engine.close()

    assert running.result(timeout=30)[0].tolist() == [[2.0] * 4]


def test_the_model_may_have_been_written_for_another_type_than_float() -> None:
    assert {datatype.onnx_number for datatype in DATATYPES.values()} == set(ELEM_TYPES.values())
    assert DATATYPES["FP32"].onnx_number == TensorProto.FLOAT
