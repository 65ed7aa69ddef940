"""Models whose state the server holds: any axis, any datatype, any start, and company that changes nothing."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.sequence_batcher import SequenceBatcher
from tests.sequence_models import LSTM_PAIRS, TOLD_CONFIG, Alone, lstm_model, running_sum, told_model
from tests.server.inference.stateful import pair, prepared, run, total

DTYPES: dict[Any, Any] = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16, TensorProto.INT64: np.int64}


@pytest.mark.parametrize("elem_type", list(DTYPES), ids=["FP32", "FP16", "INT64"])
@pytest.mark.parametrize("batch_axis", [0, 1, None])
def test_a_sum_is_kept_for_each_sequence(tmp_path: Path, elem_type: int, batch_axis: int | None) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        def step(name: str, value: float, **place: Any) -> Any:
            return sequences.submit(name, pair(value, DTYPES[elem_type], batch_axis is not None), **place)

        a, b = step("a", 1, start=True), step("b", 10, start=True)
        assert (total(await a), total(await b)) == (1, 10)
        assert total(await step("a", 2)) == 3
        assert total(await step("b", 20)) == 30
        assert total(await step("a", 3, end=True)) == 6
        assert total(await step("a", 5, start=True)) == 5

    run(tmp_path, running_sum(batch_axis, elem_type), scenario)


def test_a_state_starts_from_what_the_metadata_says(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        for _ in range(2):
            result = await sequences.submit(1, pair(1.0), start=True)
            assert result.outputs["total"].tolist() == [[101.0, 201.0]]

    state = json.dumps([{"input": "before", "output": "after", "initial": [100, 200]}])
    run(tmp_path, running_sum(state=state), scenario)


def test_a_state_starts_from_a_file_as_triton_has_it(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        result = await sequences.submit(1, pair(1.0), start=True)
        assert result.outputs["total"].tolist() == [[5.0, 8.0]]

    folder = tmp_path / "m" / "initial_state"
    folder.mkdir(parents=True)
    (folder / "start").write_bytes(np.array([4, 7], np.float32).tobytes())
    text = """sequence_batching { state { input_name: "before" output_name: "after" data_type: TYPE_FP32 dims: [ 2 ]
      initial_state { data_type: TYPE_FP32 dims: [ 2 ] data_file: "start" name: "s" } } }"""
    run(tmp_path, running_sum(state="[]"), scenario, text)


def test_company_in_a_batch_changes_no_bit(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        model, generator = Alone(lstm_model(), LSTM_PAIRS), np.random.default_rng(5)
        states = [model.begin() for _ in range(60)]
        for number in range(20):
            alive = [index for index in range(60) if generator.random() < 0.7 or number == 0]
            steps = {index: generator.standard_normal((1, 8)).astype(np.float32) for index in alive}
            futures = {i: sequences.submit(f"s{i}", {"x": x}, start=number == 0) for i, x in steps.items()}
            for index, future in futures.items():
                want, states[index] = model.step(states[index], {"x": steps[index]})
                assert (await future).outputs["y"].tobytes() == want["y"].tobytes()

    run(tmp_path, lstm_model(), scenario)


def test_loading_says_that_company_changes_nothing_and_how_much_is_held(tmp_path: Path) -> None:
    version = prepared(tmp_path, lstm_model(), max_sequences=123)

    assert "holds 123 sequences of 128 bytes, the same bits in any batch" in version.summary()
    for engine in version.loaded.engines:
        engine.close()


def test_loading_says_when_company_changes_a_row(tmp_path: Path) -> None:
    # The mean over the batch: what no model should do, and what must not go unnoticed.
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Add", ["before", "mean"], ["after"]),
            helper.make_node("Identity", ["after"], ["total"]),
        ],
        "mean",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 2]) for n in ("x", "before")],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 2]) for n in ("total", "after")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"cuelight.state": '[{"input": "before", "output": "after"}]'})

    version = prepared(tmp_path, model)

    assert "company in a batch changes it by" in version.summary()
    for engine in version.loaded.engines:
        engine.close()


def test_control_inputs_tell_the_model_of_a_step_s_place(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        async def told(number: int, **place: Any) -> list[float]:
            outputs = (await sequences.submit(number, pair(), **place)).outputs
            return [float(outputs[name][0, 0]) for name in ("start_out", "ready_out", "end_out", "id_out")]

        assert await told(41, start=True) == [1.0, 1.0, 0.0, 41.0]
        assert await told(41) == [-1.0, 1.0, 0.0, 41.0]
        assert await told(41, end=True) == [-1.0, 1.0, 1.0, 41.0]
        assert await told(42, start=True, end=True) == [1.0, 1.0, 1.0, 42.0]

    run(tmp_path, told_model(), scenario, TOLD_CONFIG)


def test_steps_of_any_length_run_with_those_of_their_own(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["x", "axis"], ["sum"], keepdims=1),
            helper.make_node("Add", ["before", "sum"], ["after"]),
            helper.make_node("Identity", ["after"], ["total"]),
            helper.make_node("Mul", ["x", "two"], ["y"]),
        ],
        "any_length",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length"]),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, ["batch", 1]),
        ],
        [
            helper.make_tensor_value_info("total", TensorProto.FLOAT, ["batch", 1]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "length"]),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, ["batch", 1]),
        ],
        [
            helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
            helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"cuelight.state": '[{"input": "before", "output": "after"}]'})

    async def scenario(sequences: SequenceBatcher) -> None:
        sums = dict.fromkeys(range(6), 0.0)
        for number in range(4):
            sizes = {index: 1 + (index + number) % 3 for index in sums}
            futures = {
                index: sequences.submit(index + 1, {"x": np.ones((1, size), np.float32)}, start=number == 0)
                for index, size in sizes.items()
            }
            for index, future in futures.items():
                sums[index] += sizes[index]
                outputs = (await future).outputs
                assert outputs["total"].item() == sums[index]
                assert outputs["y"].tolist() == [[2.0] * sizes[index]]

    run(tmp_path, model, scenario)


def test_golden_vectors_are_replayed_through_the_slots(tmp_path: Path) -> None:
    x, before = np.array([[1, 2], [3, 4], [5, 6]], np.float32), np.array([[10, 20], [30, 40], [50, 60]], np.float32)
    golden = {
        "0/inputs/x": x, "0/inputs/before": before, "0/outputs/total": x + before, "0/outputs/after": x + before,
        "atol": 1e-6, "rtol": 1e-6,
    }  # fmt: skip
    version = prepared(tmp_path, running_sum(), golden=golden)
    assert "1 golden cases agree" in version.summary()
    assert all(engine.slots.taken == 0 for engine in version.loaded.engines)  # type: ignore[union-attr]
    for engine in version.loaded.engines:
        engine.close()

    with pytest.raises(ModelLoadError, match='output "after": off by 1'):
        prepared(tmp_path, running_sum(), golden={**golden, "0/outputs/after": x + before + 1})


def test_the_state_s_output_can_be_shown_as_well(tmp_path: Path) -> None:
    async def scenario(sequences: SequenceBatcher) -> None:
        outputs = (await sequences.submit(1, pair(3.0), start=True)).outputs
        assert outputs["after"].tolist() == outputs["total"].tolist() == [[3.0, 3.0]]

    run(tmp_path, running_sum(), scenario, 'output { name: "total" } output { name: "after" }')


def grown(axes: tuple[Any, ...]) -> onnx.ModelProto:
    """Return a model whose state is an attention cache of these sizes."""
    graph = helper.make_graph(
        [
            helper.make_node("Concat", ["cache", "x"], ["cache_next"], axis=1),
            helper.make_node("Identity", ["x"], ["y"]),
        ],
        "cache",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1]),
            helper.make_tensor_value_info("cache", TensorProto.FLOAT, list(axes)),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 1]),
            helper.make_tensor_value_info("cache_next", TensorProto.FLOAT, ["batch", None]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"cuelight.state": '[{"input": "cache", "output": "cache_next", "batch_axis": 0}]'})
    return model


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (("batch", "time"), r"axis 1 of \[batch,time\] is of free size: a state that grows cannot be held; export it"),
        (("batch", 4), r"is \[batch,4\], but output \"cache_next\" is \[batch,5\]: a state that grows cannot be held"),
    ],
)
def test_a_state_that_grows_is_refused_with_what_to_do(tmp_path: Path, axes: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        prepared(tmp_path, grown(axes))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "expected a JSON list of objects"),
        ('[{"input": "before"}]', 'expected "input", "output"'),
        ('[{"input": "z", "output": "after"}]', 'input "z": not in the model, which has x, before'),
        ('[{"input": "before", "output": "z"}]', 'output "z": not in the model, which has total, after'),
        ('[{"input": "before", "output": "after", "batch_axis": 2}]', "batch_axis: got 2, expected an axis of"),
        (
            '[{"input": "before", "output": "after", "initial": [1, 2, 3]}]',
            r'expected "zeros" or numbers of shape \[2\]',
        ),
        ('[{"input": "before", "output": "after"}, {"input": "before", "output": "total"}]', "belongs to two states"),
    ],
)
def test_a_declaration_that_does_not_fit_is_named(tmp_path: Path, state: str, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        prepared(tmp_path, running_sum(state=state))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('sequence_batching { state { input_name: "z" output_name: "after" } }', 'input "z": not in the model'),
        (
            'sequence_batching { state { input_name: "before" output_name: "after" dims: [ 3 ] } }',
            r"dims \[3\], but the model file has \[2\]",
        ),
        (
            'sequence_batching { state { input_name: "before" output_name: "after" data_type: TYPE_INT32 } }',
            r"data_type TYPE_INT32, but the model file has tensor\(float\)",
        ),
        (
            'sequence_batching { state { input_name: "before" output_name: "after" use_growable_memory: true } }',
            "use_growable_memory",
        ),
        ('sequence_batching { control_input { name: "x" } }', 'control_input "x": got 0 controls, expected 1'),
        (
            'sequence_batching { control_input { name: "q" control { kind: CONTROL_SEQUENCE_END } } }',
            'control_input "q": not in the model',
        ),
        ("sequence_batching { iterative_sequence: true }", "only false: a step is one request"),
        ("sequence_batching { direct { minimum_slot_utilization: 0.5 } }", '"sequence_batching.direct.minimum_slot'),
        ("sequence_batching { oldest { preferred_batch_size: [ 99 ] } }", "oldest.preferred_batch_size: got 99"),
        ("sequence_batching { oldest { max_candidate_sequences: -1 } }", "max_candidate_sequences: got -1"),
    ],
)
def test_a_configuration_that_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        prepared(tmp_path, running_sum(), text)


def test_a_state_larger_than_the_budget_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ModelLoadError, match=r"one sequence takes 8 bytes of state, sequences\.state_memory_bytes is 7"
    ):
        prepared(tmp_path, running_sum(), state_memory_bytes=7)


def test_the_budget_bounds_the_number_of_sequences(tmp_path: Path) -> None:
    version = prepared(tmp_path, running_sum(), state_memory_bytes=85)

    assert "holds 10 sequences" in version.summary()
    for engine in version.loaded.engines:
        engine.close()


class Sums:
    """A front: of as many numbers as anybody brings, their sum twice."""

    input = "x"

    def fill(self, rows: Sequence[NDArray[Any]], target: NDArray[Any]) -> None:
        target[...] = [[row.sum()] * 2 for row in rows]

    def added(self, outputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return {"rows": outputs["total"] * 10}


@pytest.mark.parametrize("rows", [1, 3, 8, 18, 37])
def test_a_front_fills_batches_of_every_size(tmp_path: Path, rows: int) -> None:
    version = prepared(tmp_path, running_sum(), "max_batch_size: 64")
    engine: Any = version.loaded.engines[0]
    try:
        engine.front = Sums()
        requests = [{"x": np.full((1, 5), index, np.float32)} for index in range(rows)]
        slots = [engine.slots.take() for _ in range(rows)]
        outputs = engine.step(requests, {}, [engine.slots.initial] * rows, slots)

        assert outputs["total"].tolist() == [[5.0 * index] * 2 for index in range(rows)]
        assert outputs["rows"].tolist() == [[50.0 * index] * 2 for index in range(rows)]
    finally:
        engine.close()


@pytest.mark.gpu
@pytest.mark.skipif("CUDAExecutionProvider" not in ort.get_available_providers(), reason="no CUDA device")
@pytest.mark.parametrize("batch_axis", [0, 1])
def test_the_state_stays_on_the_gpu(tmp_path: Path, batch_axis: int) -> None:
    version = prepared(tmp_path, running_sum(batch_axis), device="cuda")
    engine: Any = version.loaded.engines[0]
    try:
        slots = [engine.slots.take() for _ in range(4)]
        engine.step([pair(1.0), pair(10.0)], {}, [engine.slots.initial] * 2, slots[:2])
        outputs = engine.step([pair(2.0), pair(20.0)], {}, slots[:2], slots[2:])

        assert outputs["total"].tolist() == [[3.0, 3.0], [30.0, 30.0]]
        assert [row[0].tolist() for row in engine.read(slots)] == [[1, 1], [10, 10], [3, 3], [30, 30]]
        engine.write([slots[0]], [[np.array([7, 8], np.float32)]])
        assert engine.read([slots[0]])[0][0].tolist() == [7, 8]
        assert all(slab.device_name() == "cuda" for slab in engine._slabs.values())
    finally:
        engine.close()
