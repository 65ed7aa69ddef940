"""What can be written, and how a group of writes is carried out on the store's thread."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby

from cuelight.server.errors import CuelightError, DataFolderLost
from cuelight.server.recommender.embeddings import ItemEmbeddings, Vector
from cuelight.server.recommender.experiments.outcomes import Outcomes, Scope
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.news import News
from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.outcomes import ITEM
from cuelight.server.recommender.store.store import Pair, Said, Store

__all__ = ["DeleteItems", "ForgetUsers", "NotLearned", "Record", "UpsertItems", "Write", "Written", "carry_out"]


@dataclass(frozen=True, slots=True)
class Record:
    """Keep events; the answer is how many were new."""

    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class UpsertItems:
    """Set attributes and embeddings; the answer is how many items there were."""

    items: Mapping[str, ItemAttributes]
    embeddings: Mapping[str, Mapping[str, Vector]] = field(default_factory=dict)
    """By item and space; items without one lose what they had."""


@dataclass(frozen=True, slots=True)
class DeleteItems:
    """Delete items; the answer is how many ids there were."""

    ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class ForgetUsers:
    """Forget users; the answer is how many were known."""

    ids: Sequence[str]


Write = Record | UpsertItems | DeleteItems | ForgetUsers


@dataclass(frozen=True, slots=True)
class Written:
    """One answer a write, and what the models have to learn, in order."""

    answers: Sequence[int | Exception]
    news: Sequence[News]


class NotLearned(Exception):
    """Something was stored, and then came an error."""


def carry_out(store: Store, writes: Sequence[Write], outcomes: Outcomes | None = None) -> Written:
    """Carry out writes in their order, each durable on return; events that follow each other share one transaction.

    A write that fails answers with its error, and changes nothing. `outcomes` follow, where there are any to follow.

    Raises: NotLearned when something was stored of which the models cannot be told, DataFolderLost when nothing can be
    stored any more: only a new start is right then.
    """
    answers: list[int | Exception] = []
    news: list[News] = []
    for run in _runs(writes):
        try:
            answered, learned = _carried_out(store, run, outcomes)
            news.append(learned)
            answers += answered
        except DataFolderLost:
            raise
        except (CuelightError, sqlite3.Error) as error:  # what other writes of the group did stands, and is learned
            answers += [error] * len(run)
    return Written(answers, news)


def _runs(writes: Iterable[Write]) -> Iterator[list[Write]]:
    for is_record, members in groupby(writes, lambda write: isinstance(write, Record)):
        if is_record:
            yield list(members)
        else:
            yield from ([write] for write in members)


def _carried_out(store: Store, run: Sequence[Write], outcomes: Outcomes | None) -> tuple[list[int | Exception], News]:
    match run[0]:
        case Record():
            return _recorded(store, [write for write in run if isinstance(write, Record)], outcomes)
        case UpsertItems(items, embeddings):
            new = store.upsert_items(items, embeddings)
            changed = {store.items[item]: _embeddings_of(item, items, embeddings) for item in items}
            told = {store.items[item]: attributes for item, attributes in items.items()}
            with _stored():
                return [len(items)], News(store.last_sequence(), items=new, attributes=told, embeddings=changed)
        case DeleteItems(ids):
            with _following(outcomes, ((ITEM, item) for item in ids)):
                said = _by_user(dict.fromkeys(store.delete_items(ids)))
            gone: dict[int, None] = dict.fromkeys(store.items[item] for item in ids if item in store.items)
            with _stored():
                return [len(ids)], News(store.last_sequence(), said=said, attributes=gone, embeddings=gone)
        case ForgetUsers(ids):
            return _forgotten(store, ids, outcomes)


def _recorded(store: Store, run: Sequence[Record], outcomes: Outcomes | None) -> tuple[list[int | Exception], News]:
    events = [event for write in run for event in write.events]
    with _following(outcomes, outcomes.scopes_of(events) if outcomes else ()):
        recorded = store.record(events)
    with _stored():
        version = store.last_sequence()
    answers: list[int | Exception] = []
    start = 0
    for write in run:
        answers.append(sum(recorded.kept[start : start + len(write.events)]))
        start += len(write.events)
    said = _by_user(recorded.said)
    return answers, News(version, recorded.new_users, recorded.new_items, said, writes=len(run))


def _forgotten(store: Store, ids: Sequence[str], outcomes: Outcomes | None) -> tuple[list[int | Exception], News]:
    known = frozenset(user for user in ids if store.knows(user))
    news = News(store.last_sequence(), forgotten=known & store.users.keys())
    store.forget_users(known)
    with _stored():
        if outcomes is not None:
            outcomes.recount()
        # Asked for again after a compaction that failed, there is nobody to forget, and still something to compact.
        if not store.compaction_due():
            return [0], news
    try:
        store.compact()
    except (CuelightError, sqlite3.Error) as error:
        return [error], news  # forgotten all the same: the models must hear of it
    return [len(known)], news


@contextmanager
def _following(outcomes: Outcomes | None, scopes: Iterable[Scope]) -> Iterator[None]:
    """Let outcomes follow what the body stores."""
    with ExitStack() as following:
        if outcomes is not None:
            following.enter_context(outcomes.following(scopes))
        yield
        with _stored():
            following.close()


@contextmanager
def _stored() -> Iterator[None]:
    """What comes after something is stored. Raises: NotLearned when it fails."""
    try:
        yield
    except (CuelightError, sqlite3.Error) as error:
        raise NotLearned(f"stored, but not learned: {error}") from error


def _embeddings_of(
    item: str, items: Mapping[str, ItemAttributes], embeddings: Mapping[str, Mapping[str, Vector]]
) -> ItemEmbeddings:
    return ItemEmbeddings(item, items[item].available, embeddings.get(item, {}))


def _by_user(said: Mapping[Pair, Said | None]) -> dict[int, dict[int, Said | None]]:
    by_user: dict[int, dict[int, Said | None]] = {}
    for (user, item), now in said.items():
        by_user.setdefault(user, {})[item] = now
    return by_user
