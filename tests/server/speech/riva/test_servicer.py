"""The Riva service over a speech service that says what the test wrote down."""

import asyncio
from typing import Any

import pytest

from cuelight.compat.riva import riva_asr_pb2 as riva
from cuelight.compat.riva import riva_common_pb2 as riva_common
from cuelight.server.errors import InvalidRequest, ModelNotFound, Overloaded, ShuttingDown
from cuelight.server.rpc.context import RpcContext
from cuelight.server.rpc.methods import Cardinality
from cuelight.server.speech.riva.servicer import RivaServicer, riva_service
from cuelight.speech.v1 import speech_pb2 as pb
from tests.server.speech.riva.scripted_speech import Call, ScriptedSpeech, all_of, each, heard, model, started

VERBATIM = riva.RecognitionConfig(verbatim_transcripts=True)


def config(interim: bool = False, **fields: Any) -> riva.StreamingRecognizeRequest:
    asked = riva.RecognitionConfig(**{"verbatim_transcripts": True, **fields})
    return riva.StreamingRecognizeRequest(
        streaming_config=riva.StreamingRecognitionConfig(config=asked, interim_results=interim)
    )


def audio(content: bytes, **runtime: str) -> riva.StreamingRecognizeRequest:
    return riva.StreamingRecognizeRequest(audio_content=content, runtime_config=runtime)


def named(name: str, request: riva.StreamingRecognizeRequest) -> riva.StreamingRecognizeRequest:
    request.id.value = name
    return request


def stream(speech: ScriptedSpeech, *messages: riva.StreamingRecognizeRequest, call: Call | None = None) -> list[Any]:
    return all_of(RivaServicer(speech).StreamingRecognize(each(*messages), call or Call()))


def recognized(speech: ScriptedSpeech, request: riva.RecognizeRequest, call: Call | None = None) -> Any:
    return asyncio.run(RivaServicer(speech).Recognize(request, call or Call()))


def transcripts(responses: list[riva.StreamingRecognizeResponse]) -> list[str]:
    return [result.alternatives[0].transcript for response in responses for result in response.results]


def test_the_service_has_rivas_name_and_methods() -> None:
    service = riva_service(RivaServicer(ScriptedSpeech()))

    assert dict(service.paths()).keys() == {
        "/nvidia.riva.asr.RivaSpeechRecognition/Recognize",
        "/nvidia.riva.asr.RivaSpeechRecognition/StreamingRecognize",
        "/nvidia.riva.asr.RivaSpeechRecognition/GetRivaSpeechRecognitionConfig",
    }
    assert [method.cardinality for method in service.methods if method.name == "StreamingRecognize"] == [
        Cardinality.STREAM_STREAM
    ]


def test_config_and_audio_arrive_in_order() -> None:
    speech = ScriptedSpeech()

    stream(speech, config(interim=True, model="tiny"), audio(b"RI"), audio(b"FF"))

    assert speech.requests == [
        pb.StreamingRecognizeRequest(
            config=pb.StreamingConfig(
                recognition=pb.RecognitionConfig(model="tiny", audio=pb.AudioFormat()), interim_results=True
            )
        ),
        pb.StreamingRecognizeRequest(audio=b"RI"),
        pb.StreamingRecognizeRequest(audio=b"FF"),
    ]


def test_results_come_as_they_are_known() -> None:
    speech = ScriptedSpeech([started()], [heard("one")], [heard("one two"), heard("one two", final=True)], [heard("e")])

    responses = stream(speech, config(), audio(b"1"), audio(b"2"))

    assert transcripts(responses) == ["one ", "one two ", "one two ", "e "]
    assert [response.results[0].is_final for response in responses] == [False, False, True, False]


def test_requests_are_read_no_sooner_than_the_speech_service_asks_for_them() -> None:
    read: list[bytes] = []

    async def caller() -> Any:
        yield config()
        for content in (b"1", b"2", b"3"):
            read.append(content)
            yield audio(content)

    async def until_first_response() -> None:
        responses = RivaServicer(ScriptedSpeech([], [heard("one")])).StreamingRecognize(caller(), Call())
        await anext(responses)
        assert read == [b"1"]
        await responses.aclose()

    asyncio.run(until_first_response())


def test_responses_without_results_are_not_sent() -> None:
    assert stream(ScriptedSpeech([started()], [pb.StreamingRecognizeResponse(processed_ms=20)]), config()) == []


def test_the_language_of_the_model_is_told() -> None:
    (response,) = stream(ScriptedSpeech([started()], [heard("one")]), config(), audio(b"1"))

    assert list(response.results[0].alternatives[0].language_code) == ["en"]


@pytest.mark.parametrize(
    ("messages", "came"),
    [
        ((), "no message"),
        ((audio(b"1"), config()), "audio_content"),
        ((riva.StreamingRecognizeRequest(runtime_config={"force_eou": "true"}),), "a message without content"),
    ],
)
def test_a_stream_without_a_config_first_is_refused(
    messages: tuple[riva.StreamingRecognizeRequest, ...], came: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"streaming_config: expected in the first message, got {came}"):
        stream(ScriptedSpeech(), *messages)


def test_a_second_config_is_refused() -> None:
    speech = ScriptedSpeech()

    with pytest.raises(InvalidRequest, match="got a second one"):
        stream(speech, config(), audio(b"1"), config())

    assert speech.closed


def test_force_eou_ends_the_utterance_after_the_audio_that_came_with_it() -> None:
    speech = ScriptedSpeech()

    stream(speech, config(), audio(b"1", force_eou="true"), audio(b"", force_eou="True"), audio(b"2"))

    finalize = pb.StreamingRecognizeRequest(control=pb.Control(finalize=pb.Finalize()))
    one, two = (pb.StreamingRecognizeRequest(audio=content) for content in (b"1", b"2"))
    assert speech.requests[1:] == [one, finalize, finalize, two]


@pytest.mark.parametrize(
    "message",
    [
        audio(b""),
        riva.StreamingRecognizeRequest(),
        riva.StreamingRecognizeRequest(runtime_config={"force_eou": "false"}),
    ],
)
def test_a_message_without_content_is_a_sign_of_life(message: riva.StreamingRecognizeRequest) -> None:
    speech = ScriptedSpeech()

    stream(speech, config(), message)

    assert speech.requests[1:] == [pb.StreamingRecognizeRequest(control=pb.Control(keep_alive=pb.KeepAlive()))]


def test_the_request_id_that_came_last_is_echoed() -> None:
    speech = ScriptedSpeech([heard("0")], [heard("1")], [heard("2")], [heard("3")])

    responses = stream(speech, named("a", config()), audio(b"1"), named("b", audio(b"2")))

    assert [response.id.value for response in responses] == ["a", "a", "b", "b"]


def test_without_a_request_id_none_is_made_up() -> None:
    (response,) = stream(ScriptedSpeech([heard("one")]), config())

    assert not response.HasField("id")


def test_a_language_is_sent_as_the_model_spells_it() -> None:
    speech = ScriptedSpeech(models=[model("tiny", "en", is_default=True)])

    stream(speech, config(language_code="en-US"))

    recognition = speech.requests[0].config.recognition
    assert (recognition.model, recognition.language) == ("tiny", "en")


def test_what_is_left_out_is_told_in_trailing_metadata() -> None:
    call = Call()
    speech = ScriptedSpeech([started(phrases='no token spells "ü"')])

    stream(speech, config(profanity_filter=True), audio(b"1", tempo="fast", key="x"), call=call)

    assert call.trailing == (
        ("cuelight-ignored", "profanity_filter: nothing is masked"),
        ("cuelight-ignored", 'speech_contexts: no token spells "\\xfc"'),
        ("cuelight-ignored", "runtime_config: no other key than force_eou is known"),
    )


def test_no_trailing_metadata_where_nothing_is_left_out() -> None:
    call = Call()

    stream(ScriptedSpeech([started()], [heard("one")]), config(), audio(b"1"), call=call)

    assert call.trailing == ()


def test_trailing_metadata_stays_small_whatever_is_ignored() -> None:
    call = Call()

    stream(ScriptedSpeech([started(**{f"option_{index}": "é" * 500 for index in range(100)})]), config(), call=call)

    assert sum(len(key) + len(value) for key, value in call.trailing) < 8_192


def test_the_speech_service_knows_the_call_and_its_own_metadata_is_kept() -> None:
    call = Call()
    seen: list[Any] = []

    def at_start(context: RpcContext) -> None:
        context.attachment = "mine"
        context.set_trailing_metadata((("grpc-retry-pushback-ms", "70"),))
        seen.append((context.metadata(), context.deadline(), context.peer(), context.attachment))

    stream(ScriptedSpeech(at_start=at_start), config(profanity_filter=True), call=call)

    assert seen == [(call.metadata(), 12.5, "unix:", "mine")]
    assert call.attachment == "mine"
    assert [key for key, _ in call.trailing] == ["grpc-retry-pushback-ms", "cuelight-ignored"]


def test_a_stream_that_is_handed_over_ends_as_unavailable_after_its_results() -> None:
    last = heard("one", final=True)
    last.handover = True
    responses = []

    async def collect() -> None:
        handler = RivaServicer(ScriptedSpeech([], [last])).StreamingRecognize(each(config(), audio(b"1")), Call())
        async for response in handler:
            responses.append(response)

    with pytest.raises(ShuttingDown):
        asyncio.run(collect())
    assert transcripts(responses) == ["one "]


def test_a_caller_that_leaves_closes_the_speech_service_too() -> None:
    speech = ScriptedSpeech([heard("one")], [heard("two")])

    async def leave_after_one() -> None:
        responses = RivaServicer(speech).StreamingRecognize(each(config(), audio(b"1")), Call())
        await anext(responses)
        await responses.aclose()

    asyncio.run(leave_after_one())

    assert speech.closed


def test_errors_of_the_speech_service_come_through() -> None:
    def refuse(context: RpcContext) -> None:
        raise Overloaded("full", retry_after_s=1)

    with pytest.raises(Overloaded, match="full"):
        stream(ScriptedSpeech(at_start=refuse), config())


def test_a_recording_is_handed_on_in_pieces_and_whole() -> None:
    recording = bytes(range(256)) * 4_000
    speech = ScriptedSpeech()

    recognized(speech, riva.RecognizeRequest(config=riva.RecognitionConfig(model="tiny"), audio=recording))

    first, *pieces = speech.requests
    assert (first.config.model, first.audio) == ("tiny", b"")
    assert len(pieces) == 4
    assert b"".join(piece.audio for piece in pieces) == recording


def test_a_recording_is_answered_with_all_its_utterances_and_its_id() -> None:
    results = [heard(text, final=True, end_ms=end_ms).results[0] for text, end_ms in (("one", 500), ("two", 900))]
    speech = ScriptedSpeech(
        recording=[pb.RecognizeResponse(started=started().started, results=[result]) for result in results]
    )
    request = riva.RecognizeRequest(config=VERBATIM, audio=b"1", id=riva_common.RequestId(value="mine"))

    response = recognized(speech, request)

    assert [(result.alternatives[0].transcript, result.channel_tag) for result in response.results] == [
        ("one ", 1),
        ("two ", 1),
    ]
    assert list(response.results[0].alternatives[0].language_code) == ["en"]
    assert response.id.value == "mine"


def test_what_a_recording_does_without_is_told_too() -> None:
    call = Call()
    speech = ScriptedSpeech(recording=[pb.RecognizeResponse(started=started(word_times="none").started)])

    recognized(speech, riva.RecognizeRequest(audio=b"1"), call)

    assert [value.split(":")[0] for _, value in call.trailing if isinstance(value, str)] == [
        "verbatim_transcripts",
        "enable_word_time_offsets",
    ]


def test_a_recording_without_audio_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="audio: expected a recording, got 0 bytes"):
        recognized(ScriptedSpeech(), riva.RecognizeRequest(config=VERBATIM))


def test_models_are_told_by_name() -> None:
    servicer = RivaServicer(ScriptedSpeech(models=[model("tiny", "en"), model("other", "de")]))
    ask = riva.RivaSpeechRecognitionConfigRequest

    response = asyncio.run(servicer.GetRivaSpeechRecognitionConfig(ask(model_name="tiny"), Call()))

    assert {entry.model_name for entry in response.model_config} == {"tiny"}
    with pytest.raises(ModelNotFound):
        asyncio.run(servicer.GetRivaSpeechRecognitionConfig(ask(model_name="none"), Call()))
