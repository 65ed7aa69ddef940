"""Which models serve text: those of the repository that brought a tokenizer or a table of words with them."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from cuelight.server.config import TextConfig
from cuelight.server.default_model import default_of
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

    def __init__(self, versions: VersionSource, config: TextConfig) -> None:
        self._versions = versions
        self._config = config

    def encoder(self, name: str, *, attention: bool = False) -> tuple[ModelVersion, EncoderCompanion]:
        """Return a model that embeds text; for an empty name the default one that gives attention, or gives none.

        One that gives attention computes it for every text. So a call that does not ask for it, and names no model, is
        for the others where there are any.

        Raises: ModelNotFound, ModelNotReady; InvalidRequest for a model that does something else, or no name where
        several fit; Unsupported where attention is asked for and none gives it.
        """
        if name:
            return self._named(name, EncoderCompanion, "embed text")
        found = self._all(EncoderCompanion)
        fitting = [version.name for version, encoder in found if encoder.gives_attention is attention]
        unfit = [version.name for version, encoder in found if attention and not encoder.gives_attention]
        if not attention:
            fitting = fitting or [version.name for version, _ in found]
        name = default_of(self._config.default_model, fitting, "--text-model", unfit=unfit)
        if name:
            return self._named(name, EncoderCompanion, "embed text")
        if found:
            raise Unsupported('attention: no model here gives any; export "minilm_l6_v2_attention"')
        raise ModelNotFound('no model that embeds text serves; export one with "cuelight export minilm_l6_v2"')

    def words(self, name: str) -> tuple[ModelVersion, WordsCompanion]:
        """Return a model that embeds words, the default one for an empty name. Raises: as `encoder`."""
        if not name:
            names = [version.name for version, _ in self._all(WordsCompanion)]
            name = default_of(self._config.default_word_model, names, "--word-model")
        if not name:
            raise ModelNotFound('no model that embeds words serves; export one with "cuelight export glove_6b_50d"')
        return self._named(name, WordsCompanion, "embed words")

    def transducer(self, name: str, *, attention: bool = False) -> tuple[ModelVersion, TransductionCompanion]:
        """Return a model that transduces text; for an empty name the default one, which gives attention if asked to.

        Raises: Unsupported where there is none, or none that gives attention; otherwise as `encoder`.
        """
        if name:
            return self._named(name, TransductionCompanion, "transduce text")
        found = self._all(TransductionCompanion)
        unfit = [version.name for version, companion in found if attention and not companion.has_attention]
        fitting = [version.name for version, _ in found if version.name not in unfit]
        configured = self._config.default_transduction_model
        name = default_of(configured, fitting, "--transduction-model", unfit=unfit)
        if name:
            return self._named(name, TransductionCompanion, "transduce text")
        if found:
            raise Unsupported('attention: no model here gives any; export "attention_decoder"')
        raise Unsupported('no model that transduces text serves; export one with "cuelight export g2p_en"')

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
