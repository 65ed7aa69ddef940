"""A live voice on a fleet of servers: it survives the death of the one that recognizes it.

    chunks -> AudioLog -> a stream to one server -> updates: final results once and in order
                              |  with every final result, and at least every second, a token: the recognizer's state,
                              v  sealed, and the sample from which on audio is needed to go on
    the server dies, hands over or is full -> another stream, to the next server, with the last token and the audio
    from that sample on; results of utterances that were delivered are left out

Interim results may come again. Containers other than WAV are sent from their beginning again, because only the server
can count their samples.
"""

import random
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from collections.abc import Sequence as Items
from typing import Any

import grpc

from cuelight.client.audio_log import FINALIZE, AudioLog, Claim, Control
from cuelight.client.channel import Channel
from cuelight.client.errors import CuelightClientError, NotActive, Unavailable, error_from
from cuelight.client.retries import code_of, is_broken, pushback_of
from cuelight.client.server_choice import ServerChoice, SpeechResumePolicy
from cuelight.client.speech_options import RecognitionOptions, audio_message
from cuelight.client.transcripts import SpeechEvent, SpeechUpdate, events_from, result_from, started_from
from cuelight.client.wav_header import SniffedAudio
from cuelight.speech.v1 import speech_pb2 as pb

__all__ = ["SpeechStream", "is_passing", "retry_hint_s"]

_PATH = "/cuelight.speech.v1.SpeechService/StreamingRecognize"
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


class SpeechStream(Iterator[SpeechUpdate]):
    """An iterator of updates. Leave it early with `close`, or use it in a `with` block.

    One thread iterates and closes; any thread may `cancel`.
    """

    def __init__(
        self,
        channels: Items[Channel],
        chunks: Iterable[bytes | Control],
        config: pb.StreamingConfig,
        options: RecognitionOptions,
        policy: SpeechResumePolicy,
    ) -> None:
        self._channels = channels
        self._config = config
        self._policy = policy
        self._choice = ServerChoice(len(channels), policy)
        self._log = AudioLog(chunks, options.audio, policy.max_ahead_bytes, policy.max_kept_bytes)
        self._token = b""
        self._acknowledged = 0
        self._processed_ms = 0
        self._utterance = -1
        """The last utterance of which the final result was delivered."""
        self._last_event: SpeechEvent | None = None
        self._started = False
        self._call: Any = None
        self._cancelled = threading.Event()
        self.resumes = 0
        """How often the stream went on elsewhere, or anew on the same server."""
        self._updates: Generator[SpeechUpdate, None, None] = self._run()

    def __iter__(self) -> "SpeechStream":
        return self

    def __next__(self) -> SpeechUpdate:
        return next(self._updates)

    def __enter__(self) -> "SpeechStream":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the stream now, without waiting for results."""
        self._updates.close()

    def cancel(self) -> None:
        """Let the iteration end, wherever it waits, in whichever thread; results that have not come are lost."""
        self._cancelled.set()
        self._log.close()
        if (call := self._call) is not None:
            call.cancel()

    @property
    def address(self) -> str:
        """The server that recognizes at the moment."""
        return self._channels[self._choice.place].address

    def _run(self) -> Generator[SpeechUpdate, None, None]:
        self._log.start()
        try:
            while not self._cancelled.is_set():
                connection = _Connection(self._progress(), time.monotonic())
                try:
                    yield from self._connected(connection)
                except _Moved:
                    self._choice.progressed()
                    self._choice.failed(time.monotonic(), random.random())
                    self._turn(Unavailable("the server handed the stream over, and no other one takes it"))
                except grpc.RpcError as error:
                    self._after(error, connection)
                else:
                    return
                self.resumes += not self._cancelled.is_set()
        finally:
            self._log.close()

    def _progress(self) -> tuple[int, int, int]:
        return self._processed_ms, self._utterance, self._acknowledged

    def _after(self, error: grpc.RpcError, connection: "_Connection") -> None:
        """Go to the next server after a failure, or raise what it means."""
        if self._cancelled.is_set():
            return
        if (failure := self._log.failure()) is not None:
            raise failure from None
        now_s = time.monotonic()
        typed = Unavailable(str(error)) if isinstance(error, _EarlyEnd) else error_from(error)
        long = now_s - connection.opened_s >= self._policy.give_up_after_s
        if self._progress() > connection.progress or (connection.answered and long):
            self._choice.progressed()
        self._choice.failed(now_s, random.random(), retry_hint_s(error))
        forgotten = isinstance(typed, NotActive) and (connection.answered or not self._choice.all_failed)
        if not (is_passing(error) or forgotten):
            raise typed from None
        self._turn(typed)

    def _turn(self, error: CuelightClientError) -> None:
        """Wait for the next server's turn; raise the last failure where there is no next one."""
        if not self._log.holds(self._start()):
            message = f"{error.message}; and the audio since the last token is no longer kept (max_kept_bytes)"
            raise type(error)(message, error.code, error.request_id)
        wait_s = self._choice.turn(time.monotonic())
        if wait_s is None:
            raise error from None
        self._cancelled.wait(wait_s)

    def _start(self) -> int:
        """Return the position of the first byte that the next connection needs."""
        sniffed = self._log.sniffed_now
        return self._acknowledged * sniffed.frame_bytes if sniffed is not None else 0

    def _connected(self, connection: "_Connection") -> Iterator[SpeechUpdate]:
        """Run on one server until the audio ends (return), the server does (RpcError), or it sends us on (_Moved)."""
        claim = Claim(self._start())
        call = self._channels[self._choice.place].open_stream(
            _PATH, self._requests(claim), pb.StreamingRecognizeResponse, None
        )
        self._call = call
        try:
            if self._cancelled.is_set():
                return
            for response in call:
                connection.answered = True
                update = self._take(response)
                if update is not None:
                    yield update
                if response.handover:
                    raise _Moved
        finally:
            claim.over = True
            self._log.wake()
            call.cancel()
        if self._cancelled.is_set():
            return
        if (failure := self._log.failure()) is not None:
            raise failure
        if not self._log.all_sent(claim):
            raise _EarlyEnd

    def _requests(self, claim: Claim) -> Iterator[pb.StreamingRecognizeRequest]:
        sniffed = self._log.sniffed(claim)
        if sniffed is None:
            return
        yield pb.StreamingRecognizeRequest(config=self._config_now(sniffed))
        for piece in self._log.read(claim, self._policy.keep_alive_s):
            if isinstance(piece, bytes):
                yield pb.StreamingRecognizeRequest(audio=piece)
            elif piece is FINALIZE:
                yield pb.StreamingRecognizeRequest(control=pb.Control(finalize=pb.Finalize()))
            else:
                yield pb.StreamingRecognizeRequest(control=pb.Control(keep_alive=pb.KeepAlive()))

    def _config_now(self, sniffed: SniffedAudio) -> pb.StreamingConfig:
        config = pb.StreamingConfig()
        config.CopyFrom(self._config)
        config.recognition.audio.CopyFrom(audio_message(sniffed.format))
        config.resume_token = self._token
        config.restarted = bool(self._token) and sniffed.frame_bytes == 0
        return config

    def _take(self, response: pb.StreamingRecognizeResponse) -> SpeechUpdate | None:
        """Note how far the server is and return what is new to the caller, or None."""
        ended = any(result.is_final for result in response.results)
        results = tuple(result_from(result) for result in response.results if result.utterance > self._utterance)
        self._utterance = max([self._utterance, *(result.utterance for result in results if result.is_final)])
        if response.resume_token:
            self._token, self._acknowledged = response.resume_token, response.acknowledged_sample
            self._log.forget(self._start(), ended)
        events = self._new_events(events_from(response.events))
        started = started_from(response.started) if response.HasField("started") and not self._started else None
        self._started |= started is not None
        # A recognizer that decodes again and again tells with its results how far it is.
        processed_ms = max([response.processed_ms, *(result.end_ms for result in response.results)])
        further = processed_ms > self._processed_ms
        self._processed_ms = max(self._processed_ms, processed_ms)
        if not (results or events or started or further):
            return None
        return SpeechUpdate(results, events, self._processed_ms / 1000, started)

    def _new_events(self, events: tuple[SpeechEvent, ...]) -> tuple[SpeechEvent, ...]:
        new = []
        for event in events:
            last = self._last_event
            if last is None or event.at_s > last.at_s or (event.at_s == last.at_s and event != last):
                new.append(event)
                self._last_event = event
        return tuple(new)


def is_passing(error: grpc.RpcError) -> bool:
    """Whether the same call may succeed elsewhere, or later."""
    return isinstance(error, _EarlyEnd) or code_of(error) in _PASSING or is_broken(error)


def retry_hint_s(error: grpc.RpcError) -> float | None:
    """Return the seconds after which the server wants to be asked again, or None when it did not say."""
    hint_ms = pushback_of(error)
    return int(hint_ms) / 1000 if hint_ms is not None and hint_ms.isdecimal() else None


class _Connection:
    """What is known of one connection: since when it is open, how far the stream was, whether the server answered."""

    def __init__(self, progress: tuple[int, int, int], opened_s: float) -> None:
        self.progress = progress
        self.opened_s = opened_s
        self.answered = False


class _Moved(Exception):
    """The server shuts down and has handed the stream over."""


class _EarlyEnd(grpc.RpcError):
    """The server ended the stream as if the audio had ended."""

    def __str__(self) -> str:
        return "the server ended the stream before the audio did"
