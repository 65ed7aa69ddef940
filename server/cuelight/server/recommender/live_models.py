"""The models while they serve: they answer in the callers' ids and take in what changed in the store.

Everything here is in memory and takes microseconds to milliseconds; one thread, the model thread, owns all of it, so an
answer is made of one state: score, reasons and seen items agree.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import InvalidRequest, ItemNotFound, ModelNotFound, ModelNotReady, Unsupported, UserNotFound
from cuelight.server.recommender.catalogue import Catalogue, ItemFilter
from cuelight.server.recommender.embeddings import ItemEmbeddings, SpaceVectors, Vector, VectorTable
from cuelight.server.recommender.features import DescribedItems, ItemAttributes, ItemFeatures
from cuelight.server.recommender.gram import DRIFT_LIMIT, Gram
from cuelight.server.recommender.history import NOBODY, History
from cuelight.server.recommender.interaction_table import InteractionTable
from cuelight.server.recommender.inverse_update import GramCopy, InverseUpdate
from cuelight.server.recommender.liking import changed_row, changed_unliked
from cuelight.server.recommender.low_rank_inverse import LowRankInverse
from cuelight.server.recommender.model_names import FITTED_NAMES, MODEL_NAMES
from cuelight.server.recommender.model_set import ModelSet, ModelSettings
from cuelight.server.recommender.models.als import ImplicitAls
from cuelight.server.recommender.models.item_cosine import ItemCosine
from cuelight.server.recommender.models.scorer import ROUNDING, Scorer
from cuelight.server.recommender.models.user_cosine import UserCosine
from cuelight.server.recommender.names import Names
from cuelight.server.recommender.news import FeaturesUpdate, Loaded, News
from cuelight.server.recommender.ranking import top
from cuelight.server.recommender.shelf_maker import Asker, ShelfMaker
from cuelight.server.recommender.shelves import Query, Shelf, ShelfOptions
from cuelight.server.recommender.trained.sequential_files import OpenSequential

__all__ = ["LiveModels"]

_COLD_MODEL = "popularity"
_CHANGES_PER_MEASURE = 1000
_EASE_AT_START = 5000
"""Up to so many liked items the service is ready only when EASE is, a second or two; above, EASE comes when fitted."""
_ALS_MISSES_LEAST = 50
_ALS_MISSES_SHARE = 10
"""Of the users, one in so many."""


class LiveModels:
    """Models, names and attributes in one state. The model thread owns it."""

    def __init__(self, loaded: Loaded, settings: ModelSettings | None = None) -> None:
        self._users = Names(loaded.users)
        self._items = Names(loaded.items)
        self._catalogue = Catalogue(loaded.attributes)
        self._spaces = {space: VectorTable(told) for space, told in loaded.embeddings.items()}
        self._described_items = DescribedItems(loaded.attributes)
        features = self._described_items.features(self._seen_spaces())
        self._table = InteractionTable(len(loaded.attributes), loaded.rows)
        self._unliked = InteractionTable(len(loaded.attributes), loaded.unliked)
        self._models = ModelSet(self._table, features, settings)
        self._min_value = loaded.min_value
        self._als_withheld = True
        self._als_missed = 0
        self._forgets = 0
        self._measured_at = 0
        self.drift = 0.0
        self.version = loaded.version
        self.learned = 0
        """How many writes were learned since the start; one that forgets has no event, and `version` no word of it."""
        self.inverse_learned = 0
        """How many of them EASE's inverse knows."""
        self.described = 0
        """How many of them the items' features know."""
        self._updating: tuple[Gram, InverseUpdate | GramCopy, int] | None = None
        self._describing = 0
        self._outdated: dict[int, ItemAttributes | None] = {}

    def fit(self) -> None:
        """Fit every model but ALS, and EASE where it takes long, so that no caller waits for them.

        ALS is for `adopt_als`, EASE for `inverse_update`.
        """
        for name in FITTED_NAMES:
            with suppress(Unsupported):
                if "als" not in self._models.parts(name) and not self._ease_is_large(name):
                    self._models.get(name).scores([NOBODY])

    def learn(self, news: News) -> None:
        """Take in what changed."""
        self._users.add(news.users)
        self._items.add(news.items)
        if self._items.width > len(self._catalogue):
            self._catalogue.widen(self._items.width)
            self._table.widen(self._items.width)
            self._models.widen()
        described = dict.fromkeys(news.items.values(), ItemAttributes()) | dict(news.attributes)
        for item, attributes in described.items():
            self._catalogue.put(item, attributes)
        self._learn_embeddings(news.embeddings)
        self._outdated |= described
        rows = {
            user: changed_row(self._table.row(user), user, said, self._min_value) for user, said in news.said.items()
        }
        rows |= {place: NOBODY for name in news.forgotten if (place := self._users.place(name)) is not None}
        self._models.learn([self._table.replace(user, row) for user, row in rows.items()])
        self._als_missed += len(rows)
        self._learn_unliked(news)
        for name in news.forgotten:
            self._users.remove(name)
        if news.forgotten:
            self._models.forget_fits("als")
            self._als_withheld = True
            self._forgets += 1
        self.version = news.version
        self.learned += news.writes

    def allowed(self, conditions: ItemFilter) -> NDArray[np.bool_]:
        """Return which items meet the conditions, by place."""
        return self._catalogue.allowed(conditions)

    def als_due(self) -> bool:
        """Whether ALS does not know so many changed rows that it is time to fit it anew."""
        return self._als_missed >= max(_ALS_MISSES_LEAST, len(self._table) // _ALS_MISSES_SHARE)

    def table_for_als(self) -> tuple[InteractionTable, int]:
        """Return the table as it is now, for a fit on another thread, and how often somebody was forgotten until now.

        Rows never change, only which ones there are.
        """
        self._als_missed = 0
        rows = [self._table.row(user) for user in range(len(self._table))]
        return InteractionTable(self._table.n_items, rows), self._forgets

    def adopt_als(self, model: ImplicitAls, forgets: int) -> None:
        """Serve an ALS that was fitted elsewhere, unless somebody was forgotten since: then another fit comes."""
        if forgets != self._forgets:
            return
        self._models.put("als", model.widen(self._table.n_items))
        self._als_withheld = False

    def adopt_sequential(self, opened: OpenSequential) -> None:
        """Serve a sequential model that was trained elsewhere."""
        self._models.put("sequential", opened.scorer(self._items.place, self._table.n_items))

    def withhold_sequential(self, why: str) -> None:
        """Serve it no longer, and say why."""
        self._models.withhold("sequential", why)

    def inverse_update(self) -> InverseUpdate | GramCopy | None:
        """Return how EASE's inverse comes to know all that was learned; None if it does, or if there is no EASE.

        It is to be prepared, computed on another thread and then adopted. Now and then the drift is measured first:
        beyond the limit the update is anew.
        """
        try:
            gram = self._models.gram
        except Unsupported:
            self.inverse_learned = self.learned
            return None
        if gram.anew_is_less() or (not gram.pending and self._has_drifted(gram)):
            self._measured_at = 0
            self._updating = gram, gram.begin_copy(), self.learned
        elif gram.pending:
            self._updating = gram, gram.update(), self.learned
        else:
            self.inverse_learned = self.learned
            return None
        return self._updating[1]

    def prepared(self) -> bool:
        """Do a millisecond's work on the update under way; return whether it is ready to be computed."""
        assert self._updating is not None
        gram, update, _ = self._updating
        if isinstance(update, GramCopy):
            if not gram.copy_some(update):
                return False
            self._updating = gram, update, self.learned
        return True

    def adopt_inverse(self, inverse: LowRankInverse) -> None:
        """Answer with the update under way, which was computed elsewhere."""
        assert self._updating is not None
        gram, _, self.inverse_learned = self._updating
        self._updating = None
        gram.adopt(inverse)

    def features_update(self) -> FeaturesUpdate | None:
        """Return how the features come to know all attributes; None if they do.

        It is to be computed on another thread and then adopted. Until then what is new about an item has no say in
        similarities; filters know it at once.
        """
        self._describing = self.learned
        if not self._outdated:
            self.described = self.learned
            return None
        changed, self._outdated = self._outdated, {}
        return FeaturesUpdate(self._described_items, len(self._catalogue), changed, self._seen_spaces())

    def adopt_features(self, features: ItemFeatures) -> None:
        """Answer with features that were computed elsewhere."""
        self._models.describe(features)
        self.described = self._describing

    def history_length(self, query: Query) -> int:
        """Return how many items there are to score from."""
        if query.user is None:
            return len(query.history)
        place = self._users.place(query.user)
        return 0 if place is None else len(self._table.row(place))

    def recommend(self, asked: Sequence[tuple[Query, ShelfOptions]]) -> list[Shelf | Exception]:
        """Return a shelf, or what is wrong with what was asked, for each; those of one model are scored together."""
        answers: list[Shelf | Exception] = [InvalidRequest("not asked")] * len(asked)
        groups: dict[tuple[str, tuple[tuple[str, float], ...], bool], list[int]] = {}
        maker = self._shelf_maker()
        histories = [self._history(query) for query, _ in asked]
        for i, (_, options) in enumerate(asked):
            cold = not len(histories[i])
            groups.setdefault((options.model, tuple(sorted(options.blend.items())), cold), []).append(i)
        for (name, blend, cold), members in groups.items():
            try:
                model = self._cold_model(name, dict(blend)) if cold else self._model(name, dict(blend))
            except (InvalidRequest, ModelNotFound, ModelNotReady, Unsupported) as error:
                for i in members:
                    answers[i] = error
                continue
            try:
                for i, scores in zip(members, model.scores([histories[i] for i in members]), strict=True):
                    query, options = asked[i]
                    answers[i] = maker.shelf(model, self._asker(query, histories[i], options), scores, options)
            except Exception as error:  # the batch boundary: each is asked alone, and only the offender fails
                for i in members:
                    answers[i] = error if len(members) == 1 else self.recommend([asked[i]])[0]
        return answers

    def _cold_model(self, name: str, blend: dict[str, float]) -> Scorer:
        """Return what scores for somebody of whom nothing is known, if there is what was asked for, ready or not."""
        with suppress(ModelNotReady, Unsupported):
            self._model(name, blend)
        return self._model(_COLD_MODEL, {})

    def similar_items(self, item: str, options: ShelfOptions) -> Shelf:
        """Return the shelf of whoever likes this item alone, by `item_cosine` where there is one and no other is named.

        Without items that score 0, and without those below it that gain nothing by the item, as in a blend where being
        popular counts against them. Raises: ItemNotFound, ModelNotFound, ModelNotReady, Unsupported, InvalidRequest.
        """
        model = self._model(options.model or self._models.similar_name(), options.blend)
        history = History.of([self._item(item)])
        scores, without = model.scores([history, NOBODY])
        left_off = (np.abs(scores) <= ROUNDING) | (scores <= np.minimum(without, 0))
        left_off[history.items] = True
        asker = Asker(history, np.flatnonzero(left_off), f"item {item}")
        return self._shelf_maker().shelf(model, asker, scores, options)

    def similar_users(self, user: str, n: int) -> list[tuple[str, float]]:
        """Return the most similar users with anything in common, most similar first. Raises: UserNotFound."""
        model = self._models.get("user_cosine")
        assert isinstance(model, UserCosine)
        [similarities] = model.similarities([self._table.row(self._user(user))])
        return [
            (self._users.id_at(int(place)), float(similarities[place]))
            for place in top(similarities, n, similarities > 0)
        ]

    def similarity_of_items(self, first: str, second: str) -> float:
        """Return the cosine of two items. Raises: ItemNotFound; Unsupported when too many items are liked."""
        model = self._models.get("item_cosine")
        assert isinstance(model, ItemCosine)
        places = np.array([self._item(first)])
        return 1.0 if first == second else float(model.similarities(places)[0, self._item(second)])

    def similarity_of_users(self, first: str, second: str) -> float:
        """Return the cosine of two users. Raises: UserNotFound."""
        model = self._models.get("user_cosine")
        assert isinstance(model, UserCosine)
        rows = (self._table.row(self._user(first)), self._table.row(self._user(second)))
        return 1.0 if first == second else model.similarity(*rows)

    def description_of(self, item: str) -> tuple[ItemAttributes, dict[str, Vector]]:
        """Return an item's attributes and its embeddings by space. Raises: ItemNotFound."""
        place = self._item(item)
        attributes = self._catalogue.attributes[place]
        assert attributes is not None
        found = ((space, table.get(place)) for space, table in self._spaces.items())
        return attributes, {space: vector for space, vector in found if vector is not None}

    def details(self) -> dict[str, str]:
        """Return for each model why it cannot be asked now; empty where it can."""
        return {name: self._why_not(name) for name in MODEL_NAMES}

    def counts(self) -> tuple[int, int]:
        """Return how many users and items there are, deleted ones left out."""
        return len(self._users), self._catalogue.present

    def _learn_unliked(self, news: News) -> None:
        for place, said in news.said.items():
            self._unliked.replace(place, changed_unliked(self._unliked.row(place), place, said, self._min_value))
        for user in news.forgotten:
            self._unliked.replace(self._user(user), NOBODY)

    def _seen_spaces(self) -> dict[str, SpaceVectors]:
        return {space: table.seen() for space, table in self._spaces.items()}

    def _learn_embeddings(self, changed: Mapping[int, ItemEmbeddings | None]) -> None:
        for table in self._spaces.values():
            for place in changed:
                table.drop(place)
        for place, item in changed.items():
            for space, vector in item.vectors.items() if item else ():
                if not len(self._spaces.get(space, ())):
                    self._spaces[space] = VectorTable.empty(len(vector))
                self._spaces[space].put(place, vector)

    def _model(self, name: str, blend: Mapping[str, float]) -> Scorer:
        for part in blend or self._models.parts(name):
            self._check(part)
        return self._models.blend(blend) if blend else self._models.get(name)

    def _check(self, name: str) -> None:
        """Raises: Unsupported or ModelNotReady when a model cannot be asked now."""
        self._models.check(name)
        if (name == "als" and self._als_withheld) or (name == "ease" and not self._models.gram.has_inverse):
            raise ModelNotReady(f'model "{name}": being fitted')

    def _why_not(self, name: str) -> str:
        try:
            for part in self._models.parts(name):
                self._check(part)
        except (Unsupported, ModelNotReady) as error:
            return error.message
        return ""

    def _ease_is_large(self, name: str) -> bool:
        return "ease" in self._models.parts(name) and len(self._models.gram.rows) > _EASE_AT_START

    def _has_drifted(self, gram: Gram) -> bool:
        """Whether the drift, measured every so many changes, is beyond the limit."""
        if gram.changes_since_fit - self._measured_at < _CHANGES_PER_MEASURE:
            return False
        self._measured_at = gram.changes_since_fit
        self.drift = gram.drift()
        return self.drift > DRIFT_LIMIT

    def _history(self, query: Query) -> History:
        if query.user is not None:
            place = self._users.place(query.user)
            return NOBODY if place is None else self._table.row(place)
        known = {
            place: weight for item, weight in query.history.items() if (place := self._items.place(item)) is not None
        }
        # The order of the items is the only time there is.
        return History.of(list(known), list(known.values()), np.arange(len(known)))

    def _asker(self, query: Query, history: History, options: ShelfOptions) -> Asker:
        if options.include_seen:
            return Asker(history, NOBODY.items, query.who)
        place = None if query.user is None else self._users.place(query.user)
        if place is None:
            return Asker(history, history.items, query.who)  # a history that comes with the call is as if from now
        rows = (history, self._unliked.row(place))
        if options.exclude_seen_since_s == -np.inf:
            return Asker(history, np.concatenate([row.items for row in rows]), query.who)
        seen = np.concatenate([row.items[row.times_s >= options.exclude_seen_since_s] for row in rows])
        return Asker(history, seen, query.who)

    def _shelf_maker(self) -> ShelfMaker:
        popular = self._models.get(_COLD_MODEL)
        return ShelfMaker(self._catalogue, self._models.features, self._items, self.version, popular)

    def _user(self, user: str) -> int:
        place = self._users.place(user)
        if place is None:
            raise UserNotFound(f'user "{user}": not known')
        return place

    def _item(self, item: str) -> int:
        place = self._items.place(item)
        if place is None or self._catalogue.attributes[place] is None:
            raise ItemNotFound(f'item "{item}": not known')
        return place
