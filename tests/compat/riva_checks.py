"""What NVIDIA's Riva client library does against our server, as a process: `riva_checks.py URL WAV [CHECK...]`.

Prints a JSON object at the end: each check's name with "ok" or what went wrong. The server's models speak English.
"""

import asyncio
import json
import sys
import traceback
import wave
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import grpc
import riva.client
from riva.client.argparse_utils import EXIT_INVALID_ARGUMENT, EXIT_OK, cli_main
from riva.client.proto import riva_asr_pb2 as rasr
from riva.client.proto import riva_asr_pb2_grpc as rasr_grpc

CHUNK_BYTES = 3200
LARGE_BYTES = 60 << 20
TIMEOUT_S = 60
ALIKE = 0.8
URL, WAV = sys.argv[1], Path(sys.argv[2])


def service() -> Any:
    limit = 64 << 20
    options = [("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", limit)]
    return riva.client.ASRService(riva.client.Auth(uri=URL, options=options))


def stub() -> Any:
    return service().stub


def config(**fields: Any) -> Any:
    return riva.client.RecognitionConfig(verbatim_transcripts=True, **fields)


def first(interim_results: bool = False, **fields: Any) -> Any:
    streaming = riva.client.StreamingRecognitionConfig(config=config(**fields), interim_results=interim_results)
    return rasr.StreamingRecognizeRequest(streaming_config=streaming)


def chunks() -> Iterator[bytes]:
    content = WAV.read_bytes()
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]


def audio() -> Iterator[Any]:
    for chunk in chunks():
        yield rasr.StreamingRecognizeRequest(audio_content=chunk)


def text_of(responses: Any) -> str:
    return "".join(
        result.alternatives[0].transcript for response in responses for result in response.results if result.is_final
    ).strip()


def alike(text: str, other: str) -> bool:
    """Whether the words are the same, or nearly: a model may hear a stream and a recording differently."""
    return bool(text) and SequenceMatcher(None, text.split(), other.split()).ratio() > ALIKE


def said() -> str:
    """Return what the server makes of the recording, whole."""
    response = service().offline_recognize(WAV.read_bytes(), config())
    return "".join(result.alternatives[0].transcript for result in response.results).strip()


def refused(messages: Any) -> grpc.StatusCode:
    try:
        list(stub().StreamingRecognize(iter(messages), timeout=TIMEOUT_S))
    except grpc.RpcError as error:
        return error.code()
    raise AssertionError("the stream was not refused")


def check_models_are_listed_for_both_ways_of_use() -> None:
    response = stub().GetRivaSpeechRecognitionConfig(rasr.RivaSpeechRecognitionConfigRequest())
    types = [entry.parameters["type"] for entry in response.model_config]
    assert sorted(set(types)) == ["offline", "online"], types
    assert all(entry.parameters["language_code"] == "en" for entry in response.model_config)


def check_an_unknown_model_is_not_listed() -> None:
    try:
        stub().GetRivaSpeechRecognitionConfig(rasr.RivaSpeechRecognitionConfigRequest(model_name="missing"))
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
    else:
        raise AssertionError("found")


def check_streamed_and_whole_say_the_same() -> None:
    streaming = riva.client.StreamingRecognitionConfig(config=config(), interim_results=False)
    responses = list(service().streaming_response_generator(chunks(), streaming))
    assert alike(text_of(responses), said())
    assert all(result.is_final for response in responses for result in response.results)


def check_the_last_result_has_taken_all_the_audio() -> None:
    responses = list(stub().StreamingRecognize(iter([first(), *audio()])))
    with wave.open(str(WAV)) as reader:
        seconds = reader.getnframes() / reader.getframerate()
    processed = responses[-1].results[-1].audio_processed
    assert abs(processed - seconds) < 0.1, (processed, seconds)
    assert {result.channel_tag for response in responses for result in response.results} == {1}


def check_raw_samples_at_odd_splits() -> None:
    with wave.open(str(WAV)) as reader:
        samples, rate = reader.readframes(reader.getnframes()), reader.getframerate()
    pieces = [samples[start : start + 999] for start in range(0, len(samples), 999)]
    asked = first(encoding=riva.client.AudioEncoding.LINEAR_PCM, sample_rate_hertz=rate, audio_channel_count=1)
    messages = [asked, *(rasr.StreamingRecognizeRequest(audio_content=piece) for piece in pieces)]
    assert alike(text_of(stub().StreamingRecognize(iter(messages))), said())


def check_force_eou_ends_the_utterance_and_not_the_stream() -> None:
    pieces = list(audio())
    pieces[len(pieces) // 2].runtime_config["force_eou"] = "true"
    responses = list(stub().StreamingRecognize(iter([first(), *pieces])))
    finals = [result for response in responses for result in response.results if result.is_final]
    assert len([final for final in finals if final.alternatives[0].transcript]) >= 2, responses
    assert finals[0].audio_processed < finals[-1].audio_processed


def check_request_ids_come_back() -> None:
    asked = first(interim_results=True)
    asked.id.value = "a name"
    responses = list(stub().StreamingRecognize(iter([asked, *audio()])))
    assert {response.id.value for response in responses} == {"a name"}
    request = rasr.RecognizeRequest(config=config(), audio=WAV.read_bytes())
    request.id.value = "another"
    assert stub().Recognize(request).id.value == "another"


def check_words_have_milliseconds_of_the_stream() -> None:
    responses = list(stub().StreamingRecognize(iter([first(enable_word_time_offsets=True), *audio()])))
    words = [word for response in responses for result in response.results for word in result.alternatives[0].words]
    assert " ".join(word.word for word in words) == text_of(responses) != ""
    ends = [word.end_time for word in words]
    assert ends == sorted(ends)
    assert all(0 <= word.start_time <= word.end_time for word in words)


def check_what_is_left_out_is_told_at_the_end() -> None:
    asked = first(profanity_filter=True, enable_automatic_punctuation=True)
    call = stub().StreamingRecognize(iter([asked, *audio()]))
    assert text_of(call)
    told = [value.split(":")[0] for key, value in call.trailing_metadata() if key == "cuelight-ignored"]
    assert {"profanity_filter", "enable_automatic_punctuation"} <= set(told), told


def check_a_region_is_passed_over() -> None:
    assert alike(text_of(stub().StreamingRecognize(iter([first(language_code="en-US"), *audio()]))), said())


def check_refusals_have_the_codes_that_scripts_expect() -> None:
    invalid, missing = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    assert refused([]) == invalid
    assert refused(audio()) == invalid
    assert refused([first(), first()]) == invalid
    assert refused([first(language_code="de-DE"), *audio()]) == invalid
    assert refused([first(encoding=7), *audio()]) == invalid
    assert refused([first(model="missing"), *audio()]) == missing
    text = rasr.StreamingRecognizeRequest(audio_content=b"this is no audio at all" * 9)
    assert refused([first(), text]) == invalid


def check_the_command_line_exits_as_nvidia_says() -> None:
    def transcribe(model: str) -> None:
        service().offline_recognize(WAV.read_bytes(), config(model=model))

    command = cli_main(transcribe)
    assert (command(""), command("missing")) == (EXIT_OK, EXIT_INVALID_ARGUMENT)


def check_a_recording_of_sixty_megabytes() -> None:
    with wave.open(str(WAV)) as reader:
        samples, rate = reader.readframes(reader.getnframes()), reader.getframerate()
    long = config(encoding=riva.client.AudioEncoding.LINEAR_PCM, sample_rate_hertz=rate)
    response = service().offline_recognize(samples * (LARGE_BYTES // len(samples)), long)
    assert response.results[-1].audio_processed > LARGE_BYTES / 2 / rate * 0.95


def check_a_future_brings_the_same() -> None:
    response = service().offline_recognize(WAV.read_bytes(), config(), future=True).result()
    assert "".join(result.alternatives[0].transcript for result in response.results).strip() == said()


def check_asyncio_streams_work_too() -> None:
    async def streamed() -> list[Any]:
        async with grpc.aio.insecure_channel(URL) as channel:
            call = rasr_grpc.RivaSpeechRecognitionStub(channel).StreamingRecognize(iter([first(), *audio()]))
            return [response async for response in call]

    assert alike(text_of(asyncio.run(streamed())), said())


def outcome(check: Callable[[], None]) -> str:
    try:
        check()
    except Exception:
        return traceback.format_exc()
    return "ok"


def main() -> None:
    checks = {name.removeprefix("check_"): found for name, found in globals().items() if name.startswith("check_")}
    print(json.dumps({name: outcome(checks[name]) for name in sys.argv[3:] or checks}))


if __name__ == "__main__":
    main()
