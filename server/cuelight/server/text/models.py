"""Which models serve text: those of the repository that brought a tokenizer or a table of words with them."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from cuelight.server.errors import InvalidRequest, ModelNotFound, Unsupported
from cuelight.server.inference.model_version import Companion, ModelVersion
from cuelight.server.text.encoder import EncoderCompanion
from cuelight.server.text.transduction.companion import TransductionCompanion
from cuelight.server.text.words import WordsCompanion

__all__ = ["TextModels", "VersionSource"]

Kind = TypeVar("Kind", bound=Companion)


class VersionSource(Protocol):
    """Where versions are looked up: the repository."""

    @property
    def serving(self) -> Callable[..., Sequence[ModelVersion]]:
        """Returns every version that serves."""
        ...

    def get(self, name: str, version: str = "") -> ModelVersion:
        """Return a version that serves; raises ModelNotFound or ModelNotReady."""
        ...


class TextModels:
    """Finds models by what they do. Holds no state; lives on the event loop."""

    def __init__(self, versions: VersionSource, default_model: str) -> None:
        self._versions = versions
        self._default = default_model

    def encoder(self, name: str, *, attention: bool = False) -> tuple[ModelVersion, EncoderCompanion]:
        """Return a model that embeds text; for an empty name the default one, or the first that gives attention.

        Raises: ModelNotFound, ModelNotReady; InvalidRequest for a model that does something else.
        """
        if not name and not attention:
            name = self._default
        if name:
            return self._named(name, EncoderCompanion, "embed text")
        found = self._all(EncoderCompanion)
        if not found:
            raise ModelNotFound('no model that embeds text serves; export one with "cuelight export minilm_l6_v2"')
        fitting = [pair for pair in found if pair[1].gives_attention is attention]
        return (fitting or found)[0]

    def words(self, name: str) -> tuple[ModelVersion, WordsCompanion]:
        """Return a model that embeds words, the first for an empty name. Raises: as `encoder`."""
        if name:
            return self._named(name, WordsCompanion, "embed words")
        found = self._all(WordsCompanion)
        if not found:
            raise ModelNotFound('no model that embeds words serves; export one with "cuelight export glove_6b_50d"')
        return found[0]

    def transducer(self, name: str) -> tuple[ModelVersion, TransductionCompanion]:
        """Return a model that transduces text, the first for an empty name.

        Raises: Unsupported where there is none; otherwise as `encoder`.
        """
        if name:
            return self._named(name, TransductionCompanion, "transduce text")
        found = self._all(TransductionCompanion)
        if not found:
            raise Unsupported('no model that transduces text serves; export one with "cuelight export g2p_en"')
        return found[0]

    def giving_attention(self) -> list[str]:
        """Return the names of the models that give attention weights."""
        return [version.name for version, encoder in self._all(EncoderCompanion) if encoder.gives_attention]

    def _named(self, name: str, kind: type[Kind], does: str) -> tuple[ModelVersion, Kind]:
        version = self._versions.get(name)
        if not isinstance(version.companion, kind):
            names = ", ".join(found.name for found, _ in self._all(kind))
            raise InvalidRequest(
                f'model: "{name}" does not {does}; {f"there are {names}" if names else "none here does"}'
            )
        return version, version.companion

    def _all(self, kind: type[Kind]) -> list[tuple[ModelVersion, Kind]]:
        found = [(version, version.companion) for version in self._versions.serving()]
        pairs = [(version, companion) for version, companion in found if isinstance(companion, kind)]
        return sorted(pairs, key=lambda pair: pair[0].name)
