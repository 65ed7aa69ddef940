"""One voice on a streaming model: audio -> windows -> steps of a sequence -> search -> endpoints -> results.

The voice's audio is cut into *runs*. A run begins at the start, and anew where the caller ended an utterance by hand:
there the model was shown silence that is not in the audio, so that the last word came out. Frames count from the run's
start, times from that of the audio. A step that was cancelled never happened, so the voice's own state is touched only
after it.
"""

import json
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from cuelight.server.errors import SequenceNotActive
from cuelight.server.inference.sequence_batch import SequenceState
from cuelight.server.inference.sequence_batcher import SequenceBatcher
from cuelight.server.inference.sequences import Owner, SequenceId
from cuelight.server.speech.audio import AnySamples
from cuelight.server.speech.decoding import RunningText, TokenTable, hypotheses_of
from cuelight.server.speech.endpointing import EndAnnounced, Endpointer, EndpointEvent, UtteranceEnded, UtteranceStarted
from cuelight.server.speech.features import FrameWindows
from cuelight.server.speech.results import Hypothesis, Result, SpeechEvent, Update, VoiceState, Word
from cuelight.server.speech.streaming.front import AUDIO_GROUP
from cuelight.server.speech.streaming.search import VoiceSearch
from cuelight.server.speech.streaming_facts import StreamingFacts
from cuelight.server.speech.voice import Outbox, VoiceOptions

__all__ = ["StreamingVoice"]

_TAIL_S = 0.66
"""Silence after the last sample, so that what the model still holds back comes out: what sherpa-onnx's clients add."""
_SEQUENCES = 8
"""Sequences of tokens that are looked at for alternatives: several may spell the same words."""
_INTERIM_STABILITY = 0.9
"""A greedy search never takes a token back; a word may still grow."""


class StreamingVoice:
    """See `Voice`. Owned by the task that reads its stream."""

    def __init__(
        self,
        sequence_id: SequenceId,
        sequences: SequenceBatcher,
        facts: StreamingFacts,
        tokens: TokenTable,
        search: VoiceSearch,
        options: VoiceOptions,
        outbox: Outbox,
        constants: dict[str, NDArray[Any]],
        state: VoiceState | None = None,
    ) -> None:
        """`constants` are the model's other inputs, the same in every step."""
        self._id = sequence_id
        self._sequences = sequences
        self._facts = facts
        self._tokens = tokens
        self._text = RunningText(tokens)
        self._search = search
        self._options = options
        self._outbox = outbox
        self._owner = Owner()
        self._constants = constants
        self._endpointer = Endpointer(options.endpointing, facts.frame_s)
        self._windows = FrameWindows()
        self._window_samples = facts.window_frames * self._windows.shift_samples
        self._run_sample = 0
        """The sample of the audio at which the run begins."""
        self._taken = 0
        """Samples of the audio that were accepted."""
        self._frame = 0
        """Output frames of the run so far."""
        self._utterance = 0
        self._utterance_frame = 0
        """The run's output frame at which the utterance begins."""
        self._flushing = False
        """Whether what is run is silence of ours: nothing of it may be acknowledged."""
        self._begun = False
        self._state: SequenceState | None = None
        self._told = 0
        """How many tokens the last interim result had."""
        self._token_due_s = options.token_interval_s
        if state is not None:
            self._restore(state)

    async def accept(self, samples: AnySamples) -> None:
        """See `Voice`."""
        self._windows.push(samples)
        self._taken += len(samples)
        await self._run()

    async def finalize(self) -> None:
        """See `Voice`."""
        await self._flush()
        results, events = self._conclude(self._frame - self._utterance_frame)
        self._run_sample, self._frame, self._utterance_frame = self._taken, 0, 0
        self._windows = FrameWindows()
        # Only now: a token of before would speak of samples that were silence of ours.
        state = await self._resumable_state()
        await self._outbox.put(Update(results, events, self._taken_s, state))

    async def finish(self) -> None:
        """See `Voice`."""
        await self._flush()
        results, events = self._conclude(self._frame - self._utterance_frame)
        await self._outbox.put(Update(results, events, self._taken_s))

    def keep_alive(self) -> None:
        """See `Voice`."""
        self._sequences.touch(self._id)

    def close(self) -> None:
        """See `Voice`."""
        for sequence in list(self._owner.sequences):
            self._sequences.release(sequence)

    @property
    def _taken_s(self) -> float:
        return self._taken / self._facts.sample_rate_hz

    async def _flush(self) -> None:
        """Run what was accepted to its end, with silence behind it."""
        if self._taken == self._run_sample:
            return
        self._windows.push_silence(round(_TAIL_S * self._facts.sample_rate_hz) + self._window_samples)
        self._flushing = True
        try:
            await self._run()
        finally:
            self._flushing = False

    async def _run(self) -> None:
        while self._windows.ready >= self._facts.window_frames:
            await self._step()

    async def _step(self) -> None:
        facts = self._facts
        audio = self._windows.span(facts.window_frames)
        due = self._token_due_s is not None and self._taken_s >= self._token_due_s
        wants_state = due and not self._flushing
        result = await self._sequences.submit(
            self._id,
            {facts.audio_input: audio[None], **self._constants},
            start=not self._begun and self._state is None,
            owner=self._owner,
            state=None if self._begun else self._state,
            wants_state=wants_state,
            group=AUDIO_GROUP,
        )
        self._begun = True
        self._windows.drop(facts.shift_frames)
        searching = self._search.advance(result.outputs)
        if searching is not None:
            await searching
        speech = self._search.chunk_speech
        self._frame += len(speech)
        await self._report(self._endpointer.advance(speech, self._search.trailing_blank_frames), result.state)

    async def _report(self, events: tuple[EndpointEvent, ...], state: SequenceState | None) -> None:
        told: tuple[SpeechEvent, ...] = ()
        announced = False
        for event in events:
            if isinstance(event, UtteranceStarted):
                told += (SpeechEvent("started", self._time_s(event.frame)),)
            elif isinstance(event, EndAnnounced):
                announced = True
            elif isinstance(event, UtteranceEnded):
                await self._end_utterance(event.frame, event.speech_end, told)
                return
        results = self._interim(announced) if self._options.interim else ()
        resumable = None
        if state is not None:
            self._next_token()
            resumable = self._voice_state(state)
        told = told if self._options.events else ()
        if results or told or resumable is not None:
            await self._outbox.put(Update(results, told, self._taken_s, resumable))

    def _interim(self, announced: bool) -> tuple[Result, ...]:
        tokens = self._search.tokens()
        if not tokens or (len(tokens) == self._told and not announced):
            return ()
        self._told = len(tokens)
        text = self._text.of(tokens)
        end_s = self._time_s(self._frame - self._utterance_frame)
        stability = 1.0 if announced else _INTERIM_STABILITY
        return (Result((Hypothesis(text),), False, self._time_s(0), end_s, self._utterance, stability),)

    async def _end_utterance(
        self, frame: int, speech_end: int | None = None, events: tuple[SpeechEvent, ...] = ()
    ) -> None:
        """Tell the final result of an utterance of `frame` frames, if it holds anything, and begin the next."""
        results, events = self._conclude(frame, speech_end, events)
        state = await self._resumable_state() if results and not self._flushing else None
        if results or events:
            await self._outbox.put(Update(results, events, self._taken_s, state))

    def _conclude(
        self, frame: int, speech_end: int | None = None, events: tuple[SpeechEvent, ...] = ()
    ) -> tuple[tuple[Result, ...], tuple[SpeechEvent, ...]]:
        """Return what there is to tell of an utterance that ends, and begin the next."""
        hypotheses = self._hypotheses()
        results: tuple[Result, ...] = ()
        if hypotheses:
            results = (Result(hypotheses, True, self._time_s(0), self._time_s(frame), self._utterance),)
            self._utterance += 1
        if self._endpointer.decoded_anything:
            end = frame - self._endpointer.trailing_silence_frames if speech_end is None else speech_end
            events = (*events, SpeechEvent("ended", self._time_s(end)))
        self._search.reset()
        self._endpointer.reset()
        self._utterance_frame, self._told = self._frame, 0
        return results, events if self._options.events else ()

    def _hypotheses(self) -> tuple[Hypothesis, ...]:
        """Return what may have been said in the utterance, the best first; nothing where nothing was."""
        options, offset_s = self._options, self._time_s(0)
        found = [decoded for decoded in self._search.best(_SEQUENCES, final=True) if decoded.ids]
        if not found:
            return ()
        hypotheses = hypotheses_of(
            found, self._tokens, self._facts.frame_s, offset_s, options.max_alternatives, options.word_times
        )
        return tuple(
            replace(each, words=tuple(_not_after(word, self._taken_s) for word in each.words)) for each in hypotheses
        )

    def _time_s(self, frame: int) -> float:
        """Return when a frame of the utterance is, in seconds of the audio; no later than what was accepted."""
        run_s = self._run_sample / self._facts.sample_rate_hz
        return min(run_s + (self._utterance_frame + frame) * self._facts.frame_s, max(self._taken_s, run_s))

    async def _resumable_state(self) -> VoiceState | None:
        if self._options.token_interval_s is None or not self._begun:
            return None
        state = (await self._sequences.export(self._id, self._owner)).state
        assert state is not None
        self._next_token()
        return self._voice_state(state)

    def _next_token(self) -> None:
        if self._options.token_interval_s is not None:
            self._token_due_s = self._taken_s + self._options.token_interval_s

    def _voice_state(self, sequence: SequenceState) -> VoiceState:
        recognizer = {
            "run_sample": self._run_sample,
            "windows": self._windows.frames_dropped,
            "frame": self._frame,
            "utterance_frame": self._utterance_frame,
            "told": self._told,
            "search": self._search.snapshot(),
            "endpointer": self._endpointer.snapshot(),
        }
        start = self._run_sample + self._windows.first_sample_needed
        return VoiceState(start, self._utterance, sequence, json.dumps(recognizer).encode())

    def _restore(self, state: VoiceState) -> None:
        try:
            known: dict[str, Any] = json.loads(state.recognizer)
            self._run_sample = known["run_sample"]
            self._windows = FrameWindows.at(known["windows"])
            self._frame, self._utterance_frame = known["frame"], known["utterance_frame"]
            self._told = known["told"]
            self._search.restore(known["search"])
            self._endpointer.restore(known["endpointer"])
        except (ValueError, KeyError, TypeError) as error:
            raise SequenceNotActive(f"resume_token: of another form than this model's: {error}") from error
        self._utterance = state.utterance
        self._state = state.sequence
        self._taken = state.start_sample
        self._next_token()


def _not_after(word: Word, end_s: float) -> Word:
    """Return the word with times no later than the audio's end: a model may tell its last words in what follows."""
    if word.end_s <= end_s:
        return word
    return replace(word, start_s=min(word.start_s, end_s), end_s=end_s)
