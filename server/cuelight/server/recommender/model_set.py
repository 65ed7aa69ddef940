"""All models of one data folder, kept in step with one table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from cuelight.server.errors import InvalidRequest, ModelNotFound, Unsupported
from cuelight.server.recommender.features import ItemFeatures
from cuelight.server.recommender.gram import Gram
from cuelight.server.recommender.history import RowChange
from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.model_names import MAX_LIKED_ITEMS, MODEL_NAMES
from cuelight.server.recommender.models.als import ImplicitAls
from cuelight.server.recommender.models.content_cosine import ContentCosine
from cuelight.server.recommender.models.ease import Ease
from cuelight.server.recommender.models.hybrid import Hybrid, Part
from cuelight.server.recommender.models.item_cosine import ItemCosine
from cuelight.server.recommender.models.popularity import Popularity
from cuelight.server.recommender.models.scorer import Scorer
from cuelight.server.recommender.models.sequential import Sequential
from cuelight.server.recommender.models.user_cosine import UserCosine
from cuelight.server.recommender.models_config import ModelsConfig
from cuelight.server.recommender.shelves import MOST_WEIGHT

__all__ = ["ModelSet", "ModelSettings", "fit_als"]

_NOT_TRAINED = "not trained; cuelight recommender train --data DIR does it"
_OF_LIKED_ITEMS = ("item_cosine", "ease")
_BEYOND = (("als", 0.9), ("content_cosine", 0.1))
"""The blend where there are too many liked items for EASE."""


@dataclass(frozen=True, slots=True)
class ModelSettings(ModelsConfig):
    """What the models are fitted with, and how far."""

    max_liked_items: int = MAX_LIKED_ITEMS
    """`item_cosine` and `ease` keep numbers of every pair of items that somebody likes; above so many items they are
    not available, and the blend is `als` and `content_cosine`."""
    reserves_counts: bool = False
    """Whether G has addresses for that many items from the start, so that it never moves while a server answers."""

    @classmethod
    def of(cls, models: ModelsConfig, max_liked_items: int, reserves_counts: bool = False) -> "ModelSettings":
        """Return the settings of a configuration."""
        told = {one.name: getattr(models, one.name) for one in fields(models)}
        return cls(**told, max_liked_items=max_liked_items, reserves_counts=reserves_counts)


def fit_als(table: InteractionTable, settings: ModelSettings) -> ImplicitAls:
    """Return ALS fitted to a table as the settings say."""
    return ImplicitAls.fit(
        table, settings.als_factors, settings.als_regularization, settings.als_alpha, settings.als_iterations
    )


class ModelSet:
    """The models by name. A model is fitted when it is first asked for; from then on it learns. One thread owns it."""

    def __init__(self, table: InteractionTable, features: ItemFeatures, settings: ModelSettings | None = None) -> None:
        self.table = table
        self._features = features
        self._settings = settings or ModelSettings()
        self._gram: Gram | None = None
        self._beyond = 0
        self._models: dict[str, Scorer] = {}
        self._withheld = {"sequential": _NOT_TRAINED}

    def get(self, name: str) -> Scorer:
        """Return a model, fitted.

        Raises: ModelNotFound; Unsupported for one that is trained apart and not there, and when it cannot be had of so
        many liked items.
        """
        if name not in MODEL_NAMES:
            raise ModelNotFound(f'model "{name}": there are {", ".join(MODEL_NAMES)}')
        self.check(name)
        if name not in self._models:
            self._models[name] = self._fitted(name)
        return self._models[name]

    def put(self, name: str, model: Scorer) -> None:
        """Serve a model that was fitted elsewhere under a name of ours."""
        assert name in MODEL_NAMES
        self._models[name] = model
        self._models.pop("hybrid", None)
        self._withheld.pop(name, None)

    def withhold(self, name: str, why: str) -> None:
        """Serve a model no longer, and say why, until another is `put`."""
        self.forget_fits(name)
        self._withheld[name] = why

    def blend(self, weights: Mapping[str, float]) -> Hybrid:
        """Return a blend of models. Raises: ModelNotFound; InvalidRequest when it is of nothing, or of itself."""
        if not weights or "hybrid" in weights or not all(abs(weight) <= MOST_WEIGHT for weight in weights.values()):
            raise InvalidRequest(
                f"blend: expected weights of -{MOST_WEIGHT:g} to {MOST_WEIGHT:g} of models other than hybrid, "
                f"got {dict(weights)}"
            )
        return Hybrid([Part(self.get(name), weight) for name, weight in weights.items()])

    def learn(self, changes: Sequence[RowChange]) -> None:
        """Teach every fitted model what changed in the table; each user's row at most once."""
        if not changes:
            return
        if self._gram is not None:
            self._learn_counts(self._gram, changes)
        if isinstance(model := self._models.get("popularity"), Popularity):
            model.learn(changes)

    def describe(self, features: ItemFeatures) -> None:
        """Take in attributes anew; items that came since they were looked at are as if nothing was known of them."""
        self._features = features
        self._models["content_cosine"] = ContentCosine(features)
        self.widen()

    def widen(self) -> None:
        """Make room for items that have come into the table."""
        n_items = self.table.n_items
        if n_items > self._features.n_items:
            self._features = self._features.widened(n_items)
            self._models["content_cosine"] = ContentCosine(self._features)
        self._models.pop("hybrid", None)
        if self._gram is not None:
            self._gram.widen(n_items)
        for name, model in list(self._models.items()):
            if isinstance(model, Popularity):
                model.widen(n_items)
            elif isinstance(model, ImplicitAls | Sequential):
                self._models[name] = model.widen(n_items)

    @property
    def features(self) -> ItemFeatures:
        """What is known of the items, for as many as the table has."""
        return self._features

    @property
    def gram(self) -> Gram:
        """The counts that item-based cosine and EASE share. Raises: Unsupported when too many items are liked."""
        most = self._settings.max_liked_items
        if self._gram is None and not self._beyond:
            liked = len(self.table.liked())
            if liked > most:
                self._beyond = liked
            else:
                reserved = most if self._settings.reserves_counts else None
                self._gram = Gram.fit(self.table, self._settings.ease_regularization, reserved)
        if self._gram is None:
            raise Unsupported(
                f"models {' and '.join(_OF_LIKED_ITEMS)}: {self._beyond} items are liked by somebody, "
                f"data.max_liked_items is {most}"
            )
        return self._gram

    def parts(self, name: str) -> tuple[str, ...]:
        """Return which models answer for a name: the parts of the blend for hybrid, otherwise itself."""
        return tuple(self._hybrid()) if name == "hybrid" else (name,)

    def similar_name(self) -> str:
        """Return the model that says which items are alike where a request names none."""
        return "content_cosine" if self._is_beyond() else "item_cosine"

    def check(self, name: str) -> None:
        """Raises: Unsupported when a model of that name is withheld, or too many items are liked: no waiting helps."""
        if name in self._withheld:
            raise Unsupported(f'model "{name}": {self._withheld[name]}')
        if name in _OF_LIKED_ITEMS:
            _ = self.gram

    def forget_fits(self, *names: str) -> None:
        """Fit these models anew when next asked for: those that do not unlearn by themselves, such as ALS."""
        for name in (*names, "hybrid"):
            self._models.pop(name, None)

    def _fitted(self, name: str) -> Scorer:
        settings = self._settings
        match name:
            case "popularity":
                return Popularity.fit(self.table, settings.half_life_s)
            case "item_cosine":
                return ItemCosine(self.gram, settings.neighbours, settings.shrinkage)
            case "user_cosine":
                return UserCosine(self.table, settings.neighbours, settings.shrinkage)
            case "content_cosine":
                return ContentCosine(self._features)
            case "ease":
                return Ease(self.gram)
            case "als":
                return fit_als(self.table, settings)
            case _:
                return self.blend(self._hybrid())

    def _hybrid(self) -> dict[str, float]:
        wanted = dict(self._settings.hybrid)
        return dict(_BEYOND) if self._is_beyond() and not wanted.keys().isdisjoint(_OF_LIKED_ITEMS) else wanted

    def _is_beyond(self) -> bool:
        try:
            _ = self.gram
        except Unsupported:
            return True
        return False

    def _learn_counts(self, gram: Gram, changes: Sequence[RowChange]) -> None:
        needed = gram.rows_needed(changes)
        if needed > self._settings.max_liked_items:
            self._gram, self._beyond = None, needed
            self.forget_fits(*_OF_LIKED_ITEMS)
            return
        changed = gram.learn(changes)
        if isinstance(model := self._models.get("item_cosine"), ItemCosine):
            model.learn(changed)
