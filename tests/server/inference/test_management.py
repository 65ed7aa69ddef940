"""The RPCs that manage models and the server, over a real repository."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cuelight.inference.v2 import model_config_pb2
from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.config import LogConfig
from cuelight.server.errors import InvalidRequest, ModelNotFound, NotFound, Unsupported
from cuelight.server.inference.log_settings import LogSettings
from cuelight.server.inference.management import ManagementServicer
from cuelight.server.inference.repository import ModelRepository
from cuelight.server.inference.service import inference_service
from cuelight.server.inference.servicer import InferenceServicer
from cuelight.server.inference.shared_memory import SharedMemoryRegions
from cuelight.server.inference.tracer import Tracer
from cuelight.server.rpc.lifecycle import BackgroundTasks
from cuelight.server.rpc.log_format import LogOutput
from tests.running_repository import Mode, run, running
from tests.scale_models import golden, ones, scale_model, write_version
from tests.server.inference.loaded import sequence_steps

Call = Callable[[str, Any], Any]


class NoCall:
    """What a handler here may know of its call: nothing."""

    attachment: object = None

    def metadata(self) -> list[tuple[str, str | bytes]]:
        return []

    def deadline(self) -> float | None:
        return None

    def peer(self) -> str:
        return "unix:"

    def set_trailing_metadata(self, metadata: Any) -> None:
        raise AssertionError("no handler here sets trailing metadata")


@asynccontextmanager
async def serving(path: Path, mode: Mode = "none", **options: Any) -> AsyncIterator[tuple[Call, ModelRepository]]:
    """Yield a function that calls an RPC by name, through the method table that the fronts mount."""
    tasks = BackgroundTasks()
    await tasks.start()
    async with running(path, mode=mode, **options) as repository:
        regions = SharedMemoryRegions()
        tracer = Tracer(path / ".traces", tasks.create)
        management = ManagementServicer(repository, regions, LogSettings(LogOutput(LogConfig())), tracer, "1.2.3")
        service = inference_service(InferenceServicer(repository, regions, tracer, sequence_steps(regions)), management)
        handlers = {method.name: method.handler for method in service.methods}
        yield lambda name, request: handlers[name](request, NoCall()), repository
        await tracer.stop()
        regions.unregister()
    await tasks.stop()


def infer_request(rows: int = 1, name: str = "m") -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=name, id="r1")
    request.inputs.add(name="x", datatype="FP32", shape=[rows, 4])
    request.raw_input_contents.append(ones(rows)["x"].tobytes())
    return request


def test_health_and_metadata_of_server_and_model(tmp_path: Path) -> None:
    async def scenario() -> None:
        for version in (1, 2):
            write_version(tmp_path, "m", version, scale_model(float(version)))
        (tmp_path / "m" / "config.pbtxt").write_text("version_policy { all { } }")
        (tmp_path / "broken").mkdir()
        async with serving(tmp_path) as (call, _):
            assert (await call("ServerLive", pb.ServerLiveRequest())).live
            assert not (await call("ServerReady", pb.ServerReadyRequest())).ready
            for name, number, ready in (("m", "", True), ("m", "1", True), ("m", "3", False), ("broken", "", False)):
                assert (await call("ModelReady", pb.ModelReadyRequest(name=name, version=number))).ready is ready
            server = await call("ServerMetadata", pb.ServerMetadataRequest())
            assert (server.name, server.version) == ("cuelight", "1.2.3")
            assert {"statistics", "model_repository", "system_shared_memory"} <= set(server.extensions)
            assert "cuda_shared_memory" not in server.extensions
            model = await call("ModelMetadata", pb.ModelMetadataRequest(name="m", version="1"))
            tensor = pb.ModelMetadataResponse.TensorMetadata
            assert model == pb.ModelMetadataResponse(
                name="m",
                versions=["1", "2"],
                platform="onnxruntime_onnx",
                inputs=[tensor(name="x", datatype="FP32", shape=[-1, 4])],
                outputs=[tensor(name="y", datatype="FP32", shape=[-1, 4])],
            )
            config = (await call("ModelConfig", pb.ModelConfigRequest(name="m"))).config
            assert (config.max_batch_size, list(config.input[0].dims)) == (32, [4])
            assert config.input[0].data_type == model_config_pb2.TYPE_FP32
            assert not config.model_transaction_policy.decoupled

    run(scenario)


@pytest.mark.parametrize(
    ("rpc", "request_type"),
    [
        ("ModelMetadata", pb.ModelMetadataRequest),
        ("ModelConfig", pb.ModelConfigRequest),
        ("ModelStatistics", pb.ModelStatisticsRequest),
    ],
)
def test_an_unknown_model_or_version_is_not_found(rpc: str, request_type: Any, tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(1.0))
        async with serving(tmp_path) as (call, _):
            for name, version in (("other", ""), ("m", "9")):
                with pytest.raises(ModelNotFound):
                    await call(rpc, request_type(name=name, version=version))
            with pytest.raises(InvalidRequest, match='model_version "x"'):
                await call(rpc, request_type(name="m", version="x"))

    run(scenario)


def test_statistics_count_requests_rows_and_executions(tmp_path: Path) -> None:
    async def scenario() -> None:
        for name in ("m", "n"):
            write_version(tmp_path, name, 1, scale_model(1.0))
        async with serving(tmp_path) as (call, _):
            for rows in (1, 1, 3):
                await call("ModelInfer", infer_request(rows))
            with pytest.raises(InvalidRequest):
                await call("ModelInfer", infer_request(99))
            (statistics,) = (await call("ModelStatistics", pb.ModelStatisticsRequest(name="m"))).model_stats
            assert (statistics.name, statistics.version) == ("m", "1")
            assert (statistics.inference_count, statistics.execution_count) == (5, 3)
            assert statistics.last_inference > 1_600_000_000_000
            assert statistics.inference_stats.success.count == statistics.inference_stats.queue.count == 3
            assert statistics.inference_stats.success.ns >= statistics.inference_stats.compute_infer.ns > 0
            batches = [(batch.batch_size, batch.compute_infer.count) for batch in statistics.batch_stats]
            assert batches == [(1, 2), (3, 1)]
            every = (await call("ModelStatistics", pb.ModelStatisticsRequest())).model_stats
            assert [each.name for each in every] == ["m", "n"]

    run(scenario)


def test_index_load_and_unload(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "a", 1, scale_model(1.0))
        write_version(tmp_path, "b", 4, scale_model(2.0), golden(3.0))
        async with serving(tmp_path, mode="explicit", load_models=("a",)) as (call, repository):

            async def index(ready: bool = False) -> list[tuple[str, str, str]]:
                response = await call("RepositoryIndex", pb.RepositoryIndexRequest(ready=ready))
                return [(model.name, model.version, model.state) for model in response.models]

            assert await index() == [("a", "1", "READY"), ("b", "", "UNAVAILABLE")]
            assert await index(ready=True) == [("a", "1", "READY")]
            load = pb.RepositoryModelLoadRequest(model_name="b")
            with pytest.raises(Exception, match="golden case"):
                await call("RepositoryModelLoad", load)
            write_version(tmp_path, "b", 4, scale_model(3.0), golden(3.0))
            await call("RepositoryModelLoad", load)
            assert await index(ready=True) == [("a", "1", "READY"), ("b", "4", "READY")]
            load.parameters["config"].string_param = '{"max_batch_size": 3}'
            await call("RepositoryModelLoad", load)
            assert repository.get("b").config.max_batch_size == 3
            unload = pb.RepositoryModelUnloadRequest(model_name="b")
            unload.parameters["unload_dependents"].bool_param = True
            await call("RepositoryModelUnload", unload)
            assert await index(ready=True) == [("a", "1", "READY")]

            unload.parameters["now"].bool_param = True
            with pytest.raises(InvalidRequest, match='parameter "now"'):
                await call("RepositoryModelUnload", unload)
            with pytest.raises(Unsupported, match='repository_name "x"'):
                await call("RepositoryIndex", pb.RepositoryIndexRequest(repository_name="x"))

    run(scenario)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="shared memory objects are files on Linux")
def test_tensors_travel_through_shared_memory(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(3.0))
        key = f"cuelight-test-{os.getpid()}"
        path = Path("/dev/shm") / key
        path.write_bytes(ones()["x"].tobytes() + bytes(16))
        try:
            async with serving(tmp_path) as (call, _):
                await call(
                    "SystemSharedMemoryRegister",
                    pb.SystemSharedMemoryRegisterRequest(name="r", key=f"/{key}", offset=0, byte_size=32),
                )
                status = await call("SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest())
                region = status.regions["r"]
                assert (region.name, region.key, region.offset, region.byte_size) == ("r", f"/{key}", 0, 32)

                request = pb.ModelInferRequest(model_name="m")
                tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
                output = request.outputs.add(name="y")
                for parameters, offset in ((tensor.parameters, 0), (output.parameters, 16)):
                    parameters["shared_memory_region"].string_param = "r"
                    parameters["shared_memory_byte_size"].int64_param = 16
                    parameters["shared_memory_offset"].int64_param = offset
                response = await call("ModelInfer", request)
                assert list(response.raw_output_contents) == [b""]
                assert path.read_bytes()[16:] == (ones()["x"] * 3).tobytes()

                await call("SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest(name="r"))
                with pytest.raises(NotFound, match='shared memory region "r": not registered'):
                    await call("ModelInfer", request)
                with pytest.raises(NotFound):
                    await call("SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest(name="r"))
        finally:
            path.unlink()

    run(scenario)


@pytest.mark.parametrize("rpc", ["Status", "Register", "Unregister"])
def test_cuda_shared_memory_is_unsupported(rpc: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (call, _):
            with pytest.raises(Unsupported, match="CUDA shared memory is not offered"):
                await call(f"CudaSharedMemory{rpc}", getattr(pb, f"CudaSharedMemory{rpc}Request")())

    run(scenario)


def test_a_traced_request_leaves_its_times_in_a_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_version(tmp_path, "m", 1, scale_model(3.0))
        async with serving(tmp_path) as (call, _):
            shown = await call("TraceSetting", pb.TraceSettingRequest())
            assert list(shown.settings["trace_level"].value) == ["OFF"]
            change = pb.TraceSettingRequest(model_name="m")
            change.settings["trace_level"].value.append("TIMESTAMPS")
            change.settings["trace_rate"].value.append("1")
            changed = await call("TraceSetting", change)
            assert list(changed.settings["trace_rate"].value) == ["1"]
            with pytest.raises(ModelNotFound):
                await call("TraceSetting", pb.TraceSettingRequest(model_name="other"))

            await call("ModelInfer", infer_request())

            async def two_rows() -> AsyncIterator[pb.ModelInferRequest]:
                for _ in range(2):
                    yield infer_request()

            async for response in call("ModelStreamInfer", two_rows()):
                assert not response.error_message

    run(scenario)
    traces = [path.read_text() for path in (tmp_path / ".traces").iterdir()]
    assert len(traces) == 1
    assert (traces[0].count("REQUEST_START"), traces[0].count("REQUEST_END"), traces[0].count('"r1"')) == (3, 3, 3)


def test_log_settings_travel_with_their_types(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (call, _):
            request = pb.LogSettingsRequest()
            request.settings["log_verbose_level"].uint32_param = 1
            shown = (await call("LogSettings", request)).settings
            assert shown["log_verbose_level"].uint32_param == 1
            assert shown["log_info"].bool_param
            assert shown["log_format"].string_param == "ISO8601"
            request.settings["log_info"].string_param = "yes"
            with pytest.raises(InvalidRequest, match='log setting "log_info"'):
                await call("LogSettings", request)
            request.Clear()
            request.settings["log_verbose_level"].uint32_param = 0
            await call("LogSettings", request)

    run(scenario)
