"""The client keeps to itself: what it imports, and whom it can live with in one process."""

import importlib.util
import itertools
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.scale_models import scale_model, write_version
from tests.serve_process import ROOT, environment, running_server

PEERS = ("cuelight.client", "tritonclient.grpc", "riva.client")

USE_ALL = """
import numpy as np
from cuelight.client import Channel, InferenceClient
import tritonclient.grpc as triton
import riva.client
x = np.ones((1, 4), np.float32)
with Channel({target!r}) as channel:
    ours = InferenceClient(channel).infer("scale", {{"x": x}})["y"]
tensor = triton.InferInput("x", [1, 4], "FP32")
tensor.set_data_from_numpy(x)
theirs = triton.InferenceServerClient({target!r}).infer("scale", [tensor]).as_numpy("y")
config = riva.client.RecognitionConfig(sample_rate_hertz=16000)
assert ours.tolist() == theirs.tolist() == [[2.0] * 4]
assert config.sample_rate_hertz == 16000
print("all three")
"""


def python(script: str, *options: str) -> str:
    command = [sys.executable, *options, "-c", script]
    done = subprocess.run(
        command, env={**environment(), "PYTHONWARNINGS": "ignore"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def riva_client() -> None:
    # Looked for and not imported: its messages have the names of the server's own, which other tests import here.
    if importlib.util.find_spec("riva") is None:
        pytest.skip("nvidia-riva-client is not installed")


@pytest.mark.usefixtures("riva_client")
@pytest.mark.parametrize("order", list(itertools.permutations(PEERS)), ids="-".join)
def test_the_three_clients_import_in_any_order(order: tuple[str, ...]) -> None:
    imports = "\n".join(f"import {name}" for name in order)

    assert python(f"{imports}\nprint('imported')") == "imported\n"


@pytest.mark.usefixtures("riva_client")
def test_the_three_clients_work_in_one_process(tmp_path: Path) -> None:
    write_version(tmp_path / "models", "scale", 1, scale_model(2.0))

    with running_server(tmp_path / "models", tmp_path / "log") as server:
        assert python(USE_ALL.format(target=server.target)) == "all three\n"


def test_the_client_imports_nothing_heavy_and_no_stub_of_the_servers() -> None:
    script = "import sys, cuelight.client; print(*sorted(sys.modules))"

    imported = set(python(script).split())

    assert imported.isdisjoint({"torch", "onnxruntime", "onnx", "PIL", "prometheus_client", "cuelight.server"})
    assert not any(name.startswith("cuelight.inference") for name in imported)


@pytest.mark.slow
def test_the_wheel_holds_every_package_and_the_descriptors(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)

    (wheel,) = tmp_path.glob("cuelight-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for needed in (
        "cuelight/client/open_inference.binpb",
        "cuelight/client/py.typed",
        "cuelight/server/cli.py",
        "cuelight/server/py.typed",
        "cuelight/exporters/cli.py",
        "cuelight/inference/v2/open_inference_pb2.py",
        "cuelight/inference/v2/open_inference_pb2.pyi",
    ):
        assert needed in names
    assert "cuelight/__init__.py" not in names
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)
