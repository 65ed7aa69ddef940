"""benchmarks/models.py without its weights: inputs, ways, state, a run of small models over both fronts, and goals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from benchmarks.model_cases import SIZES, TEXT, TEXT_TOKENS, case_of, typed_call
from benchmarks.model_in_process import Way, in_process_rows, onnxruntime_steps, torch_steps, ways
from benchmarks.model_report import GOAL_MODELS, goals, plot, tables
from benchmarks.model_rounds import Settings, middle, model_file
from benchmarks.models import run
from cuelight.exporters.export import export_model
from cuelight.exporters.minilm_l6_v2 import TOKENIZER
from cuelight.exporters.registry import ALL_SPECS, SPECS
from tests.exporters.quantize.small_models import CNN, STEPS
from tests.exporters.tiny import ACCUMULATOR

SERVED = {"per_s": 85.0, "p50_ms": 1.0, "p99_ms": 2.0, "failed": 0.0, "client_cores": 0.1, "cpu_ms": 12.0}
BARE = {"per_s": 100.0, "cpu_ms": 10.0, "how": "batch 32, 1 x 2 threads"}


@pytest.mark.parametrize("name", ALL_SPECS)
def test_every_exported_model_has_inputs_of_as_many_rows_as_asked_for(name: str) -> None:
    case = case_of(ALL_SPECS[name])

    for rows in (1, case.max_rows):
        inputs = case.inputs(rows)
        assert {array.shape[0] for array in inputs.values()} == {rows}
        assert all(not inputs[state].any() for state in case.state)
        assert any(array.any() for array in inputs.values())


def test_free_axes_have_the_sizes_that_are_told() -> None:
    for spec in SPECS.values():
        case = case_of(spec)
        shapes = [array.shape for array in case.inputs(3).values()]
        for axis in spec.axes:
            assert case.sizes[axis.name] == SIZES[axis.name]
            assert any(SIZES[axis.name] in shape for shape in shapes)


def test_the_text_has_the_tokens_that_the_tensors_have(cache_dir: Path) -> None:
    tokenizer = Tokenizer.from_file(str(TOKENIZER.fetch(cache_dir)))
    tokenizer.no_padding()

    assert len(tokenizer.encode(TEXT).ids) == TEXT_TOKENS == SIZES["tokens"]


def test_each_task_has_its_call_and_streams_have_none(cache_dir: Path) -> None:
    names = {name: call.name for name, spec in ALL_SPECS.items() if (call := typed_call(spec, cache_dir))}

    assert names == {
        **dict.fromkeys(("efficientnet_lite0", "digit_cnn", "self_attention"), "VisionService.Classify"),
        **dict.fromkeys(("minilm_l6_v2", "minilm_l6_v2_attention"), "TextService.Embed"),
        "glove_6b_50d": "TextService.NearestWords",
        **dict.fromkeys(("g2p_en", "attention_decoder"), "TextService.Transduce"),
        **dict.fromkeys(("digits_ctc", "moonshine_tiny_en"), "SpeechService.Recognize"),
    }


@pytest.mark.parametrize(("most", "rows"), [(8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12]), (32, [1, 2, 4, 8, 16, 32])])
def test_batches_are_those_a_server_pads_to_on_all_cores_or_one_each(most: int, rows: list[int]) -> None:
    assert ways(most, 2, 32) == [Way(size, *split) for size in rows for split in ((1, 2), (2, 1))]


def test_one_call_at_a_time_has_one_worker() -> None:
    assert ways(1, 4, 1) == [Way(1, 1, 1), Way(1, 1, 4)]
    assert ways(1, 4, 32) == [Way(1, 1, 4), Way(1, 4, 1)]


def test_both_ways_in_process_hand_state_on(tmp_path: Path) -> None:
    case = case_of(ACCUMULATOR)
    model = export_model(ACCUMULATOR, tmp_path, tmp_path).path / "model.onnx"
    way = Way(rows=4, workers=1, threads=1)
    [ours] = onnxruntime_steps(model, case, way)
    x = case.inputs(4)["x"]

    with torch_steps(ACCUMULATOR.build(tmp_path), case, way) as [theirs]:
        for step in range(1, 4):
            want = np.float32(10) * sum((x for _ in range(step)), np.zeros_like(x))
            np.testing.assert_allclose(ours()[0], want, rtol=1e-6)
            np.testing.assert_allclose(theirs()[0].numpy(), want, rtol=1e-6)


@pytest.mark.parametrize("good", [0, 1, 5], ids=["first", "second", "later"])
def test_a_worker_that_fails_ends_the_measurement_with_its_error(good: int) -> None:
    taken = iter(range(good))

    def failing() -> list[int]:
        if next(taken, None) is None:
            raise ZeroDivisionError("the step")
        return []

    with pytest.raises(ZeroDivisionError, match="the step"):
        in_process_rows([failing, lambda: []], Way(1, 2, 1), seconds=600)


def test_pytorch_has_its_threads_back_afterwards(tmp_path: Path) -> None:
    before = torch.get_num_threads()

    with torch_steps(ACCUMULATOR.build(tmp_path), case_of(ACCUMULATOR), Way(1, 1, before + 1)):
        assert torch.get_num_threads() == before + 1

    assert torch.get_num_threads() == before


def test_the_newest_version_is_the_one_that_a_server_serves(tmp_path: Path) -> None:
    for version in ("2", "10", "9"):
        (tmp_path / "one" / version).mkdir(parents=True)
        (tmp_path / "one" / version / "model.onnx").touch()

    assert model_file(tmp_path, "one").parent.name == "10"
    with pytest.raises(FileNotFoundError, match="two"):
        model_file(tmp_path, "two")


@pytest.mark.slow
def test_a_run_measures_every_system_and_no_call_fails(tmp_path: Path) -> None:
    specs = (replace(CNN, int8_method="int8-static"), replace(STEPS, int8_method="int8-dynamic"))
    settings = Settings(tmp_path / "models", tmp_path, cores=1, rounds=1, seconds=0.05)
    kept: list[str] = []

    workloads = run(specs, settings, lambda result: kept.append(json.dumps(result["workloads"])))["workloads"]

    assert [len(json.loads(so_far)) for so_far in kept] == [4, 8]
    assert [(one["model"], one["call"], one["precision"], one["at_once"]) for one in workloads] == [
        (model, call, precision, at_once)
        for model, call in (("small_cnn", "ModelInfer"), ("small_steps", "steps"))
        for precision in ("fp32", "int8")
        for at_once in (1, 32)
    ]
    for one in workloads:
        served = {"onnxruntime", "grpcio", "envoy"}
        assert set(one["systems"]) == (served | {"torch"} if one["precision"] == "fp32" else served)
        assert all(system["per_s"] > 0 and system["cpu_ms"] > 0 for system in one["systems"].values())
        assert [one["systems"][front]["failed"] for front in ("grpcio", "envoy")] == [0, 0]


def result(share: float, *, precision: str = "fp32", at_once: int = 32, same_work: bool = True) -> dict[str, Any]:
    row = {
        "model": GOAL_MODELS[0],
        "sizes": {"tokens": 32},
        "precision": precision,
        "call": "ModelInfer",
        "at_once": at_once,
        "same_work": same_work,
        "systems": {
            "torch": {**BARE, "per_s": 50.0},
            "onnxruntime": BARE,
            "grpcio": {**SERVED, "per_s": 50.0},
            "envoy": {**SERVED, "per_s": 100 * share},
        },
    }
    machine = {"processor": "a", "cores": "2", "system": "b", "python": "c", "grpcio": "d", "onnxruntime": "e"}
    return {"machine": {**machine, "date": "f"}, "rounds": 1, "seconds": 1.0, "load": 0.1, "workloads": [row]}


@pytest.mark.parametrize(("share", "met"), [(0.84, False), (0.85, True), (1.2, True)])
def test_the_goal_is_judged_on_the_better_front(share: float, met: bool) -> None:
    [(title, wanted, got, judged)] = goals(result(share))

    assert GOAL_MODELS[0] in title
    assert wanted == "0.85"
    assert got == f"{share:.2f} on envoy; CPU 12.00 ms a call, 10.00 in process"
    assert judged is met


def test_other_calls_are_no_goal() -> None:
    assert goals(result(1.0, precision="int8")) == []
    assert goals(result(1.0, at_once=1)) == []
    assert goals(result(1.0, same_work=False)) == []


def test_a_table_has_the_ratios_and_the_cpu_time(tmp_path: Path) -> None:
    found = result(0.9)

    text = tables(found)
    plot(found, tmp_path / "models.png")

    assert (
        "| `minilm_l6_v2`, 32 tokens | fp32 | ModelInfer | 32 | 50 | 100 | 50 | 90 | 2.00 | **0.50** | **0.90** |"
        in text
    )
    assert "| 10 | 10 | 12 | 12 | 0.10, 0.10 |" in text
    assert (tmp_path / "models.png").stat().st_size > 0


def test_medians_are_taken_over_rounds_and_failures_added() -> None:
    rounds = [{"per_s": rate, "failed": failed} for rate, failed in ((1.0, 1.0), (9.0, 0.0), (2.0, 2.0))]

    assert middle(rounds) == {"per_s": 2.0, "failed": 3.0}
