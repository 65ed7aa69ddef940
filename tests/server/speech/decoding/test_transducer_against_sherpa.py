"""Both transducer searches and the endpoints, chunk by chunk, against sherpa-onnx running the same model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuelight.server.speech.decoding.phrases import PhraseGraph
from cuelight.server.speech.decoding.transducer import GreedyState, greedy
from cuelight.server.speech.decoding.transducer_beam import BeamState, modified_beam
from cuelight.server.speech.endpoint_rules import EndpointRules
from cuelight.server.speech.endpointing import Endpointer
from tests.server.speech.decoding.scripted_transducer import (
    CHUNK_FRAMES,
    CONTEXT,
    FEATURES_A_FRAME,
    SYMBOLS,
    UNKNOWN,
    ScriptedTransducer,
)

sherpa_onnx = pytest.importorskip("sherpa_onnx", reason="sherpa-onnx is not installed", exc_type=ImportError)

RULES = EndpointRules(silence_s=0.6, trailing_silence_s=0.2, max_utterance_s=3.0)
CHUNKS = 60
FRAME_S = 0.04
RATE_HZ = 16_000


@dataclass(frozen=True)
class Said:
    """What a recognizer has at the end of a chunk."""

    tokens: list[str]
    frames: list[int]
    log_probs: list[float]
    ended: bool


def sherpa(folder: Path, method: str, hotwords: str = "") -> list[Said]:
    """Return what sherpa-onnx says after each chunk; it is reset where it finds an endpoint."""
    recognizer = sherpa_onnx.OnlineRecognizer.from_transducer(
        **{part: str(folder / f"{part}.onnx") for part in ("encoder", "decoder", "joiner")},
        tokens=str(folder / "tokens.txt"),
        num_threads=1,
        enable_endpoint_detection=True,
        rule1_min_trailing_silence=RULES.silence_s,
        rule2_min_trailing_silence=RULES.trailing_silence_s,
        rule3_min_utterance_length=RULES.max_utterance_s,
        decoding_method=method,
    )
    stream = recognizer.create_stream(hotwords) if hotwords else recognizer.create_stream()
    features = CHUNKS * CHUNK_FRAMES * FEATURES_A_FRAME
    stream.accept_waveform(RATE_HZ, np.zeros((features + 5) * RATE_HZ // 100, np.float32))
    said = []
    for _ in range(CHUNKS):
        assert recognizer.is_ready(stream)
        recognizer.decode_stream(stream)
        result, ended = recognizer.get_result_all(stream), recognizer.is_endpoint(stream)
        frames = [round(seconds / FRAME_S) for seconds in result.timestamps]
        said.append(Said(list(result.tokens), frames, list(result.ys_probs), ended))
        if ended:
            recognizer.reset(stream)
    return said


def ours(model: ScriptedTransducer, method: str, graph: PhraseGraph | None = None) -> list[Said]:
    state: Any = GreedyState(CONTEXT, UNKNOWN) if method == "greedy_search" else BeamState(CONTEXT, UNKNOWN, graph)
    search: Any = greedy if method == "greedy_search" else modified_beam
    endpointer = Endpointer(RULES, FRAME_S)
    said = []
    for chunk in range(CHUNKS):
        frames = model.table[np.newaxis, chunk * CHUNK_FRAMES : (chunk + 1) * CHUNK_FRAMES]
        search([state], frames, model.joiner, model.decoder)
        endpointer.advance(state.chunk_speech, state.trailing_blank_frames)
        [best] = state.best(1)
        tokens = [SYMBOLS[id_] for id_ in best.ids]
        said.append(Said(tokens, list(best.frames), list(best.log_probs), endpointer.ended))
        if endpointer.ended:
            state.reset()
            endpointer.reset()
    return said


def assert_same(found: list[Said], expected: list[Said]) -> None:
    for chunk, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert (one.tokens, one.frames, one.ended) == (other.tokens, other.frames, other.ended), f"chunk {chunk}"
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4), f"chunk {chunk}"
    assert sum(said.ended for said in found) >= 2, "the model is to pause"
    assert sum(bool(said.tokens) for said in found) >= CHUNKS // 3, "the model is to speak"


@pytest.mark.parametrize("method", ["greedy_search", "modified_beam_search"])
@pytest.mark.parametrize("seed", range(3))
def test_every_chunk_says_the_same_and_ends_the_same(tmp_path: Path, method: str, seed: int) -> None:
    model = ScriptedTransducer.random(CHUNKS * CHUNK_FRAMES, seed, blank=2.5)
    model.save(tmp_path)

    assert_same(ours(model, method), sherpa(tmp_path, method))


@pytest.mark.parametrize("seed", range(3))
def test_phrases_are_boosted_the_same(tmp_path: Path, seed: int) -> None:
    model = ScriptedTransducer.random(CHUNKS * CHUNK_FRAMES, seed, blank=2.5)
    model.save(tmp_path)
    graph = PhraseGraph([((2, 3, 4), 1.5), ((3, 5), 1.5), ((4, 2, 2), 1.5)])

    boosted = ours(model, "modified_beam_search", graph)

    assert_same(boosted, sherpa(tmp_path, "modified_beam_search", "一二三/二四/三一一"))
    assert boosted != ours(model, "modified_beam_search"), "the phrases are to matter"
