"""How long recordings last, against libsndfile's own count, and that they are paced by it."""

from pathlib import Path

import numpy as np
import pytest

from cuelight.client.recording_files import duration_of, paced
from cuelight.client.speech_options import AudioFormat

soundfile = pytest.importorskip("soundfile")
NOISE = np.random.default_rng(7).normal(0, 0.1, 48_000).astype(np.float32)


@pytest.mark.parametrize(
    ("suffix", "subtype", "rate_hz"),
    [(".wav", "PCM_16", 16_000), (".wav", "ULAW", 8000), (".flac", "PCM_16", 22_050), (".ogg", "OPUS", 48_000)],
)
def test_a_file_tells_how_long_it_lasts(suffix: str, subtype: str, rate_hz: int, tmp_path: Path) -> None:
    path = tmp_path / f"audio{suffix}"
    soundfile.write(path, NOISE, rate_hz, subtype)

    duration_s = duration_of(path)

    assert duration_s == pytest.approx(48_000 / rate_hz, abs=0.001)
    assert duration_s == pytest.approx(soundfile.info(path).duration, abs=0.001)


def test_a_file_without_a_header_tells_with_the_caller_s_word(tmp_path: Path) -> None:
    path = tmp_path / "audio.raw"
    path.write_bytes(bytes(32_000))

    assert duration_of(path) is None
    assert duration_of(path, AudioFormat(16_000, "linear16")) == 1.0


@pytest.mark.parametrize("head", [b"", b"fLaC", b"OggS", b"OggS" + bytes(20) + b"OpusHead", b"RIFF"])
def test_a_file_that_is_cut_off_tells_nothing(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "audio"
    path.write_bytes(head)

    assert duration_of(path) is None


def test_no_piece_comes_before_it_would_have_been_spoken(tmp_path: Path) -> None:
    path = tmp_path / "audio.raw"
    path.write_bytes(bytes(range(250)) * 128)
    now_s = [100.0]

    def sleep(seconds: float) -> None:
        now_s[0] += seconds

    came = [(now_s[0], piece) for piece in paced(path, 2.0, 0.25, clock=lambda: now_s[0], sleep=sleep)]

    assert [round(when_s - 100.0, 6) for when_s, _ in came] == [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0]
    assert b"".join(piece for _, piece in came) == path.read_bytes()
