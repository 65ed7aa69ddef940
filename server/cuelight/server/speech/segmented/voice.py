"""One stream: audio is cut by the voice detector, and what it cuts is decoded while more audio comes.

    accept -> window -> voice detector -> segmenter -> segments, in order -> decoding task -> outbox

The decoding task belongs to the voice and takes the first segment. While that is open it decodes the growing window
again and again, each time from where the hypotheses agree, at an interval that widens when the engine is slow. Once
closed it is decoded for the last time, unless the last decode has heard all of its speech already. The task starts with
the voice's first audio and ends with `finish` or `close`; if it fails, the next call on the voice raises its error.

`accept` waits while more than `MAX_AHEAD_S` of closed segments wait to be decoded.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from cuelight.server.inference.sequence_batch import SequenceState
from cuelight.server.speech.results import Hypothesis, Result, SpeechEvent, Update, VoiceState
from cuelight.server.speech.segmented.agreement import Agreement
from cuelight.server.speech.segmented.audio_window import AudioWindow
from cuelight.server.speech.segmented.decoding import Transcript
from cuelight.server.speech.segmented.engine import SpeechEngine, Urgency
from cuelight.server.speech.segmented.hearing import Hearing
from cuelight.server.speech.segmented.segmentation import SegmentChange, Segmenter
from cuelight.server.speech.segmented.tokenizer import Tokenizer
from cuelight.server.speech.vad import CHUNK_SAMPLES, Vad
from cuelight.server.speech.voice import Outbox, Samples, VoiceOptions

__all__ = ["MAX_AHEAD_S", "SegmentedVoice"]

RATE_HZ = 16_000
MAX_AHEAD_S = 30.0
_LOAD_FACTOR = 3.0
"""The next window comes after so many times what the last ones took. An engine that is asked for more than it can do
works all the time whatever this is, but only a third of the voices then stand in its queue."""
_LONG_WINDOW_S = 5.0
"""A longer window is decoded again less often in proportion, so that a long utterance costs no more a second."""
_TAIL_SAMPLES = 9 * CHUNK_SAMPLES
"""Of the silence behind speech, what the model hears: enough to tell that a word is over."""
_FIRST_WINDOW_S = 0.4
_ONE_SAMPLE_S = 1 / RATE_HZ
_STABLE, _UNSTABLE = 0.9, 0.2


@dataclass(slots=True)
class _Segment:
    """A stretch of audio in samples; `end` None while it grows. `heard` is where the last decode's window ended."""

    start: int
    agreement: Agreement
    end: int | None = None
    speech_end: int = 0
    heard: int = 0
    last: Transcript | None = None
    state: VoiceState | None = None
    hearing: Hearing = field(default_factory=Hearing)
    cut: bool = False
    """Whether it was cut in the middle of speech."""


@dataclass(slots=True)
class _Marks:
    """How far the voice is, in samples and utterances."""

    fed: int = 0
    utterance: int = 0
    told_state: int = 0


class SegmentedVoice:
    """One stream of audio. Belongs to the task that reads it; its decoding task shares its state on the same loop."""

    def __init__(
        self,
        engine: SpeechEngine,
        tokenizer: Tokenizer,
        vad: Vad,
        segmenter: Segmenter,
        options: VoiceOptions,
        outbox: Outbox,
        closed: "Callable[[SegmentedVoice], None]" = lambda voice: None,
        start_sample: int = 0,
        utterance: int = 0,
    ) -> None:
        """`segmenter` counts steps from the beginning of the stream, of which audio comes from `start_sample` on.

        `closed` is told of the voice's end."""
        self._engine = engine
        self._tokenizer = tokenizer
        self._vad = vad
        self._segmenter = segmenter
        self._options = options
        self._outbox = outbox
        self._closed = closed
        self._window = AudioWindow(start_sample)
        self._marks = _Marks(fed=segmenter.step * CHUNK_SAMPLES, utterance=utterance)
        self._marks.told_state = self._marks.fed
        self._segments: deque[_Segment] = deque()
        if segmenter.start is not None:
            self._segments.append(self._new_segment(segmenter.start))
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._task: asyncio.Task[None] | None = None
        self._interim: asyncio.Future[Transcript] | None = None
        """A decode that nobody needs once its segment is closed."""

    async def accept(self, samples: Samples) -> None:
        """Take samples (n,) float32 at 16 kHz, full scale 1; wait while too much audio is undecoded."""
        await self._step(samples)
        while self._waiting_s() > MAX_AHEAD_S:
            self._drained.clear()
            self._changed.set()
            await self._until_drained()

    async def finalize(self) -> None:
        """End the utterance now and return when its final result is in the outbox."""
        if self._segmenter.start is not None:
            await self._apply(self._segmenter.close())
        await self._settle()

    async def finish(self) -> None:
        """Recognize the tail and return when the last result is in the outbox."""
        processed_s = self._window.end / RATE_HZ
        await self._take_rest()
        await self.finalize()
        await self._put(Update(processed_s=processed_s))
        self.close()

    def keep_alive(self) -> None:
        """Stay, though no audio comes."""
        self._vad.keep_alive()

    def close(self) -> None:
        """Let everything go. May be called twice."""
        self._closed(self)
        self._vad.close()
        if self._task is not None:
            self._task.cancel()

    # Audio: voice detector and segments.

    async def _step(self, samples: Samples) -> None:
        self._raise_failure()
        self._window.append(samples)
        steps = (self._window.end - self._marks.fed) // CHUNK_SAMPLES
        if steps <= 0:
            return
        audio = self._window.read(self._marks.fed, self._marks.fed + steps * CHUNK_SAMPLES)
        chunks = audio.reshape(steps, CHUNK_SAMPLES)
        # The state at a cut is that of this very step, so whoever resumes must not step ahead of it.
        stride = 1 if self._options.token_interval_s is not None else steps
        for first in range(0, steps, stride):
            await self._detect(chunks[first : first + stride])
        if not self._segments:
            self._window.drop(self._segmenter.needed_from * CHUNK_SAMPLES)
        self._wake()

    async def _detect(self, chunks: Samples) -> None:
        for probability in await self._vad.probabilities(chunks):
            self._marks.fed += CHUNK_SAMPLES
            for change in self._segmenter.push(probability):
                await self._apply(change)
            if self._segments and self._segments[-1].end is None:
                self._segments[-1].speech_end = self._segmenter.speech_end * CHUNK_SAMPLES
        await self._tell_progress()

    async def _apply(self, change: SegmentChange) -> None:
        at = change.step * CHUNK_SAMPLES
        if change.kind == "started":
            self._segments.append(self._new_segment(change.step))
            await self._event("started", change.speech_step * CHUNK_SAMPLES)
            return
        segment = self._segments[-1]
        segment.end = min(at, self._window.end)
        segment.speech_end = min(change.speech_step * CHUNK_SAMPLES, segment.end)
        if change.kind == "ended":
            await self._event("ended", segment.speech_end)
        segment.state = await self._state()
        segment.cut = change.kind == "cut"
        if self._interim is not None:
            self._interim.cancel()
        if segment.cut:
            self._segments.append(self._new_segment(change.step))
        self._wake()

    async def _take_rest(self) -> None:
        """Step the voice detector over what does not fill a chunk, filled up with silence."""
        rest = self._window.end - self._marks.fed
        if rest > 0:
            await self._step(np.zeros(CHUNK_SAMPLES - rest, np.float32))

    def _new_segment(self, step: int) -> _Segment:
        return _Segment(step * CHUNK_SAMPLES, Agreement(self._tokenizer.begins_word))

    # State, progress, events.

    async def _state(self) -> VoiceState | None:
        """Return where another server can go on once all segments up to here are told; None if nobody asks."""
        if self._options.token_interval_s is None:
            return None
        vad: SequenceState | None = await self._vad.state()
        start = max(self._segmenter.needed_from * CHUNK_SAMPLES, self._window.start)
        return VoiceState(start, 0, vad, json.dumps(self._segmenter.snapshot()).encode())

    async def _tell_progress(self) -> None:
        """In silence, say from time to time that the audio so far is done with."""
        interval_s = self._options.token_interval_s
        if interval_s is None or self._segments or self._segmenter.start is not None:
            return
        if self._marks.fed - self._marks.told_state >= interval_s * RATE_HZ:
            await self._put(Update(processed_s=self._marks.fed / RATE_HZ, state=self._numbered(await self._state())))

    def _numbered(self, state: VoiceState | None) -> VoiceState | None:
        if state is None:
            return None
        self._marks.told_state = self._marks.fed
        return VoiceState(state.start_sample, self._marks.utterance, state.sequence, state.recognizer)

    async def _event(self, kind: Literal["started", "ended"], sample: int) -> None:
        if self._options.events:
            event = SpeechEvent(kind, sample / RATE_HZ)
            await self._put(Update(events=(event,), processed_s=self._window.start / RATE_HZ))

    async def _put(self, update: Update) -> None:
        await self._outbox.put(update)

    # Decoding.

    def _wake(self) -> None:
        if self._segments:
            self._drained.clear()
            self._changed.set()
            if self._task is None:
                self._task = asyncio.create_task(self._decode_segments())

    async def _settle(self) -> None:
        """Wait until every closed segment is told."""
        self._wake()
        while any(segment.end is not None for segment in self._segments):
            self._drained.clear()
            await self._until_drained()
        self._raise_failure()

    async def _until_drained(self) -> None:
        """Wait for the decoding task to tell a segment, or to fail."""
        assert self._task is not None
        waiting = asyncio.ensure_future(self._drained.wait())
        try:
            await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()

    def _waiting_s(self) -> float:
        return sum(segment.end - segment.start for segment in self._segments if segment.end is not None) / RATE_HZ

    async def _decode_segments(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._segments:
                segment = self._segments[0]
                if segment.end is not None:
                    await self._tell_final(segment)
                elif self._interim_is_due(segment):
                    await self._tell_interim(segment)
                else:
                    break

    def _heard_end(self, segment: _Segment) -> int:
        """Where the window ends that holds all of the segment's speech there is by now."""
        end = segment.end if segment.end is not None else self._marks.fed
        return end if segment.cut else min(end, segment.speech_end + _TAIL_SAMPLES)

    def _interim_is_due(self, segment: _Segment) -> bool:
        if not self._options.interim:
            return False
        end = self._heard_end(segment)
        if segment.last is None:
            return end - segment.start >= _FIRST_WINDOW_S * RATE_HZ
        longer = max(1.0, (end - segment.start) / RATE_HZ / _LONG_WINDOW_S)
        interval_s = max(self._engine.interval_s * longer, _LOAD_FACTOR * self._engine.turnaround_s)
        return end - segment.heard >= (_ONE_SAMPLE_S if self._is_silent(segment) else interval_s) * RATE_HZ

    def _is_silent(self, segment: _Segment) -> bool:
        """Whether speech has stopped for now, so that the window holds all that the final result will need."""
        return self._heard_end(segment) == segment.speech_end + _TAIL_SAMPLES

    async def _decode(self, segment: _Segment, urgency: int, withdrawable: bool = False) -> Transcript | None:
        """Decode what there is of a segment; None when that was withdrawn."""
        end, agreement = self._heard_end(segment), segment.agreement
        samples = self._window.read(segment.start, end)
        stable = len(agreement.stable)
        future = self._engine.transcribe(samples, agreement.latest, stable, urgency, segment.hearing)
        self._interim = future if withdrawable else None
        try:
            await asyncio.wait({future})
        finally:
            self._interim = None
            future.cancel()
        if future.cancelled():
            return None
        transcript = future.result()
        agreement.push(transcript.tokens)
        segment.heard, segment.last = end, transcript
        return transcript

    async def _tell_interim(self, segment: _Segment) -> None:
        silent = self._is_silent(segment)
        urgency = Urgency.FINAL if silent else Urgency.INTERIM
        transcript = await self._decode(segment, urgency if self._options.live else Urgency.RECORDING, not silent)
        if transcript is not None and transcript.tokens and segment.end is None:
            results = self._interims(segment, transcript)
            await self._put(Update(results=results, processed_s=segment.start / RATE_HZ))

    def _interims(self, segment: _Segment, transcript: Transcript) -> tuple[Result, ...]:
        stable = self._tokenizer.text(segment.agreement.stable)
        rest = self._tokenizer.text(transcript.tokens[len(segment.agreement.stable) :])
        times = (segment.start / RATE_HZ, segment.heard / RATE_HZ, self._marks.utterance)
        parts = [(stable, _STABLE)] if stable else []
        parts += [(rest, _UNSTABLE)] if rest else []
        return tuple(
            Result((Hypothesis(text, transcript.confidence),), False, *times, stability=stability)
            for text, stability in parts
        )

    async def _tell_final(self, segment: _Segment) -> None:
        transcript = segment.last
        if transcript is None or segment.heard != self._heard_end(segment):
            transcript = await self._decode(segment, Urgency.FINAL if self._options.live else Urgency.RECORDING)
            assert transcript is not None
        text = self._tokenizer.text(transcript.tokens)
        assert segment.end is not None
        times = (segment.start / RATE_HZ, max(segment.start, segment.speech_end) / RATE_HZ, self._marks.utterance)
        results = (Result((Hypothesis(text, transcript.confidence),), True, *times),) if text else ()
        self._marks.utterance += len(results)
        self._segments.popleft()
        self._window.drop(self._segments[0].start if self._segments else self._needed_from())
        await self._put(Update(results, (), segment.end / RATE_HZ, self._numbered(segment.state)))
        self._drained.set()

    def _needed_from(self) -> int:
        return self._segmenter.needed_from * CHUNK_SAMPLES
