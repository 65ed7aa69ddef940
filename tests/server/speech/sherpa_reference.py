"""What sherpa-onnx itself makes of audio, many streams decoded as one batch: the reference to differ from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import sherpa_onnx
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16000
Search = Literal["greedy_search", "modified_beam_search"]
Audio = NDArray[np.float32]


@dataclass(frozen=True)
class Recognized:
    """Tokens as tokens.txt has them but with a space for the word mark, and the second each begins at."""

    tokens: list[str]
    times: list[float]


def recognize(
    folder: Path, family: str, audio: Sequence[Audio], chunk_samples: int, search: Search = "greedy_search"
) -> list[Recognized]:
    """Feed every stream a chunk in turn and decode those that are ready together; no silence is added at the end."""
    recognizer = open_recognizer(folder, family, search)
    streams = [recognizer.create_stream() for _ in audio]
    for start in range(0, max(map(len, audio)), chunk_samples):
        for stream, samples in zip(streams, audio, strict=True):
            if start < len(samples):
                stream.accept_waveform(SAMPLE_RATE_HZ, samples[start : start + chunk_samples])
            if start + chunk_samples >= len(samples) > start:
                stream.input_finished()
        decode(recognizer, streams)
    return [Recognized(list(recognizer.tokens(each)), list(recognizer.timestamps(each))) for each in streams]


def recognize_utterances(
    folder: Path, family: str, audio: Audio, max_utterance_s: float, search: Search = "greedy_search"
) -> list[Recognized]:
    """Return one stream's utterances, each ended by its length, times from the start of the audio."""
    recognizer = open_recognizer(
        folder,
        family,
        search,
        enable_endpoint_detection=True,
        rule1_min_trailing_silence=1e6,
        rule2_min_trailing_silence=1e6,
        rule3_min_utterance_length=max_utterance_s,
    )
    stream = recognizer.create_stream()
    stream.accept_waveform(SAMPLE_RATE_HZ, audio)
    stream.input_finished()
    found = []
    while recognizer.is_ready(stream):
        recognizer.decode_stream(stream)
        if recognizer.is_endpoint(stream) or not recognizer.is_ready(stream):
            start_s = recognizer.start_time(stream)
            times = [start_s + time for time in recognizer.timestamps(stream)]
            found.append(Recognized(list(recognizer.tokens(stream)), times))
            recognizer.reset(stream)
    return found


def open_recognizer(folder: Path, family: str, search: Search, **options: Any) -> Any:
    tokens, model = str(folder / "tokens.txt"), str(folder / "model.onnx")
    if family == "nemo_ctc":
        return sherpa_onnx.OnlineRecognizer.from_nemo_ctc(tokens=tokens, model=model, num_threads=1, **options)
    if family == "zipformer2_ctc":
        return sherpa_onnx.OnlineRecognizer.from_zipformer2_ctc(tokens=tokens, model=model, num_threads=1, **options)
    return sherpa_onnx.OnlineRecognizer.from_transducer(
        tokens=tokens,
        encoder=model,
        decoder=str(folder / "decoder.onnx"),
        joiner=str(folder / "joiner.onnx"),
        num_threads=1,
        decoding_method=search,
        **options,
    )


def decode(recognizer: Any, streams: list[Any]) -> None:
    while ready := [stream for stream in streams if recognizer.is_ready(stream)]:
        recognizer.decode_streams(ready)


def speech_like(seconds: float, seed: int) -> Audio:
    """Return chords of 60 to 250 ms with pauses between them, over a little noise: no two seeds are alike."""
    generator = np.random.default_rng(seed)
    samples = generator.standard_normal(round(seconds * SAMPLE_RATE_HZ)) * 0.002
    place = 0
    while place < len(samples):
        count = min(round(generator.uniform(0.06, 0.25) * SAMPLE_RATE_HZ), len(samples) - place)
        time = np.arange(count) / SAMPLE_RATE_HZ
        for _ in range(3):
            tone = np.sin(2 * np.pi * generator.uniform(100, 4000) * time) * generator.uniform(0.02, 0.25)
            samples[place : place + count] += tone * np.hanning(count)
        place += count + round(generator.uniform(0.0, 0.15) * SAMPLE_RATE_HZ)
    return samples.astype(np.float32)
