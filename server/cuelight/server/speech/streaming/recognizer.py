"""A streaming model as a recognizer: what it can do, and its voices."""

import itertools

from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.speech.decoding.ctc_beam import CtcBeamSearch
from cuelight.server.speech.decoding.ctc_greedy import CtcGreedySearch
from cuelight.server.speech.decoding.phrases import PhraseGraph
from cuelight.server.speech.decoding.tokens import TokenTable
from cuelight.server.speech.decoding.transducer import GreedyState
from cuelight.server.speech.decoding.transducer_beam import BeamState
from cuelight.server.speech.results import VoiceState
from cuelight.server.speech.streaming.front import AudioFront
from cuelight.server.speech.streaming.search import CtcSearch, TransducerSearch, VoiceSearch
from cuelight.server.speech.streaming.transducer_engine import TransducerEngine
from cuelight.server.speech.streaming.voice import StreamingVoice
from cuelight.server.speech.streaming_facts import StreamingFacts
from cuelight.server.speech.voice import Outbox, RecognizerFacts, VoiceOptions

__all__ = ["StreamingRecognizer"]


class StreamingRecognizer:
    """See `Recognizer`. Lives on the event loop, as long as its version serves."""

    def __init__(
        self, version: ModelVersion, facts: StreamingFacts, tokens: TokenTable, transducer: TransducerEngine | None
    ) -> None:
        assert version.sequences is not None and version.sequencing is not None
        self._sequences = version.sequences
        self._facts = facts
        self._tokens = tokens
        self._transducer = transducer
        self._numbers = itertools.count(1)
        self._constants = facts.constant_inputs()
        for engine in version.sequencing.engines:
            engine.front = AudioFront(facts)
        self.stepped = version
        """The version whose sequence a voice's state holds."""
        self.facts = RecognizerFacts(
            family=facts.family,
            language=facts.language,
            sample_rate_hz=facts.sample_rate_hz,
            chunk_s=facts.shift_samples / facts.sample_rate_hz,
            phrases=True,
            alternatives=True,
            integers=True,
        )

    def ignored(self, options: VoiceOptions) -> dict[str, str]:
        """See `Recognizer`."""
        unspelt = [phrase.text for phrase in options.phrases if self._tokens.encode(phrase.text) is None]
        if not unspelt:
            return {}
        return {"phrases": f"the model has no tokens for {', '.join(unspelt)}"}

    def open(self, options: VoiceOptions, outbox: Outbox, state: VoiceState | None = None) -> StreamingVoice:
        """See `Recognizer`."""
        search = self._search(options)
        # Callers of ModelInfer name their sequences themselves; a NUL is not in any name that comes by the wire.
        name = f"\0voice {next(self._numbers)}"
        return StreamingVoice(
            name, self._sequences, self._facts, self._tokens, search, options, outbox, self._constants, state
        )

    def _search(self, options: VoiceOptions) -> VoiceSearch:
        phrases = [(ids, each.boost) for each in options.phrases if (ids := self._tokens.encode(each.text)) is not None]
        wants_beam = bool(phrases) or options.max_alternatives > 1
        beam = wants_beam if options.beam is None else options.beam
        graph = PhraseGraph(phrases) if phrases else None
        output = self._facts.output
        if self._transducer is not None:
            size, unknown = self._facts.context_size, self._tokens.unknown
            state = BeamState(size, unknown, graph) if beam else GreedyState(size, unknown)
            return TransducerSearch(self._transducer, state, output)
        blank = self._tokens.blank
        return CtcSearch(CtcBeamSearch(blank, graph=graph) if beam else CtcGreedySearch(blank), output)
