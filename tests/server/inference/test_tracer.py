"""Traces: which requests are sampled, what is written and when, and settings that are refused."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cuelight.server.errors import CuelightError, InvalidRequest, Unsupported
from cuelight.server.inference.trace_settings import TraceSettings, updated
from cuelight.server.inference.tracer import Tracer
from cuelight.server.rpc.lifecycle import BackgroundTasks

OFF = {
    "trace_level": ["OFF"],
    "trace_rate": ["1000"],
    "trace_count": ["-1"],
    "log_frequency": ["0"],
    "trace_file": ["trace.json"],
}
ALL = {"trace_level": ["TIMESTAMPS"], "trace_rate": ["1"]}


def traced(folder: Path, scenario: Callable[[Tracer], None]) -> None:
    """Run the scenario with a tracer, and return when all of its files are written."""

    async def main() -> None:
        tasks = BackgroundTasks()
        await tasks.start()
        tracer = Tracer(folder, tasks.create)
        scenario(tracer)
        await tracer.stop()
        await tasks.stop()

    asyncio.run(main())


def requests(tracer: Tracer, count: int, model: str = "m") -> None:
    for index in range(count):
        trace = tracer.begin(model, 3, f"request-{index}")
        if trace is not None:
            tracer.end(trace)


def ids(path: Path) -> list[str]:
    return [entry["request_id"] for entry in json.loads(path.read_text()) if "request_id" in entry]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_nothing_is_traced_until_it_is_asked_for(tmp_path: Path) -> None:
    def scenario(tracer: Tracer) -> None:
        assert not tracer.enabled
        assert tracer.settings() == OFF
        requests(tracer, 3)

    traced(tmp_path, scenario)

    assert files(tmp_path) == []


def test_a_trace_holds_model_request_and_rising_times(tmp_path: Path) -> None:
    def scenario(tracer: Tracer) -> None:
        assert tracer.update(ALL) == {**OFF, **ALL}
        assert tracer.enabled
        requests(tracer, 1)

    traced(tmp_path, scenario)

    model, times = json.loads((tmp_path / "trace.json").read_text())
    assert model == {"id": 1, "model_name": "m", "model_version": 3, "request_id": "request-0"}
    assert times["id"] == 1
    assert [stamp["name"] for stamp in times["timestamps"]] == ["REQUEST_START", "REQUEST_END"]
    assert times["timestamps"][0]["ns"] <= times["timestamps"][1]["ns"]


def test_one_in_rate_requests_is_sampled_until_the_count_is_reached(tmp_path: Path) -> None:
    def scenario(tracer: Tracer) -> None:
        tracer.update({"trace_level": ["TIMESTAMPS"], "trace_rate": ["3"], "trace_count": ["2"]})
        requests(tracer, 20)
        assert tracer.settings()["trace_count"] == ["0"]

    traced(tmp_path, scenario)

    assert files(tmp_path) == ["trace.json.0"]
    assert ids(tmp_path / "trace.json.0") == ["request-2", "request-5"]


def test_with_a_log_frequency_every_so_many_traces_fill_a_file(tmp_path: Path) -> None:
    def scenario(tracer: Tracer) -> None:
        tracer.update({**ALL, "log_frequency": ["2"], "trace_file": ["t.json"]})
        requests(tracer, 5)

    traced(tmp_path, scenario)

    assert files(tmp_path) == ["t.json.0", "t.json.1", "t.json.2"]
    assert [len(ids(tmp_path / name)) for name in files(tmp_path)] == [2, 2, 1]


def test_a_model_may_have_settings_of_its_own(tmp_path: Path) -> None:
    def scenario(tracer: Tracer) -> None:
        tracer.update({"trace_rate": ["1"], "trace_file": ["all.json"]})
        own = tracer.update({"trace_level": ["TIMESTAMPS"], "trace_file": ["m.json"]}, "m")
        assert own["trace_rate"] == ["1"], "begins with what holds for all"
        assert tracer.settings("other")["trace_level"] == ["OFF"]
        requests(tracer, 2, "m")
        requests(tracer, 2, "other")
        assert tracer.update({"trace_file": []}, "m")["trace_file"] == ["all.json"]

    traced(tmp_path, scenario)

    assert len([name for name in files(tmp_path) if name.startswith("m.json")]) == 1
    assert not [name for name in files(tmp_path) if name.startswith("all.json")]


def test_a_request_that_runs_while_tracing_is_switched_off_is_written(tmp_path: Path) -> None:
    def scenario(tracer: Tracer) -> None:
        tracer.update(ALL)
        trace = tracer.begin("m", 1, "late")
        assert trace is not None
        tracer.update({"trace_level": ["OFF"]})
        assert not tracer.enabled
        tracer.end(trace)

    traced(tmp_path, scenario)

    assert ids(tmp_path / "trace.json") == ["late"]


def test_a_folder_that_cannot_be_written_costs_traces_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")

    def scenario(tracer: Tracer) -> None:
        tracer.update(ALL)
        requests(tracer, 1)

    traced(tmp_path / "file", scenario)

    assert "1 traces cannot be written" in caplog.text


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "trace.json").write_text("mine")

    def scenario(tracer: Tracer) -> None:
        tracer.update(ALL)
        requests(tracer, 1)

    traced(tmp_path, scenario)
    traced(tmp_path, scenario)

    assert (tmp_path / "trace.json").read_text() == "mine"
    assert files(tmp_path) == ["trace.json", "trace.json.0", "trace.json.1"]


def test_a_setting_without_value_goes_back_to_its_default() -> None:
    changed = updated(TraceSettings(), {"trace_rate": ["5"], "trace_count": ["7"]}, TraceSettings())

    assert updated(changed, {"trace_rate": []}, TraceSettings()) == TraceSettings(count=7)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"trace_speed": ["1"]}, InvalidRequest, 'trace setting "trace_speed": unknown; known are trace_level'),
        (
            {"trace_level": ["LOUD"]},
            InvalidRequest,
            '"trace_level": got LOUD, expected OFF or TIMESTAMPS',
        ),
        ({"trace_level": ["TIMESTAMPS", "TENSORS"]}, Unsupported, "TENSORS is not offered"),
        ({"trace_rate": ["0"]}, InvalidRequest, '"trace_rate": got 0, expected a whole number from 1 on'),
        ({"trace_rate": ["1", "2"]}, InvalidRequest, "got 1, 2, expected a whole number"),
        ({"trace_rate": ["fast"]}, InvalidRequest, "got fast"),
        ({"trace_count": ["-2"]}, InvalidRequest, "from -1 on"),
        ({"log_frequency": ["-1"]}, InvalidRequest, "from 0 on"),
        ({"trace_file": ["/etc/passwd"]}, InvalidRequest, "expected a file name"),
        ({"trace_file": ["../up"]}, InvalidRequest, "expected a file name"),
        ({"trace_file": [""]}, InvalidRequest, "expected a file name"),
        ({"trace_file": [".."]}, InvalidRequest, "expected a file name"),
    ],
)
def test_settings_are_checked(changes: dict[str, Sequence[str]], error: type[CuelightError], says: str) -> None:
    with pytest.raises(error) as raised:
        updated(TraceSettings(), changes, TraceSettings())

    assert says in str(raised.value)
