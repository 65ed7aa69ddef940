"""What a Riva client asks for, in our words; and what of it is left out, by name and reason.

Source: nvidia-riva-client 2.28.0, riva_asr.proto, RecognitionConfig.
"""

import math
from collections.abc import Mapping

from cuelight.compat.riva import riva_asr_pb2 as riva
from cuelight.compat.riva import riva_audio_pb2 as riva_audio
from cuelight.server.errors import InvalidRequest
from cuelight.speech.v1 import speech_pb2 as pb

__all__ = ["boost_of", "ignored_options", "in_rivas_words", "recognition_config"]

_ENCODINGS = {
    riva_audio.ENCODING_UNSPECIFIED: pb.AUDIO_ENCODING_UNSPECIFIED,
    riva_audio.LINEAR_PCM: pb.LINEAR16,
    riva_audio.FLAC: pb.FLAC,
    riva_audio.MULAW: pb.MULAW,
    riva_audio.OGGOPUS: pb.OGG_OPUS,
    riva_audio.ALAW: pb.ALAW,
}
_RIVAS_NAMES = {
    "phrases": "speech_contexts",
    "word_times": "enable_word_time_offsets",
    "endpointing": "endpointing_config",
    "language": "language_code",
    "audio": "encoding",
}
"""Of our RecognitionConfig's fields, where they differ."""


def recognition_config(config: riva.RecognitionConfig, model: str, language: str) -> pb.RecognitionConfig:
    """Return the same wish in our words, for a model and language that were looked up already.

    Raises: InvalidRequest for an encoding or a boost that is none.
    """
    return pb.RecognitionConfig(
        model=model,
        language=language,
        audio=_audio_format(config),
        max_alternatives=config.max_alternatives,
        word_times=config.enable_word_time_offsets,
        phrases=_phrases(config),
        endpointing=_endpointing(config) if config.HasField("endpointing_config") else None,
    )


def ignored_options(config: riva.RecognitionConfig) -> dict[str, str]:
    """Return what is asked for and never done here, by field name, with the reason."""
    asked = {
        "profanity_filter": (config.profanity_filter, "nothing is masked"),
        "enable_automatic_punctuation": (
            config.enable_automatic_punctuation,
            "a model writes punctuation marks of itself, or none",
        ),
        "enable_separate_recognition_per_channel": (
            config.enable_separate_recognition_per_channel,
            "the mean of the channels is recognized",
        ),
        "verbatim_transcripts": (not config.verbatim_transcripts, "transcripts are as they are spoken"),
        "diarization_config": (
            config.diarization_config.enable_speaker_diarization,
            "speakers are not told apart",
        ),
        "custom_configuration": (bool(config.custom_configuration), "no key of it is known"),
        "speech_contexts": (
            any(context.boost < 0 for context in config.speech_contexts),
            "phrases with a boost below 0 are left out",
        ),
    }
    return {name: reason for name, (is_asked, reason) in asked.items() if is_asked}


def in_rivas_words(ignored: Mapping[str, str]) -> dict[str, str]:
    """Return what our service said it ignores, under the names that a Riva client knows."""
    return {_RIVAS_NAMES.get(name, name): reason for name, reason in ignored.items()}


def boost_of(boost: float) -> float:
    """Return what is added to a token's log-probability for a boost on Riva's scale: ln(1 + boost); 0 stays 0.

    Riva's clients send 4 unless told otherwise, its proto recommends up to 20 and its command line 20 to 100: these
    become 1.6, 3.0 and 4.6, where 1 to 3 is usual here. Raises: InvalidRequest where it is no finite number.
    """
    if not math.isfinite(boost):
        raise InvalidRequest(f"speech_contexts: boost: expected a finite number, got {boost}")
    return math.log1p(boost)


def _audio_format(config: riva.RecognitionConfig) -> pb.AudioFormat:
    encoding = _ENCODINGS.get(config.encoding)
    if encoding is None:
        known = ", ".join(riva_audio.AudioEncoding.Name(number) for number in _ENCODINGS)
        raise InvalidRequest(f"encoding: expected one of {known}, got {config.encoding}")
    return pb.AudioFormat(
        encoding=encoding, sample_rate_hz=config.sample_rate_hertz, channel_count=config.audio_channel_count
    )


def _phrases(config: riva.RecognitionConfig) -> list[pb.PhraseSet]:
    return [
        pb.PhraseSet(phrases=context.phrases, boost=boost_of(context.boost))
        for context in config.speech_contexts
        if context.phrases and not context.boost < 0
    ]


def _endpointing(config: riva.RecognitionConfig) -> pb.EndpointingConfig:
    asked = config.endpointing_config
    return pb.EndpointingConfig(
        start_history_ms=asked.start_history if asked.HasField("start_history") else None,
        start_threshold=asked.start_threshold if asked.HasField("start_threshold") else None,
        stop_history_ms=asked.stop_history if asked.HasField("stop_history") else None,
        stop_threshold=asked.stop_threshold if asked.HasField("stop_threshold") else None,
        stop_history_eou_ms=asked.stop_history_eou if asked.HasField("stop_history_eou") else None,
        stop_threshold_eou=asked.stop_threshold_eou if asked.HasField("stop_threshold_eou") else None,
    )
