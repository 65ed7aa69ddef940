"""From what a caller asks to a voice's options, each field checked; and from updates to responses."""

from collections.abc import Iterable
from typing import Any

from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.audio import AudioFormat
from cuelight.server.speech.endpoint_rules import EndpointRules
from cuelight.server.speech.results import Hypothesis, Result, SpeechEvent
from cuelight.server.speech.voice import Phrase, RecognizerFacts, VoiceOptions
from cuelight.speech.v1 import speech_pb2 as pb

__all__ = ["add_events", "add_results", "audio_format_of", "check_language", "options_of"]

_ENCODINGS = {
    pb.AUDIO_ENCODING_UNSPECIFIED: "unspecified",
    pb.LINEAR16: "linear16",
    pb.LINEAR32: "linear32",
    pb.FLOAT32: "float32",
    pb.MULAW: "mulaw",
    pb.ALAW: "alaw",
    pb.FLAC: "flac",
    pb.OGG_OPUS: "ogg_opus",
    pb.WAV: "wav",
}
_MAX_ALTERNATIVES = 30
_MAX_PHRASES = 5000
_DEFAULT_BOOST = 1.5
_DEFAULT_TOKEN_INTERVAL_MS = 1000
_MAX_DURATION_MS = 3_600_000


def audio_format_of(audio: pb.AudioFormat) -> AudioFormat:
    """Return the format of a stream. Raises: InvalidRequest naming the field, what came and what is allowed."""
    encoding: Any = _ENCODINGS.get(audio.encoding)
    if encoding is None:
        raise InvalidRequest(f"audio.encoding: got {audio.encoding}, expected one of {', '.join(_ENCODINGS.values())}")
    return AudioFormat(encoding, audio.sample_rate_hz, audio.channel_count, audio.channel)


def options_of(
    recognition: pb.RecognitionConfig, streaming: pb.StreamingConfig | None, facts: RecognizerFacts
) -> VoiceOptions:
    """Return a voice's options; `streaming` None for a recording. Raises: InvalidRequest as above."""
    alternatives = _within("max_alternatives", recognition.max_alternatives, 0, _MAX_ALTERNATIVES) or 1
    interval_ms = 0
    if streaming is not None and streaming.resumable:
        interval_ms = streaming.token_interval_ms or _DEFAULT_TOKEN_INTERVAL_MS
        _within("token_interval_ms", interval_ms, 100, _MAX_DURATION_MS)
    beam = {pb.DECODING_METHOD_UNSPECIFIED: None, pb.GREEDY: False, pb.BEAM: True}
    if recognition.decoding_method not in beam:
        raise InvalidRequest(f"decoding_method: got {recognition.decoding_method}, expected GREEDY or BEAM")
    return VoiceOptions(
        interim=streaming is not None and streaming.interim_results,
        events=streaming is not None and streaming.speech_events,
        word_times=recognition.word_times,
        max_alternatives=alternatives,
        beam=beam[recognition.decoding_method],
        phrases=tuple(_phrases(recognition.phrases)),
        endpointing=_endpointing(recognition.endpointing, facts),
        token_interval_s=interval_ms / 1000 if interval_ms else None,
        live=streaming is not None,
    )


def check_language(asked: str, facts: RecognizerFacts, model: str) -> None:
    """Raises: InvalidRequest when the model's language is another one; regions are let pass ("en-US" for "en")."""
    if asked and asked.lower().split("-")[0] != facts.language.lower().split("-")[0]:
        raise InvalidRequest(f'language: got "{asked}", model "{model}" recognizes "{facts.language}"')


def add_results(target: Any, results: Iterable[Result]) -> None:
    """Append results to a repeated field of RecognitionResult."""
    for result in results:
        added = target.add(
            is_final=result.is_final,
            stability=result.stability,
            start_ms=_ms(result.start_s),
            end_ms=_ms(result.end_s),
            utterance=result.utterance,
        )
        for hypothesis in result.hypotheses:
            _add_alternative(added.alternatives, hypothesis)


def add_events(target: Any, events: Iterable[SpeechEvent]) -> None:
    """Append events to a repeated field of SpeechEvent."""
    for event in events:
        kind = pb.SpeechEvent.SPEECH_STARTED if event.kind == "started" else pb.SpeechEvent.SPEECH_ENDED
        target.add(kind=kind, at_ms=_ms(event.at_s))


def _add_alternative(target: Any, hypothesis: Hypothesis) -> None:
    alternative = target.add(transcript=hypothesis.text, confidence=hypothesis.confidence)
    for word in hypothesis.words:
        alternative.words.add(
            word=word.text, start_ms=_ms(word.start_s), end_ms=_ms(word.end_s), confidence=word.confidence
        )


def _phrases(sets: Iterable[pb.PhraseSet]) -> Iterable[Phrase]:
    count = 0
    for each in sets:
        boost = each.boost or _DEFAULT_BOOST
        if not 0 < boost <= 100:
            raise InvalidRequest(f"phrases.boost: got {each.boost:g}, expected more than 0 and at most 100")
        for text in each.phrases:
            count += 1
            if count > _MAX_PHRASES:
                raise InvalidRequest(f"phrases: more than {_MAX_PHRASES}")
            if text.strip():
                yield Phrase(text.strip(), boost)


def _endpointing(asked: Any, facts: RecognizerFacts) -> EndpointRules:
    defaults = EndpointRules(trailing_silence_s=facts.trailing_silence_s)

    def seconds(name: str, default: Any) -> Any:
        if not asked.HasField(f"{name}_ms"):
            return default
        return _within(f"endpointing.{name}_ms", getattr(asked, f"{name}_ms"), 1, _MAX_DURATION_MS) / 1000

    def share(name: str, default: float) -> float:
        if not asked.HasField(name):
            return default
        value: float = getattr(asked, name)
        if not 0 <= value <= 1:
            raise InvalidRequest(f"endpointing.{name}: got {value:g}, expected 0 to 1")
        return value

    return EndpointRules(
        silence_s=seconds("silence", defaults.silence_s),
        trailing_silence_s=seconds("trailing_silence", defaults.trailing_silence_s),
        max_utterance_s=seconds("max_utterance", defaults.max_utterance_s),
        start_history_s=seconds("start_history", None),
        start_threshold=share("start_threshold", defaults.start_threshold),
        stop_history_s=seconds("stop_history", None),
        stop_threshold=share("stop_threshold", defaults.stop_threshold),
        stop_history_eou_s=seconds("stop_history_eou", None),
        stop_threshold_eou=share("stop_threshold_eou", defaults.stop_threshold_eou),
        disabled=asked.disabled,
    )


def _within(name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise InvalidRequest(f"{name}: got {value}, expected {least} to {most}")
    return value


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
