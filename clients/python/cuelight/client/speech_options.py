"""What a caller can ask of speech recognition, as plain values, and how it is said on the wire."""

from dataclasses import dataclass, fields
from typing import Literal

from cuelight.speech.v1 import speech_pb2 as pb

__all__ = ["AudioFormat", "Encoding", "Endpointing", "Phrase", "RecognitionOptions", "audio_message", "config_message"]

Encoding = Literal["", "linear16", "linear32", "float32", "mulaw", "alaw", "flac", "ogg_opus", "wav"]


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """How audio without a header is written; a header wins. Rates from 8,000 to 48,000 Hz, 1 to 8 channels.

    Without `encoding` it is signed 16 bit integers, little-endian. `channel` is the one to listen to, from 1 on; 0
    takes the mean of all.
    """

    sample_rate_hz: int = 0
    encoding: Encoding = ""
    channel_count: int = 0
    channel: int = 0


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that are likelier here than elsewhere; `boost` of 1 to 3 is usual."""

    text: str
    boost: float = 1.5


@dataclass(frozen=True, slots=True)
class Endpointing:
    """When an utterance ends; None leaves it to the server. Seconds, and shares of 0 to 1.

    Silence ends an utterance after `silence_s` where nothing was recognized and `trailing_silence_s` where something
    was; its length ends it at `max_utterance_s`. The other fields are Riva's windows. `disabled` leaves
    `max_utterance_s` and the caller's own `FINALIZE`.
    """

    silence_s: float | None = None
    trailing_silence_s: float | None = None
    max_utterance_s: float | None = None
    start_history_s: float | None = None
    start_threshold: float | None = None
    stop_history_s: float | None = None
    stop_threshold: float | None = None
    stop_history_eou_s: float | None = None
    stop_threshold_eou: float | None = None
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class RecognitionOptions:
    """What to recognize, and how. `language` is BCP-47, such as "en-US"; empty takes the model's.

    `words` asks for words with times, `beam` for beam search (None leaves it to the server). What the model cannot do
    is named in `StreamStarted.ignored`.
    """

    language: str = ""
    audio: AudioFormat = AudioFormat()
    words: bool = False
    max_alternatives: int = 1
    phrases: tuple[Phrase | str, ...] = ()
    endpointing: Endpointing | None = None
    beam: bool | None = None


def config_message(model: str, options: RecognitionOptions) -> pb.RecognitionConfig:
    """Return the wire's form of the options."""
    methods = {None: pb.DECODING_METHOD_UNSPECIFIED, False: pb.GREEDY, True: pb.BEAM}
    config = pb.RecognitionConfig(
        model=model,
        language=options.language,
        audio=audio_message(options.audio),
        max_alternatives=options.max_alternatives,
        word_times=options.words,
        phrases=_phrase_sets(options.phrases),
        decoding_method=methods[options.beam],
    )
    if options.endpointing is not None:
        config.endpointing.CopyFrom(_endpointing_message(options.endpointing))
    return config


def audio_message(audio: AudioFormat) -> pb.AudioFormat:
    """Return the wire's form of an audio format."""
    return pb.AudioFormat(
        encoding=pb.AudioEncoding.Value(audio.encoding.upper()) if audio.encoding else pb.AUDIO_ENCODING_UNSPECIFIED,
        sample_rate_hz=audio.sample_rate_hz,
        channel_count=audio.channel_count,
        channel=audio.channel,
    )


def _phrase_sets(phrases: tuple[Phrase | str, ...]) -> list[pb.PhraseSet]:
    """Return one set for each boost, in the order in which they first come."""
    by_boost: dict[float, list[str]] = {}
    for phrase in phrases:
        known = Phrase(phrase) if isinstance(phrase, str) else phrase
        by_boost.setdefault(known.boost, []).append(known.text)
    return [pb.PhraseSet(phrases=texts, boost=boost) for boost, texts in by_boost.items()]


def _endpointing_message(endpointing: Endpointing) -> pb.EndpointingConfig:
    message = pb.EndpointingConfig(disabled=endpointing.disabled)
    for field in fields(endpointing):
        value = getattr(endpointing, field.name)
        if value is None or field.name == "disabled":
            continue
        if field.name.endswith("_s"):
            setattr(message, f"{field.name.removesuffix('_s')}_ms", round(value * 1000))
        else:
            setattr(message, field.name, value)
    return message
