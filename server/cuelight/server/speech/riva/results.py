"""What our service tells, in Riva's words.

Every transcript ends with a space, because Riva's clients put the transcripts of a stream together as they come.
"""

from collections.abc import Sequence

from cuelight.compat.riva import riva_asr_pb2 as riva
from cuelight.speech.v1 import speech_pb2 as pb

__all__ = ["offline_results", "streaming_results"]

_CHANNEL_TAG = 1
_MAX_MS = 2**31 - 1
"""Riva counts milliseconds in 32 bits: the last instant it can name is after 24 days."""


def streaming_results(response: pb.StreamingRecognizeResponse, language: str) -> list[riva.StreamingRecognitionResult]:
    """Return the results of one response, in order; `language` is the model's."""
    return [
        riva.StreamingRecognitionResult(
            alternatives=_alternatives(result, language),
            is_final=result.is_final,
            stability=0.0 if result.is_final else result.stability,
            channel_tag=_CHANNEL_TAG,
            audio_processed=response.processed_ms / 1000,
        )
        for result in response.results
    ]


def offline_results(results: Sequence[pb.RecognitionResult], language: str) -> list[riva.SpeechRecognitionResult]:
    """Return one result for each utterance in which something was said."""
    return [
        riva.SpeechRecognitionResult(
            alternatives=_alternatives(result, language),
            channel_tag=_CHANNEL_TAG,
            audio_processed=result.end_ms / 1000,
        )
        for result in results
        if any(alternative.transcript for alternative in result.alternatives)
    ]


def _alternatives(result: pb.RecognitionResult, language: str) -> list[riva.SpeechRecognitionAlternative]:
    """Return the alternatives; there is one at least, since clients look at the first without asking."""
    alternatives = result.alternatives or [pb.Alternative()]
    return [
        riva.SpeechRecognitionAlternative(
            transcript=f"{alternative.transcript} " if alternative.transcript else "",
            confidence=alternative.confidence if result.is_final else 0.0,
            words=_words(alternative, language) if result.is_final and rank == 0 else (),
            language_code=[language] if language else (),
        )
        for rank, alternative in enumerate(alternatives)
    ]


def _words(alternative: pb.Alternative, language: str) -> list[riva.WordInfo]:
    return [
        riva.WordInfo(
            start_time=min(word.start_ms, _MAX_MS),
            end_time=min(word.end_ms, _MAX_MS),
            word=word.word,
            confidence=word.confidence,
            language_code=language,
        )
        for word in alternative.words
    ]
