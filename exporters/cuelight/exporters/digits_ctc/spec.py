"""The export of the digit recogniser: one step of 160 ms in the shape of NeMo's streaming CTC models.

Any runtime of that family can take it; sherpa-onnx finds what it needs in the metadata without a prefix and in
`tokens.txt` beside the model. The weights are our own (see `train`) and come with this package.
"""

from pathlib import Path

import torch
from torch import Tensor

from cuelight.exporters.digits_ctc.features import MEL_BINS, SAMPLE_RATE_HZ
from cuelight.exporters.digits_ctc.model import (
    BLANK,
    CHUNK_FRAMES,
    HIDDEN,
    LAYERS,
    SUBSAMPLING,
    WORDS,
    StreamingDigitsCtc,
    load_checkpoint,
)
from cuelight.exporters.spec import Check, ExportSpec, StatePair

__all__ = ["SPEC", "assets", "build", "example", "metadata"]

_WORD_START = "\u2581"
"""Marks the start of a word in SentencePiece vocabularies."""


def build(cache_dir: Path) -> StreamingDigitsCtc:
    """Return one step of the trained network."""
    return StreamingDigitsCtc(load_checkpoint()).eval()


def example(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
    """Return features as loud as speech in a quiet room, and the state at the start of a stream."""
    state = (batch, LAYERS, 1, HIDDEN)
    return {
        "audio_signal": torch.randn((batch, MEL_BINS, CHUNK_FRAMES), generator=generator) * 4 - 9,
        "length": torch.full((batch,), CHUNK_FRAMES),
        "cache_last_channel": torch.zeros(state),
        "cache_last_time": torch.zeros(state),
        "cache_last_channel_len": torch.zeros((batch,), dtype=torch.int64),
    }


def metadata(cache_dir: Path) -> dict[str, str]:
    """Return what sherpa-onnx reads (without a prefix) and what our own server reads."""
    caches = {
        f"{cache}_dim{index}": str(size)
        for cache in ("cache_last_channel", "cache_last_time")
        for index, size in enumerate((LAYERS, 1, HIDDEN), 1)
    }
    return {
        "model_type": "EncDecCTCModelBPE",
        "normalize_type": "NA",
        "window_size": str(CHUNK_FRAMES),
        "chunk_shift": str(CHUNK_FRAMES),
        "subsampling_factor": str(SUBSAMPLING),
        "vocab_size": str(len(WORDS)),
        **caches,
        "cuelight.family": "nemo_ctc",
        "cuelight.language": "en",
        "cuelight.sample_rate_hz": str(SAMPLE_RATE_HZ),
    }


def assets(cache_dir: Path) -> dict[str, bytes]:
    """Return `tokens.txt`: a symbol and its number on each line, the blank last."""
    lines = [f"{_WORD_START}{word} {number}\n" for number, word in enumerate(WORDS)]
    return {"tokens.txt": "".join([*lines, f"<blk> {BLANK}\n"]).encode()}


SPEC = ExportSpec(
    name="digits_ctc",
    summary="LSTM with CTC, 160 ms of speech to the digits spoken in it",
    build=build,
    example=example,
    outputs=(
        "logprobs",
        "encoded_lengths",
        "cache_last_channel_next",
        "cache_last_time_next",
        "cache_last_channel_len_next",
    ),
    task="speech_recognition",
    max_batch_size=64,
    parity_batches=(1, 3, 16),
    parity_steps=20,
    golden_batches=(1, 3),
    atol=1e-4,
    rtol=1e-4,
    state=(
        StatePair("cache_last_channel", "cache_last_channel_next"),
        StatePair("cache_last_time", "cache_last_time_next"),
        StatePair("cache_last_channel_len", "cache_last_channel_len_next"),
    ),
    metadata=metadata,
    assets=assets,
    source="trained by Cuelight on the Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset) "
    "and on synthetic voices",
    license="CC-BY-SA-4.0",
    architecture="LSTM with CTC",
    check=Check(
        "word error on a speaker held out",
        "tests/exporters/test_digits_ctc.py::test_word_error_of_the_speaker_held_out_is_within_its_limit",
    ),
    int8_method="int8-dynamic",
)
