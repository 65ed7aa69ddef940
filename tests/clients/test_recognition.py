"""`SpeechClient` against servers that misbehave on purpose: each final result comes once, and no byte is lost."""

import threading
import time
import wave
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuelight.client import (
    FINALIZE,
    AudioFormat,
    Channel,
    Control,
    InvalidRequest,
    NotActive,
    Overloaded,
    RecognitionOptions,
    ServerError,
    SpeechClient,
    SpeechResumePolicy,
    SpeechStream,
    Unavailable,
)
from tests.clients.fake_speech import (
    CHUNK_SAMPLES,
    MAGIC,
    Context,
    FakeSpeech,
    Trouble,
    expected_texts,
    once_at,
    served,
)

RAW = RecognitionOptions(audio=AudioFormat(16_000, "linear16"))
QUICK = SpeechResumePolicy(give_up_after_s=5.0, max_backoff_s=0.05)
AUDIO = bytes(index * 7 % 251 for index in range(2 * 8000))


def chunks_of(audio: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(audio), size):
        yield audio[start : start + size]


def finals(stream: SpeechStream) -> list[str]:
    return [result.text for update in stream for result in update.finals]


def covered(*fakes: FakeSpeech) -> bytes:
    """Put together what the servers took, by position; where two took the same they must have had the same."""
    whole = bytearray()
    for position, chunk in sorted(taken for fake in fakes for taken in fake.taken):
        assert position <= len(whole), "bytes are missing"
        overlap = whole[position : position + len(chunk)]
        assert chunk[: len(overlap)] == bytes(overlap)
        whole[position:] = whole[position : position + 0] + chunk + bytes(whole[position + len(chunk) :])
    return bytes(whole)


def cut(sample: int, context: Context) -> str | None:
    context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


def handover(sample: int, context: Context) -> str | None:
    return "handover"


def test_an_undisturbed_stream_tells_all_that_was_said() -> None:
    fake = FakeSpeech()
    with served(fake) as (channel, _):
        stream = SpeechClient(channel).stream(chunks_of(AUDIO, 333), model="sums", options=RAW, events=True)
        updates = list(stream)

    assert [result.text for update in updates for result in update.finals] == expected_texts(AUDIO)
    assert any(update.interim for update in updates)
    assert [event.at_s for update in updates for event in update.events] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert [update.started.ignored for update in updates if update.started] == [{"phrases": "cannot"}]
    assert updates[-1].processed_s == 0.5
    assert updates[-1].results[0].words[0].start_s == 0.4
    assert covered(fake) == AUDIO
    assert len(fake.taken) == 50
    (config,) = fake.configs
    assert (config.recognition.model, config.interim_results, config.resumable) == ("sums", True, True)
    assert config.token_interval_ms == 1000


@pytest.mark.parametrize("lag", [False, True])
@pytest.mark.parametrize("death", [cut, handover], ids=["cut", "handover"])
@pytest.mark.parametrize("at", [0, 1, 1599, 1600, 4321, 7999])
def test_a_server_that_dies_is_followed_by_the_next(at: int, death: Trouble, lag: bool) -> None:
    first, second = FakeSpeech(once_at(at, death), lag), FakeSpeech(lag=lag, repeats_finals=True)
    with served(first) as (one, _), served(second) as (two, _):
        stream = SpeechClient([one, two], policy=QUICK).stream(chunks_of(AUDIO, 500), options=RAW)
        assert finals(stream) == expected_texts(AUDIO)

    assert stream.resumes == 1
    assert stream.address == two.address
    assert covered(first, second) == AUDIO
    again = sum(len(chunk) for _, chunk in first.taken + second.taken) - len(AUDIO)
    assert again <= (2 * 1600 if lag else 2 * CHUNK_SAMPLES)


def test_a_handover_is_followed_before_the_server_has_gone() -> None:
    first, second = FakeSpeech(once_at(4000, lambda sample, context: "linger")), FakeSpeech()
    with served(first) as (one, _), served(second) as (two, _):
        stream = SpeechClient([one, two], policy=QUICK).stream(chunks_of(AUDIO, 500), options=RAW)
        assert finals(stream) == expected_texts(AUDIO)

    assert len(first.taken) + len(second.taken) == 50


def test_a_server_that_ends_the_stream_before_its_time_is_left() -> None:
    moved = threading.Event()

    def at_the_second(sample: int, context: Context) -> str | None:
        moved.set()
        return None

    first, second = FakeSpeech(once_at(4000, lambda sample, context: "end")), FakeSpeech(at_the_second)
    with served(first) as (one, _), served(second) as (two, _):
        stream = SpeechClient([one, two], policy=QUICK).stream(live(moved), options=RAW)
        assert finals(stream) == expected_texts(AUDIO)

    assert covered(first, second) == AUDIO


def test_a_server_that_is_stopped_is_followed_by_the_next() -> None:
    stop = threading.Event()

    def stopping(sample: int, context: Context) -> str | None:
        stop.set()
        return None

    first, second = FakeSpeech(once_at(5000, stopping)), FakeSpeech()
    with served(first) as (one, server), served(second) as (two, _):
        killer = threading.Thread(target=lambda: (stop.wait(), server.stop(0)))
        killer.start()
        stream = SpeechClient([one, two], policy=QUICK).stream(live(stop), options=RAW)
        assert finals(stream) == expected_texts(AUDIO)
        killer.join()

    assert stream.resumes == 1
    assert covered(first, second) == AUDIO


def live(stop: threading.Event) -> Iterator[bytes]:
    """Yield the audio, its last third only after the server was told to stop."""
    yield from chunks_of(AUDIO[:11_000], 500)
    stop.wait()
    yield from chunks_of(AUDIO[11_000:], 500)


@settings(deadline=None, max_examples=40)
@given(
    moments=st.lists(st.tuples(st.integers(0, 7999), st.sampled_from([cut, handover])), max_size=4),
    size=st.sampled_from([1, 77, 320, 1001, 16_000]),
    finalize_after=st.sets(st.integers(1, 7999), max_size=3),
    lag=st.booleans(),
)
def test_no_moment_to_die_loses_or_doubles_a_result(
    moments: list[tuple[int, Trouble]], size: int, finalize_after: set[int], lag: bool
) -> None:
    samples = AUDIO if size > 1 else AUDIO[:2000]
    cuts = tuple(sorted(place for place in finalize_after if 2 * place < len(samples)))
    fakes = [FakeSpeech(once_at(at, death), lag, True) for at, death in moments] + [FakeSpeech(lag=lag)]
    with ExitStack() as stack:
        channels = [stack.enter_context(served(fake))[0] for fake in fakes]
        stream = SpeechClient(channels, policy=QUICK).stream(with_controls(samples, size, cuts), options=RAW)

        assert finals(stream) == expected_texts(samples, cuts=cuts)
    assert covered(*fakes) == samples


def with_controls(samples: bytes, size: int, cuts: tuple[int, ...]) -> Iterator[bytes | Control]:
    start = 0
    for place in (*cuts, None):
        end = len(samples) if place is None else 2 * place
        yield from chunks_of(samples[start:end], size)
        if place is not None:
            yield FINALIZE
        start = end


def test_a_full_server_is_asked_again_when_it_says() -> None:
    asked: list[int] = []

    def full(sample: int, context: Context) -> str | None:
        asked.append(sample)
        context.set_trailing_metadata((("grpc-retry-pushback-ms", "150"),))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "41 voices of 41")

    fake = FakeSpeech(once_at(0, full))
    with served(fake) as (channel, _):
        begun_s = time.monotonic()
        stream = SpeechClient(channel, policy=QUICK).stream(chunks_of(AUDIO, 500), options=RAW)
        assert finals(stream) == expected_texts(AUDIO)
        assert time.monotonic() - begun_s >= 0.15

    assert asked == [0]
    assert stream.resumes == 1


def test_a_hint_beyond_all_patience_is_the_caller_s_to_see() -> None:
    def full(sample: int, context: Context) -> str | None:
        context.set_trailing_metadata((("grpc-retry-pushback-ms", "60000"),))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "41 voices of 41")

    with served(FakeSpeech(full)) as (channel, _), pytest.raises(Overloaded, match="41 voices of 41"):
        list(SpeechClient(channel, policy=QUICK).stream(chunks_of(AUDIO, 500), options=RAW))


def test_a_wav_header_is_read_here_and_its_samples_are_sent(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(AUDIO)
    data = path.read_bytes() + b"LIST\x04\x00\x00\x00what"
    first, second = FakeSpeech(once_at(2000, cut)), FakeSpeech()
    with served(first) as (one, _), served(second) as (two, _):
        stream = SpeechClient([one, two], policy=QUICK).stream(chunks_of(data, 3))
        assert finals(stream) == expected_texts(AUDIO, frame=4)

    audio = first.configs[0].recognition.audio
    assert (audio.encoding, audio.sample_rate_hz, audio.channel_count) == (1, 8000, 2)
    assert covered(first, second) == AUDIO


def test_a_container_is_sent_from_its_beginning_again() -> None:
    first, second = FakeSpeech(once_at(5000, cut)), FakeSpeech()
    options = RecognitionOptions(audio=AudioFormat(encoding="flac"))
    with served(first) as (one, _), served(second) as (two, _):
        stream = SpeechClient([one, two], policy=QUICK).stream(chunks_of(MAGIC + AUDIO, 700), options=options)
        assert finals(stream) == expected_texts(AUDIO)

    assert not first.configs[0].restarted
    assert second.configs[0].restarted
    assert covered(first, second) == AUDIO


def test_audio_that_is_no_longer_kept_is_lost_loudly() -> None:
    policy = SpeechResumePolicy(max_ahead_bytes=1000, max_kept_bytes=2000)
    options = RecognitionOptions(audio=AudioFormat(encoding="flac"))
    fake = FakeSpeech(once_at(5000, cut))
    with served(fake) as (channel, _), pytest.raises(Unavailable, match="gone; and the audio since the last token"):
        list(SpeechClient(channel, policy=policy).stream(chunks_of(MAGIC + AUDIO, 700), options=options))


def test_a_silent_caller_gives_signs_of_life() -> None:
    fake = FakeSpeech()

    def silent() -> Iterator[bytes]:
        yield AUDIO[:4000]
        fake.keep_alive.wait()
        yield AUDIO[4000:]

    with served(fake) as (channel, _):
        policy = SpeechResumePolicy(keep_alive_s=0.05)
        assert finals(SpeechClient(channel, policy=policy).stream(silent(), options=RAW)) == expected_texts(AUDIO)

    assert "keep_alive" in fake.controls


def test_an_error_of_the_caller_s_is_not_tried_again() -> None:
    def wrong(sample: int, context: Context) -> str | None:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "text sent as audio")

    first, second = FakeSpeech(wrong), FakeSpeech()
    with (
        served(first) as (one, _),
        served(second) as (two, _),
        pytest.raises(InvalidRequest, match="text sent as audio"),
    ):
        list(SpeechClient([one, two], policy=QUICK).stream(chunks_of(AUDIO, 500), options=RAW))

    assert second.configs == []


def test_a_failure_inside_the_server_is_not_tried_again() -> None:
    def broken(sample: int, context: Context) -> str | None:
        context.abort(grpc.StatusCode.INTERNAL, "internal error")

    with served(FakeSpeech(broken)) as (channel, _), pytest.raises(ServerError, match="internal error"):
        list(SpeechClient(channel, policy=QUICK).stream(chunks_of(AUDIO, 500), options=RAW))


def test_a_token_that_no_server_takes_is_lost_loudly() -> None:
    def forgotten(sample: int, context: Context) -> str | None:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the token has expired")

    policy = SpeechResumePolicy(give_up_after_s=0.2)
    with served(FakeSpeech(forgotten)) as (channel, _), pytest.raises(NotActive, match="the token has expired"):
        list(SpeechClient(channel, policy=policy).stream(chunks_of(AUDIO, 500), options=RAW))


def test_it_gives_up_when_no_server_answers() -> None:
    policy = SpeechResumePolicy(give_up_after_s=0.2)
    with Channel("127.0.0.1:1") as channel, pytest.raises(Unavailable):
        list(SpeechClient([channel, channel], policy=policy).stream(chunks_of(AUDIO, 500), options=RAW))


def test_what_the_caller_s_iterable_raises_reaches_the_caller() -> None:
    def broken() -> Iterator[bytes]:
        yield AUDIO[:6400]
        raise OSError("the microphone is gone")

    got: list[str] = []
    with served(FakeSpeech()) as (channel, _), pytest.raises(OSError, match="the microphone is gone"):
        for update in SpeechClient(channel).stream(broken(), options=RAW):
            got += [result.text for result in update.finals]

    assert got == expected_texts(AUDIO[:6400])


def test_leaving_the_iteration_ends_the_stream() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield AUDIO

    fake = FakeSpeech()
    with served(fake) as (channel, _), SpeechClient(channel).stream(endless(), options=RAW) as stream:
        assert next(stream).started is not None

    with pytest.raises(StopIteration):
        next(stream)


def test_any_thread_may_end_a_stream_that_waits() -> None:
    stop = threading.Event()

    def waiting() -> Iterator[bytes]:
        yield AUDIO[:4000]
        stop.wait()

    with served(FakeSpeech()) as (channel, _):
        stream = SpeechClient(channel, policy=QUICK).stream(waiting(), options=RAW)
        got = [next(stream)]
        threading.Timer(0.05, stream.cancel).start()
        got += stream
        stop.set()

    assert got[0].started is not None
    assert stream.resumes == 0


def test_a_stream_that_looks_for_a_server_can_be_ended() -> None:
    policy = SpeechResumePolicy(initial_backoff_s=60, max_backoff_s=60, give_up_after_s=600)
    with Channel("127.0.0.1:1") as channel:
        stream = SpeechClient(channel, policy=policy).stream(chunks_of(AUDIO, 500), options=RAW)
        threading.Timer(0.1, stream.cancel).start()

        assert list(stream) == []
