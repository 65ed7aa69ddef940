"""Which models recognize speech: those of the repository that brought a recognizer with them."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from cuelight.server.default_model import default_of
from cuelight.server.errors import CuelightError, InvalidRequest, ModelNotFound
from cuelight.server.inference.model_version import Companion, ModelVersion
from cuelight.server.speech.voice import Recognizer

__all__ = ["SpeechCompanion", "SpeechModels", "VersionSource"]

VAD_TASK = "voice_activity_detection"
_TASK_KEY = "cuelight.task"


class VersionSource(Protocol):
    """Where versions are looked up: the repository."""

    @property
    def serving(self) -> Callable[..., list[ModelVersion]]:
        """Returns every version that serves."""
        ...

    def get(self, name: str, version: str = "") -> ModelVersion:
        """Return a version that serves; raises ModelNotFound or ModelNotReady."""
        ...


@runtime_checkable
class SpeechCompanion(Companion, Protocol):
    """What is loaded beside a model that recognizes speech."""

    def recognizer(self, version: ModelVersion, vad: Callable[[], ModelVersion]) -> Recognizer:
        """Return the version's recognizer, the same one every time; on the event loop.

        `vad` returns the voice activity model that serves, and raises ModelNotFound where there is none.
        """
        ...


class SpeechModels:
    """Finds recognizers. Holds no state; lives on the event loop."""

    def __init__(self, versions: VersionSource, default_model: str) -> None:
        self._versions = versions
        self._default = default_model

    def find(self, name: str) -> tuple[ModelVersion, Recognizer]:
        """Return a model that recognizes speech; the default one for an empty name.

        Raises: ModelNotFound, ModelNotReady; InvalidRequest for a model that does something else.
        """
        version = self._versions.get(name or self.default_name())
        recognizer = self.recognizer_of(version)
        if recognizer is None:
            raise InvalidRequest(f'model: "{version.name}" does not recognize speech; {self._there_are()}')
        return version, recognizer

    def recognizer_of(self, version: ModelVersion) -> Recognizer | None:
        """Return a version's recognizer; None where it has none."""
        companion = version.companion
        # Models of other services have companions, too.
        return companion.recognizer(version, self.vad) if isinstance(companion, SpeechCompanion) else None

    def vad(self, name: str = "") -> ModelVersion:
        """Return the model that tells speech from silence. Raises: ModelNotFound where there is none."""
        if name:
            version = self._versions.get(name)
            if _task(version) != VAD_TASK or version.sequences is None:
                raise InvalidRequest(f'model: "{name}" does not detect voice activity')
            return version
        found = [version for version in self._versions.serving() if _task(version) == VAD_TASK]
        if not found:
            raise ModelNotFound(f'no model of task "{VAD_TASK}" serves; export one with "cuelight export silero_vad"')
        return found[0]

    def all(self) -> Sequence[tuple[ModelVersion, Recognizer | None]]:
        """Return every version that recognizes speech or, then without recognizer, detects it; by name."""
        pairs = [(version, self.recognizer_of(version)) for version in self._versions.serving()]
        chosen = [pair for pair in pairs if pair[1] is not None or _task(pair[0]) == VAD_TASK]
        return sorted(chosen, key=lambda pair: pair[0].name)

    def default_name(self) -> str:
        """Return the name that an empty one stands for: the configured, or the only one that recognizes open speech.

        Where none recognizes open speech it is the only one that recognizes any.

        Raises: ModelNotFound when no model recognizes speech; InvalidRequest where several fit.
        """
        named = [(version.name, recognizer.facts) for version, recognizer in self.all() if recognizer is not None]
        fitting = [name for name, facts in named if facts.segmented] or [name for name, _ in named]
        name = default_of(self._default, fitting, "--speech-model")
        if not name:
            raise ModelNotFound("no model that recognizes speech serves")
        return name

    def default_or_none(self) -> str:
        """Return the default's name; empty where there is none."""
        try:
            return self.default_name()
        except CuelightError:
            return ""

    def _there_are(self) -> str:
        names = sorted({version.name for version, recognizer in self.all() if recognizer is not None})
        return f"there are {', '.join(names)}" if names else "none here does"


def _task(version: ModelVersion) -> str:
    return version.config.parameters[_TASK_KEY].string_value if _TASK_KEY in version.config.parameters else ""
