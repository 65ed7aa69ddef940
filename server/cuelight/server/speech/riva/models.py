"""Which of our models a Riva client means, and what it is told of them."""

from collections.abc import Iterable, Sequence

from cuelight.compat.riva import riva_asr_pb2 as riva
from cuelight.server.errors import ModelNotFound
from cuelight.speech.v1 import speech_pb2 as pb

__all__ = ["addressed", "described"]

_TYPES = ("online", "offline")
"""Every model does both; clients that list models look for one of them."""


def addressed(models: Iterable[pb.SpeechModel], model: str, language_code: str) -> tuple[str, str]:
    """Return model and language as our service is asked for them.

    A language that comes without a model takes the default model if that speaks it, else the first that does, by name.
    Languages are the same when their primary subtags are: "en-US" finds "en" and "en-GB". What is not found is returned
    as it came: our service says what is wrong with it.
    """
    if not language_code:
        return model, ""
    wanted = [found for found in _recognizers(models) if model in ("", found.name)]
    for found in sorted(wanted, key=lambda found: (not found.is_default, found.name)):
        spoken = _spoken(found.languages, language_code)
        if spoken is not None:
            return found.name, spoken
    return model, language_code


def described(models: Iterable[pb.SpeechModel], name: str) -> riva.RivaSpeechRecognitionConfigResponse:
    """Return what there is to know of one model, or of all where `name` is empty; one entry for each type.

    Raises: ModelNotFound.
    """
    found = [model for model in _recognizers(models) if name in ("", model.name)]
    if name and not found:
        raise ModelNotFound(f'no model "{name}" here that recognizes speech')
    entry = riva.RivaSpeechRecognitionConfigResponse.Config
    return riva.RivaSpeechRecognitionConfigResponse(
        model_config=[
            entry(model_name=model.name, parameters={"type": kind, **_parameters(model)})
            for model in found
            for kind in _TYPES
        ]
    )


def _recognizers(models: Iterable[pb.SpeechModel]) -> list[pb.SpeechModel]:
    return [model for model in models if model.kind != pb.SpeechModel.VOICE_ACTIVITY]


def _spoken(languages: Sequence[str], language_code: str) -> str | None:
    """Return the language of these that is the one asked for, or the first that is its kin."""
    kin = [language for language in languages if _primary(language) == _primary(language_code)]
    same = [language for language in kin if language.casefold() == language_code.casefold()]
    return next(iter((*same, *kin)), None)


def _primary(language: str) -> str:
    return language.replace("_", "-").split("-", 1)[0].casefold()


def _parameters(model: pb.SpeechModel) -> dict[str, str]:
    return {
        "language_code": ",".join(model.languages),
        "streaming": "True",
        "sample_rate": str(model.sample_rate_hz),
        "chunk_ms": str(model.chunk_ms),
        "family": model.family,
        "version": str(model.version),
        "word_time_offsets": str(model.word_times),
        "speech_contexts": str(model.phrases),
        "alternatives": str(model.alternatives),
        "default": str(model.is_default),
    }
