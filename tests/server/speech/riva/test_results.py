"""What our service tells, in Riva's words."""

import pytest

from cuelight.compat.riva import riva_asr_pb2 as riva
from cuelight.server.speech.riva.results import offline_results, streaming_results
from cuelight.speech.v1 import speech_pb2 as pb
from tests.server.speech.riva.scripted_speech import heard

WORDS = [
    pb.Word(word="good", start_ms=320, end_ms=640, confidence=0.75),
    pb.Word(word="day", start_ms=640, end_ms=960, confidence=0.5),
]


def utterance(*texts: str, final: bool = True, end_ms: int = 0) -> pb.RecognitionResult:
    alternatives = [pb.Alternative(transcript=text, confidence=0.5, words=WORDS) for text in texts]
    return pb.RecognitionResult(alternatives=alternatives, is_final=final, stability=0.25, end_ms=end_ms)


def streamed(*results: pb.RecognitionResult, processed_ms: int = 0) -> list[riva.StreamingRecognitionResult]:
    return streaming_results(pb.StreamingRecognizeResponse(results=results, processed_ms=processed_ms), "en")


def test_a_final_result_has_confidence_and_words_in_milliseconds() -> None:
    (result,) = streamed(utterance("good day"), processed_ms=1_500)

    assert result == riva.StreamingRecognitionResult(
        alternatives=[
            riva.SpeechRecognitionAlternative(
                transcript="good day ",
                confidence=0.5,
                words=[
                    riva.WordInfo(start_time=320, end_time=640, word="good", confidence=0.75, language_code="en"),
                    riva.WordInfo(start_time=640, end_time=960, word="day", confidence=0.5, language_code="en"),
                ],
                language_code=["en"],
            )
        ],
        is_final=True,
        channel_tag=1,
        audio_processed=1.5,
    )


def test_an_interim_result_has_stability_and_neither_confidence_nor_words() -> None:
    (result,) = streamed(utterance("good", final=False))

    assert (result.is_final, result.stability) == (False, 0.25)
    assert (result.alternatives[0].confidence, len(result.alternatives[0].words)) == (0, 0)


def test_only_the_first_alternative_has_words() -> None:
    (result,) = streamed(utterance("good day", "could they", "good pay"))

    assert [alternative.transcript for alternative in result.alternatives] == ["good day ", "could they ", "good pay "]
    assert [len(alternative.words) for alternative in result.alternatives] == [2, 0, 0]


def test_results_of_one_response_can_be_put_together() -> None:
    response = pb.StreamingRecognizeResponse(results=[*heard("to be").results, *heard("or").results])

    assert "".join(result.alternatives[0].transcript for result in streaming_results(response, "")) == "to be or "


@pytest.mark.parametrize("result", [utterance(""), pb.RecognitionResult(is_final=True)])
def test_where_nothing_was_said_there_is_still_one_empty_alternative(result: pb.RecognitionResult) -> None:
    (translated,) = streamed(result)

    assert [alternative.transcript for alternative in translated.alternatives] == [""]


def test_times_beyond_what_riva_can_write_stop_at_its_last_one() -> None:
    late = pb.RecognitionResult(
        alternatives=[pb.Alternative(words=[pb.Word(word="late", start_ms=2**31, end_ms=2**33)])], is_final=True
    )

    (result,) = streamed(late)

    assert (result.alternatives[0].words[0].start_time, result.alternatives[0].words[0].end_time) == (2**31 - 1,) * 2


def test_a_recording_has_one_result_for_each_utterance_with_words() -> None:
    results = offline_results([utterance("good day", end_ms=1_000), utterance(""), utterance("bye", end_ms=2_500)], "")

    assert [result.alternatives[0].transcript for result in results] == ["good day ", "bye "]
    assert [(result.channel_tag, result.audio_processed) for result in results] == [(1, 1.0), (1, 2.5)]
