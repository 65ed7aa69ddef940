"""The segmented recognizer: an encoder-decoder model in a version folder, and the voice detector it needs beside it."""

import asyncio
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from cuelight.server.errors import Overloaded, SequenceNotActive
from cuelight.server.inference.sequence_batch import SequenceState
from cuelight.server.speech.results import VoiceState
from cuelight.server.speech.segmented.engine import SpeechEngine
from cuelight.server.speech.segmented.moonshine import MoonshineModel
from cuelight.server.speech.segmented.segmentation import STEP_S, Segmenter, segment_rules
from cuelight.server.speech.segmented.tokenizer import Tokenizer, read_tokenizer
from cuelight.server.speech.segmented.voice import RATE_HZ, SegmentedVoice
from cuelight.server.speech.vad import Vad
from cuelight.server.speech.voice import Outbox, RecognizerFacts, VoiceOptions

__all__ = ["TOKENIZER_FILE", "OpenVad", "SegmentedRecognizer", "open_segmented"]

TOKENIZER_FILE = "tokenizer.bin"
_MOST_BEHIND_S = 1.0
_RETRY_AFTER_S = 1.0

OpenVad = Callable[[SequenceState | None], Vad]
"""Begins a voice detector, from a state if there is one. Raises: Overloaded, ModelNotReady."""


class SegmentedRecognizer:
    """A model and its engines, one a core; a voice stays with the engine that had the least to do when it began."""

    def __init__(
        self, engines: list[SpeechEngine], tokenizer: Tokenizer, open_vad: OpenVad, language: str, cost: float = 0.0
    ) -> None:
        self._engines = engines
        self._tokenizer = tokenizer
        self._open_vad = open_vad
        self._next = 0
        self._voices: set[SegmentedVoice] = set()
        self._left = asyncio.Event()
        self._closed = False
        self._facts = RecognizerFacts(
            family="moonshine",
            language=language,
            sample_rate_hz=RATE_HZ,
            chunk_s=STEP_S,
            segmented=True,
            word_times=False,
            elastic_cost=cost,
            trailing_silence_s=0.7,
        )

    @property
    def facts(self) -> RecognizerFacts:
        """What it can do."""
        return self._facts

    @property
    def engines(self) -> list[SpeechEngine]:
        """Its engines, for their figures."""
        return self._engines

    def text(self, tokens: Iterable[int]) -> str:
        """Return tokens of its model as text."""
        return self._tokenizer.text(tokens)

    def ignored(self, options: VoiceOptions) -> dict[str, str]:
        """Return what was asked for that the model cannot do, with the reason."""
        reasons = {}
        if options.word_times:
            reasons["word_times"] = "the model gives no times of words, only of utterances"
        if options.phrases:
            reasons["phrases"] = "the model decodes greedily and takes no phrases"
        if options.max_alternatives > 1:
            reasons["max_alternatives"] = "the model decodes greedily and gives one hypothesis"
        if options.beam:
            reasons["decoding_method"] = "the model decodes greedily"
        return reasons

    def open(self, options: VoiceOptions, outbox: Outbox, state: VoiceState | None = None) -> SegmentedVoice:
        """Begin a voice, or go on from `state` with the audio from its `start_sample` on.

        Raises: Overloaded, also while the text of those who speak is late; SequenceNotActive for a state of another
        form.
        """
        segmenter = _segmenter(options, state)
        engine = self._idlest()
        if options.live and engine.load and engine.turnaround_s > _MOST_BEHIND_S:
            raise Overloaded(f"text of live voices is {engine.turnaround_s:.1f} s behind", _RETRY_AFTER_S)
        vad = self._open_vad(state.sequence if state is not None else None)
        start, utterance = (state.start_sample, state.utterance) if state is not None else (0, 0)
        voice = SegmentedVoice(engine, self._tokenizer, vad, segmenter, options, outbox, self._leave, start, utterance)
        self._voices.add(voice)
        return voice

    async def outlive(self) -> None:
        """Return once every voice is closed, or the recognizer is."""
        while self._voices and not self._closed:
            self._left.clear()
            await self._left.wait()

    def _leave(self, voice: SegmentedVoice) -> None:
        self._voices.discard(voice)
        self._left.set()

    def _idlest(self) -> SpeechEngine:
        self._next += 1
        count = len(self._engines)
        at = min(range(count), key=lambda at: (self._engines[at].load, (at + self._next) % count))
        return self._engines[at]

    def close(self) -> None:
        """Free the model; voices that are still open fail with ShuttingDown."""
        self._closed = True
        self._left.set()
        for engine in self._engines:
            engine.close()


def open_segmented(
    directory: Path, open_vad: OpenVad, instances: int = 1, threads: int = 1, language: str = "en"
) -> SegmentedRecognizer:
    """Open the encoder, the decoder and the tokenizer of a version folder, once an instance. Takes about a second.

    Raises: ModelLoadError naming the file and the cause.
    """
    tokenizer = read_tokenizer(directory / TOKENIZER_FILE)
    models = [MoonshineModel.open(directory, threads) for _ in range(instances)]
    return SegmentedRecognizer([SpeechEngine(model, RATE_HZ) for model in models], tokenizer, open_vad, language)


def _segmenter(options: VoiceOptions, state: VoiceState | None) -> Segmenter:
    rules = segment_rules(options.endpointing, options.interim and options.live)
    if state is None:
        return Segmenter(rules)
    try:
        return Segmenter.restored(rules, state.recognizer)
    except (ValueError, KeyError, TypeError) as error:
        raise SequenceNotActive(f"the token holds no state of this recognizer: {json.dumps(str(error))}") from error
