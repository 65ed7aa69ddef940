"""Everything tritonclient can ask of a server, each a check of its own; run in a process without Cuelight's stubs.

`python triton_checks.py sync|aio URL` prints one JSON object: check -> "ok" or the traceback.
"""

import asyncio
import inspect
import json
import queue
import sys
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException, shared_memory

MODELS = ("scale", "labelled", "free")
VALUES: dict[str, Any] = {
    "BOOL": np.array([[True, False, True]]),
    "UINT8": np.array([[0, 7, 255]], np.uint8),
    "UINT16": np.array([[0, 7, 2**16 - 1]], np.uint16),
    "UINT32": np.array([[0, 7, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 7, 2**64 - 1]], np.uint64),
    "INT8": np.array([[-128, 0, 127]], np.int8),
    "INT16": np.array([[-(2**15), 0, 2**15 - 1]], np.int16),
    "INT32": np.array([[-(2**31), 0, 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 0, 2**63 - 1]], np.int64),
    "FP16": np.array([[-1.5, 0, 65504]], np.float16),
    "BF16": np.array([[-1.5, 0, 2.0]], ml_dtypes.bfloat16),
    "FP32": np.array([[-1.5, 0, 3e38]], np.float32),
    "FP64": np.array([[-1.5, 0, 1e300]], np.float64),
    "BYTES": np.array([[b"a", b"", "ü".encode()]], np.object_),
}


def tensor(name: str, array: Any, datatype: str = "FP32") -> triton.InferInput:
    result = triton.InferInput(name, list(array.shape), datatype)
    result.set_data_from_numpy(array)
    return result


def ones(value: float = 1.0) -> list[triton.InferInput]:
    return [tensor("x", np.full((1, 4), value, np.float32))]


def pair() -> list[triton.InferInput]:
    return [tensor("x", np.ones((1, 2), np.float32))]


def refused(code: str, text: str, call: Callable[[], object]) -> None:
    try:
        call()
    except InferenceServerException as error:
        assert error.status() == f"StatusCode.{code}", error
        assert text in str(error.message()), error
    else:
        raise AssertionError(f"expected {code}")


class SyncChecks:
    def __init__(self, url: str) -> None:
        self.client = triton.InferenceServerClient(url)

    def server_live(self) -> None:
        assert self.client.is_server_live() is True

    def server_ready(self) -> None:
        assert self.client.is_server_ready() is True

    def model_ready(self) -> None:
        assert self.client.is_model_ready("scale") is True
        assert self.client.is_model_ready("scale", "1") is True
        assert self.client.is_model_ready("nothing") is False

    def server_metadata(self) -> None:
        metadata = self.client.get_server_metadata()
        assert metadata.name == "cuelight"
        assert metadata.version
        assert "statistics" in metadata.extensions

    def model_metadata(self) -> None:
        metadata = self.client.get_model_metadata("scale")
        assert (metadata.name, list(metadata.versions)) == ("scale", ["1"])
        assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [("x", "FP32", [-1, 4])]
        refused("NOT_FOUND", "nothing", lambda: self.client.get_model_metadata("nothing"))

    def model_config(self) -> None:
        config = self.client.get_model_config("scale").config
        assert config.name == "scale"
        assert config.max_batch_size > 0
        assert list(config.input[0].dims) == [4]
        as_json = self.client.get_model_config("labelled", as_json=True)["config"]
        assert "cuelight.labels" in as_json["parameters"]

    def statistics(self) -> None:
        before = self.figures("free")
        for _ in range(3):
            self.client.infer("free", [tensor("x", np.ones((2, 5), np.float32))])
        after = self.figures("free")
        assert after.inference_count - before.inference_count == 6
        assert after.execution_count - before.execution_count == 3
        assert after.inference_stats.success.count - before.inference_stats.success.count == 3
        assert after.inference_stats.queue.count - before.inference_stats.queue.count == 3
        assert after.inference_stats.compute_infer.ns > before.inference_stats.compute_infer.ns
        assert after.version == "1"

    def figures(self, model: str) -> Any:
        (figures,) = self.client.get_inference_statistics(model).model_stats
        return figures

    def repository_index(self) -> None:
        index = {model.name: model for model in self.client.get_model_repository_index().models}
        assert set(MODELS) <= set(index)
        assert (index["scale"].version, index["scale"].state) == ("1", "READY")

    def load_and_unload(self) -> None:
        self.client.unload_model("labelled")
        assert self.client.is_model_ready("labelled") is False
        refused("UNAVAILABLE", "labelled", lambda: self.client.infer("labelled", ones()))
        self.client.load_model("labelled")
        assert self.client.is_model_ready("labelled") is True
        refused("NOT_FOUND", "nothing", lambda: self.client.load_model("nothing"))

    def infer(self) -> None:
        result = self.client.infer("scale", ones(3.0), request_id="seven")
        assert result.get_response().id == "seven"
        assert result.as_numpy("y").tolist() == [[6.0] * 4]

    def every_datatype(self) -> None:
        for datatype, values in VALUES.items():
            result = self.client.infer(f"identity_{datatype.lower()}", [tensor("x", values, datatype)])
            got = result.as_numpy("y")
            assert got.tolist() == values.tolist(), (datatype, got, values)

    def typed_contents(self) -> None:
        request = service_pb2.ModelInferRequest(model_name="identity_int64")
        x = request.inputs.add(name="x", datatype="INT64", shape=[1, 3])
        x.contents.int64_contents.extend([1, -2, 3])
        response = self.client._client_stub.ModelInfer(request)
        assert np.frombuffer(response.raw_output_contents[0], np.int64).tolist() == [1, -2, 3]

    def requested_outputs(self) -> None:
        result = self.client.infer("scale", ones(), outputs=[triton.InferRequestedOutput("y")])
        assert result.as_numpy("y").tolist() == [[2.0] * 4]
        wrong = [triton.InferRequestedOutput("z")]
        refused("INVALID_ARGUMENT", 'output "z"', lambda: self.client.infer("scale", ones(), outputs=wrong))

    def classification(self) -> None:
        scores = tensor("x", np.array([[0.1, 0.7, 0.0, 0.2]], np.float32))
        outputs = [triton.InferRequestedOutput("y", class_count=2)]
        result = self.client.infer("labelled", [scores], outputs=outputs)
        assert result.as_numpy("y").tolist() == [[b"0.700000:1:goldfish", b"0.200000:3:ray"]]

    def errors(self) -> None:
        infer = self.client.infer
        refused("NOT_FOUND", '"nothing"', lambda: infer("nothing", ones()))
        refused("NOT_FOUND", "9", lambda: infer("scale", ones(), model_version="9"))
        refused("INVALID_ARGUMENT", 'input "z"', lambda: infer("scale", [tensor("z", np.ones((1, 4), np.float32))]))
        wrong = [tensor("x", np.ones((1, 4), np.int64), "INT64")]
        refused("INVALID_ARGUMENT", "expected FP32 [-1,4], got INT64 [1,4]", lambda: infer("scale", wrong))
        long = [tensor("x", np.ones((1, 5), np.float32))]
        refused("INVALID_ARGUMENT", "expected FP32 [-1,4], got FP32 [1,5]", lambda: infer("scale", long))
        tall = [tensor("x", np.ones((4096, 4), np.float32))]
        refused("INVALID_ARGUMENT", "got 4096", lambda: infer("scale", tall))

    def timeout(self) -> None:
        refused("DEADLINE_EXCEEDED", "", lambda: self.client.infer("slow", ones(), client_timeout=0.01))

    def compression(self) -> None:
        for algorithm in ("gzip", "deflate"):
            try:
                result = self.client.infer("scale", ones(5.0), compression_algorithm=algorithm)
            except InferenceServerException as error:
                assert algorithm == "deflate", error
                assert error.status() == "StatusCode.UNIMPLEMENTED", error
            else:
                assert result.as_numpy("y").tolist() == [[10.0] * 4]

    def headers(self) -> None:
        result = self.client.infer("scale", ones(), headers={"x-request-id": "from-the-client"})
        assert result.as_numpy("y").tolist() == [[2.0] * 4]

    def async_infer(self) -> None:
        done: queue.Queue[Any] = queue.Queue()
        for value in range(20):
            self.client.async_infer(
                "scale", ones(float(value)), lambda result, error: done.put((result, error)), request_id=str(value)
            )
        for _ in range(20):
            result, error = done.get(timeout=30)
            assert error is None, error
            assert result.as_numpy("y")[0, 0] == 2.0 * int(result.get_response().id)

    def stream(self) -> None:
        done: queue.Queue[Any] = queue.Queue()
        self.client.start_stream(lambda result, error: done.put((result, error)))
        for value in range(50):
            self.client.async_stream_infer("scale", ones(float(value)), request_id=str(value))
        for value in range(50):
            result, error = done.get(timeout=30)
            assert error is None, error
            assert result.get_response().id == str(value)
            assert result.as_numpy("y")[0, 0] == 2.0 * value
        self.client.stop_stream()

    def stream_lives_on_after_a_bad_request(self) -> None:
        done: queue.Queue[Any] = queue.Queue()
        self.client.start_stream(lambda result, error: done.put((result, error)))
        self.client.async_stream_infer("scale", [tensor("z", np.ones((1, 4), np.float32))])
        self.client.async_stream_infer("scale", ones(4.0))
        (_, error), (result, no_error) = done.get(timeout=30), done.get(timeout=30)
        assert 'input "z"' in str(error)
        assert no_error is None
        assert result.as_numpy("y").tolist() == [[8.0] * 4]
        self.client.stop_stream()

    def sequence(self) -> None:
        for sequence_id in (7, "seven"):
            for step in range(1, 4):
                place = {"sequence_id": sequence_id, "sequence_start": step == 1, "sequence_end": step == 3}
                result = self.client.infer("sum", pair(), **place)
                assert result.as_numpy("total").tolist() == [[step, step]]
            gone = f"sequence {sequence_id!r} is not active"
            again = partial(self.client.infer, "sum", pair(), sequence_id=sequence_id)
            refused("FAILED_PRECONDITION", gone, again)
        refused("INVALID_ARGUMENT", "sequence_id", lambda: self.client.infer("sum", pair()))
        assert self.client.get_model_config("sum").config.HasField("sequence_batching")

    def sequence_on_a_stream(self) -> None:
        done: queue.Queue[Any] = queue.Queue()
        self.client.start_stream(lambda result, error: done.put((result, error)))
        for step in range(1, 21):
            for name in ("a", "b", 3):
                place = {"sequence_id": name, "sequence_start": step == 1, "sequence_end": step == 20}
                self.client.async_stream_infer("sum", pair(), request_id=f"{name} {step}", **place)
        for step in range(1, 21):
            for name in ("a", "b", 3):
                result, error = done.get(timeout=30)
                assert error is None, error
                assert result.get_response().id == f"{name} {step}"
                assert result.as_numpy("total").tolist() == [[step, step]]
        self.client.stop_stream()

    def final_response(self) -> None:
        done: queue.Queue[Any] = queue.Queue()
        self.client.start_stream(lambda result, error: done.put((result, error)))
        self.client.async_stream_infer("scale", ones(), enable_empty_final_response=True)
        result, error = done.get(timeout=30)
        assert error is None, error
        assert result.get_response().parameters["triton_final_response"].bool_param is True
        self.client.stop_stream()

    def system_shared_memory(self) -> None:
        name, size = f"cuelight-{uuid.uuid4().hex}", 64
        region = shared_memory.create_shared_memory_region("region", f"/{name}", size)
        try:
            values = np.array([[1, 2, 3, 4]], np.float32)
            shared_memory.set_shared_memory_region(region, [values])
            self.client.register_system_shared_memory("region", f"/{name}", size)
            status = self.client.get_system_shared_memory_status()
            assert status.regions["region"].byte_size == size
            given = triton.InferInput("x", [1, 4], "FP32")
            given.set_shared_memory("region", 16)
            wanted = triton.InferRequestedOutput("y")
            wanted.set_shared_memory("region", 16, offset=32)
            result = self.client.infer("scale", [given], outputs=[wanted])
            assert result.get_output("y").parameters["shared_memory_byte_size"].int64_param == 16
            got = shared_memory.get_contents_as_numpy(region, np.float32, [1, 4], offset=32)
            assert got.tolist() == [[2, 4, 6, 8]]
            given.set_shared_memory("region", 16, offset=60)
            refused("INVALID_ARGUMENT", "region", lambda: self.client.infer("scale", [given]))
            self.client.unregister_system_shared_memory("region")
            assert not self.client.get_system_shared_memory_status().regions
        finally:
            shared_memory.destroy_shared_memory_region(region)

    def cuda_shared_memory(self) -> None:
        refused("UNIMPLEMENTED", "", self.client.get_cuda_shared_memory_status)
        refused("UNIMPLEMENTED", "", lambda: self.client.register_cuda_shared_memory("r", b"", 0, 64))

    def trace_settings(self) -> None:
        before = self.client.get_trace_settings(as_json=True)["settings"]
        assert "trace_level" in before
        changed = self.client.update_trace_settings(settings={"trace_rate": "500"}, as_json=True)["settings"]
        assert changed["trace_rate"]["value"] == ["500"]
        refused("INVALID_ARGUMENT", "no_such", lambda: self.client.update_trace_settings(settings={"no_such": "1"}))

    def log_settings(self) -> None:
        before = self.client.get_log_settings(as_json=True)["settings"]
        assert "log_info" in before
        after = self.client.update_log_settings({"log_verbose_level": 1}, as_json=True)["settings"]
        assert int(after["log_verbose_level"]["uint32_param"]) == 1
        self.client.update_log_settings({"log_verbose_level": 0})


class AioChecks:
    def __init__(self, url: str) -> None:
        self.client = triton_aio.InferenceServerClient(url)

    async def health_and_metadata(self) -> None:
        assert await self.client.is_server_live()
        assert await self.client.is_server_ready()
        assert await self.client.is_model_ready("scale")
        assert (await self.client.get_server_metadata()).name == "cuelight"
        assert (await self.client.get_model_metadata("scale")).name == "scale"
        assert (await self.client.get_model_config("scale")).config.name == "scale"
        assert (await self.client.get_model_repository_index()).models
        assert (await self.client.get_inference_statistics("scale")).model_stats

    async def load_and_unload(self) -> None:
        await self.client.unload_model("labelled")
        assert await self.client.is_model_ready("labelled") is False
        await self.client.load_model("labelled")
        assert await self.client.is_model_ready("labelled") is True

    async def settings(self) -> None:
        assert (await self.client.get_trace_settings()).settings
        assert (await self.client.get_log_settings()).settings
        assert not (await self.client.get_system_shared_memory_status()).regions

    async def infer_concurrently(self) -> None:
        results = await asyncio.gather(*(self.client.infer("scale", ones(float(value))) for value in range(40)))
        assert [result.as_numpy("y")[0, 0] for result in results] == [2.0 * value for value in range(40)]

    async def every_datatype(self) -> None:
        for datatype, values in VALUES.items():
            result = await self.client.infer(f"identity_{datatype.lower()}", [tensor("x", values, datatype)])
            assert result.as_numpy("y").tolist() == values.tolist(), datatype

    async def errors(self) -> None:
        try:
            await self.client.infer("nothing", ones())
        except InferenceServerException as error:
            assert error.status() == "StatusCode.NOT_FOUND"
        else:
            raise AssertionError("expected NOT_FOUND")

    async def stream(self) -> None:
        async def requests() -> AsyncIterator[dict[str, Any]]:
            for value in range(50):
                yield {"model_name": "scale", "inputs": ones(float(value)), "request_id": str(value)}
            yield {"model_name": "scale", "inputs": [tensor("z", np.ones((1, 4), np.float32))], "request_id": "bad"}
            yield {"model_name": "scale", "inputs": ones(1.0), "request_id": "last"}

        answers = [answer async for answer in self.client.stream_infer(requests())]
        for value, (result, error) in enumerate(answers[:50]):
            assert error is None, error
            assert result.as_numpy("y")[0, 0] == 2.0 * value
        assert 'input "z"' in str(answers[50][1])
        assert answers[51][1] is None
        assert answers[51][0].as_numpy("y").tolist() == [[2.0] * 4]


def names(checks: type) -> list[str]:
    public = (name for name, _ in inspect.getmembers(checks, inspect.isfunction) if not name.startswith("_"))
    return [name for name in public if name != "figures"]


def run_sync(url: str) -> dict[str, str]:
    checks = SyncChecks(url)
    return {name: outcome(getattr(checks, name)) for name in names(SyncChecks)}


def outcome(check: Callable[[], None]) -> str:
    try:
        check()
    except Exception:
        return traceback.format_exc()
    return "ok"


async def run_aio(url: str) -> dict[str, str]:
    checks = AioChecks(url)
    outcomes = {name: await aio_outcome(getattr(checks, name)) for name in names(AioChecks)}
    await checks.client.close()
    return outcomes


async def aio_outcome(check: Callable[[], Awaitable[None]]) -> str:
    try:
        await asyncio.wait_for(check(), 60)
    except Exception:
        return traceback.format_exc()
    return "ok"


if __name__ == "__main__":
    kind, target = sys.argv[1:]
    print(json.dumps(run_sync(target) if kind == "sync" else asyncio.run(run_aio(target))))
