"""Beats: the rule that finds them, and the whole way on music and on clicks of known times."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cuelight.client import Beat, BeatPicker, BeatRules, Channel, InferenceClient, InvalidRequest, detect_beats
from cuelight.exporters.samples import MUSIC, music_as_wav
from tests.clients.clicks import click_track
from tests.serve_process import FRONTS, running_server

FRAME_S = 0.02


def picked(sums: list[float], rules: BeatRules | None = None, downbeat: bool = False) -> list[Beat]:
    picker = BeatPicker(FRAME_S, rules)
    beats = [beat for value in sums for beat in picker.push(*((0.0, value) if downbeat else (value, 0.0)))]
    return beats + picker.finish()


def bump(frames: int, at: dict[int, float]) -> list[float]:
    return [at.get(frame, 0.05) for frame in range(frames)]


@pytest.mark.parametrize(
    ("sums", "times_s"),
    [
        pytest.param(bump(100, {20: 0.9, 45: 0.8, 70: 0.95}), [0.4, 0.9, 1.4], id="three beats"),
        pytest.param(bump(60, {20: 0.39}), [], id="below the threshold"),
        pytest.param(bump(60, {20: 0.9, 22: 0.95}), [0.44], id="the higher one of two that are near"),
        pytest.param(bump(60, {20: 0.9, 26: 0.95}), [0.4], id="too soon after another"),
        pytest.param(bump(60, {20: 0.9, 21: 0.9, 22: 0.9}), [0.4], id="a plateau counts once"),
        pytest.param(bump(60, {1: 0.9, 30: 0.9}), [0.6], id="nothing before the model is warm"),
        pytest.param(bump(40, {38: 0.9}), [0.76], id="one of the last frames"),
        pytest.param([], [], id="nothing at all"),
    ],
)
def test_a_beat_is_high_and_higher_than_around_it(sums: list[float], times_s: list[float]) -> None:
    assert [beat.time_s for beat in picked(sums)] == pytest.approx(times_s)


def test_a_downbeat_is_more_downbeat_than_beat() -> None:
    assert [beat.is_downbeat for beat in picked(bump(60, {20: 0.9}), downbeat=True)] == [True]
    assert [beat.is_downbeat for beat in picked(bump(60, {20: 0.9}))] == [False]


def test_a_beat_comes_as_soon_as_it_is_certain() -> None:
    picker = BeatPicker(FRAME_S)
    frames = bump(60, {20: 0.9})

    came_at = next(index for index, value in enumerate(frames) if picker.push(value, 0.0))

    assert came_at == 20 + round(BeatRules().around_s / FRAME_S)


def test_samples_of_another_kind_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Described:
        def describe(self, model: str) -> dict[str, str]:
            return {"sample_rate_hz": "22050", "chunk_samples": "441"}

    with pytest.raises(InvalidRequest, match=r"expected samples \(n,\) float32, got \(2, 5\) float64"):
        detect_beats([Described()], np.zeros((2, 5)))  # type: ignore[list-item, arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("front", FRONTS)
def test_music_and_clicks_on_a_real_server(
    front: str, tmp_path: Path, cache_dir: Path, repository_of: Callable[..., Path]
) -> None:
    models = repository_of("beatnet")
    music = music_as_wav(MUSIC.fetch(cache_dir), tmp_path / "music.wav")

    with (
        running_server(models, tmp_path / "log", front=front) as server,
        Channel(server.target) as channel,
    ):
        client = InferenceClient(channel)
        drum = detect_beats(client, music)
        tracks = {tempo: click_track(tempo) for tempo in (90, 120, 150)}
        found = {tempo: detect_beats(client, samples) for tempo, (samples, _) in tracks.items()}

    # The drum's own name says 120 beats a minute.
    assert len(drum) in (19, 20)
    assert np.diff([beat.time_s for beat in drum]) == pytest.approx(0.5, abs=0.021)
    for tempo, (_, known_s) in tracks.items():
        times_s = [beat.time_s for beat in found[tempo]]
        # The first ones are heard before the model knows the tempo; from then on each is found, and none is made up.
        assert len(times_s) == pytest.approx(len(known_s), abs=2)
        for time_s in known_s[2:]:
            assert min(abs(time_s - other) for other in times_s) < 0.07, (tempo, time_s)
