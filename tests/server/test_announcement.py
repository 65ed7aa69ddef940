"""The lines of the start."""

from pathlib import Path
from typing import Any

import pytest

from cuelight.server.announcement import StartAnnouncement, describe_models
from cuelight.server.config import RepositoryConfig, ServeConfig, ServerConfig
from cuelight.server.rpc.tls import TlsFiles
from cuelight.server.table import format_table

PHOTO: dict[str, Any] = {
    "name": "photo",
    "version": 3,
    "inputs": {"image": "FP32 [-1,3,224,224]", "mask": "BOOL [-1]"},
    "outputs": {"logits": "FP32 [-1,1000]"},
    "max_batch_size": 16,
    "provider": "CUDAExecutionProvider",
    "instances": 2,
    "sequences": 0,
    "inline_rows": 0,
    "step_s": 0.0123,
    "golden_cases": 4,
}
PROBE: dict[str, Any] = {**PHOTO, "name": "probe", "max_batch_size": 0, "inline_rows": 1, "golden_cases": 0}
VOICE: dict[str, Any] = {**PHOTO, "name": "voice", "sequences": 100}


def lines_of(config: ServeConfig) -> tuple[StartAnnouncement, list[str]]:
    lines: list[str] = []
    return StartAnnouncement(config, lambda text: lines.extend(text.split("\n"))), lines


@pytest.fixture
def config() -> ServeConfig:
    return ServeConfig(RepositoryConfig(paths=(Path(),)), ServerConfig(host="::1"))


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert format_table(("a", "bb"), [("xyz", "1"), ("y", "22")]) == "A    BB\nxyz  1\ny    22"


def test_each_model_is_a_row_and_its_tensors() -> None:
    assert describe_models([PHOTO, PROBE, VOICE]).splitlines() == [
        "MODEL  VERSION  MAX BATCH  RUNS ON             STEP     PROVEN",
        "photo  3        16         CUDA x2, queued     12.3 ms  by 4 golden cases",
        "    image FP32 [-1,3,224,224], mask BOOL [-1] -> logits FP32 [-1,1000]",
        "probe  3        none       CUDA x2, inline     12.3 ms  UNPROVEN",
        "    image FP32 [-1,3,224,224], mask BOOL [-1] -> logits FP32 [-1,1000]",
        "voice  3        16         CUDA x2, sequences  12.3 ms  by 4 golden cases",
        "    image FP32 [-1,3,224,224], mask BOOL [-1] -> logits FP32 [-1,1000]",
    ]


def test_an_ipv6_address_can_be_told_from_its_port(config: ServeConfig) -> None:
    announcement, lines = lines_of(config)

    announcement.listening(8001, {"metrics_port": 8002})

    assert lines == ["gRPC        [::1]:8001 (no TLS)", "metrics     http://[::1]:8002/metrics"]


@pytest.mark.parametrize(("with_ca", "told"), [(False, "(TLS)"), (True, "(TLS, clients show certificates)")])
def test_tls_is_told(tmp_path: Path, with_ca: bool, told: str) -> None:
    file = tmp_path / "any.pem"
    file.touch()
    tls = TlsFiles(file, file, file if with_ca else None)
    announcement, lines = lines_of(ServeConfig(RepositoryConfig(paths=(tmp_path,)), tls=tls))

    announcement.listening(8001, {"metrics_port": 8002})

    assert lines[0] == f"gRPC        0.0.0.0:8001 {told}"


@pytest.mark.parametrize(
    ("ready", "failures", "told"),
    [(True, [], ["READY after"]), (False, ["a 1: broken"], ["NOT SERVED  a 1: broken", "", "NOT READY after"])],
)
def test_the_last_line_says_whether_it_is_ready(
    config: ServeConfig, ready: bool, failures: list[str], told: list[str]
) -> None:
    announcement, lines = lines_of(config)

    announcement.loaded({"models": [], "failures": failures, "ready": ready})

    assert lines[:2] == ["", "no model is loaded"]
    assert [line.partition(" 0.")[0] for line in lines[-len(told) :]] == told
