"""From likes to a trained network: how long to train is found out on what was left out, then all is trained on.

    choosing   everybody's newest like is left out; epoch after epoch, until it is foreseen no better
    final      from the start again on all likes, for as many epochs as were best

After every epoch all of it is kept in a checkpoint, and a training that was cut short goes on from there to the same
result. Torch's threads and random numbers are as before when it is done.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from cuelight.exporters.sasrec.epochs import epochs
from cuelight.exporters.sasrec.fit import Fit, Foresight, foresight
from cuelight.exporters.sasrec.model import SasRec
from cuelight.exporters.sasrec.rows import Likes, newest_first_out
from cuelight.exporters.sasrec.settings import TrainSettings

__all__ = ["Trained", "train"]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """The network, in inference mode, and what became of its training."""

    network: SasRec
    settings: TrainSettings
    epochs: int
    foresight: Foresight
    """On the newest likes, when they were left out."""
    took_s: float
    """Since the start, or since it was gone on with."""


@dataclass(slots=True)
class _Best:
    epoch: int
    foresight: Foresight


def train(
    likes: Sequence[Likes],
    n_items: int,
    settings: TrainSettings,
    checkpoint: Path | None = None,
    threads: int = 1,
    quiet: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train on likes of items 0 to `n_items`, and show how far it is unless `quiet`.

    `checkpoint` is written after every epoch and gone on from where it is of the same likes and settings. `stop` is
    asked after every epoch; once it says so, the training ends there.

    Raises: ValueError when nobody has two likes, for then there is no order to learn; InterruptedError when stopped.
    """
    known, left_out = newest_first_out(likes)
    if not left_out:
        raise ValueError("nobody has two likes or more: there is no order to learn from")
    started_s = perf_counter()
    with _own_torch(threads):
        kept = _Checkpoint(checkpoint, _digest(likes, n_items, settings))
        found = kept.read()
        choosing = Fit(n_items, settings)
        best = _restored(choosing, found)
        with epochs("choosing how long", settings.epochs, choosing.epoch, quiet) as tell:
            while choosing.epoch < settings.epochs and not _given_up(choosing, best, settings):
                loss = choosing.advance(known)
                now = foresight(choosing.average, left_out)
                if best is None or now.cross_entropy < best.foresight.cross_entropy:
                    best = _Best(choosing.epoch, now)
                kept.write({"choosing": choosing.state(), "best": asdict(best)})
                tell({"loss": f"{loss:.3f}", "left_out": f"{now.cross_entropy:.3f}", "ndcg": f"{now.ndcg_10:.4f}"})
                _check(stop)
        assert best is not None, "at least one epoch was trained"
        final = Fit(n_items, settings)
        if "final" in found:
            final.load(found["final"])
        with epochs("training on everything", best.epoch, final.epoch, quiet) as tell:
            while final.epoch < best.epoch:
                loss = final.advance(likes)
                kept.write({"choosing": choosing.state(), "best": asdict(best), "final": final.state()})
                tell({"loss": f"{loss:.3f}"})
                _check(stop)
    return Trained(final.average.eval(), settings, best.epoch, best.foresight, perf_counter() - started_s)


def _restored(choosing: Fit, found: dict[str, Any]) -> _Best | None:
    if not found:
        return None
    choosing.load(found["choosing"])
    return _Best(found["best"]["epoch"], Foresight(**found["best"]["foresight"]))


def _given_up(choosing: Fit, best: _Best | None, settings: TrainSettings) -> bool:
    return best is not None and choosing.epoch - best.epoch >= settings.patience


def _check(stop: Callable[[], bool]) -> None:
    if stop():
        raise InterruptedError("the training was stopped")


@contextmanager
def _own_torch(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)


def _digest(likes: Sequence[Likes], n_items: int, settings: TrainSettings) -> str:
    digest = hashlib.sha256(json.dumps([n_items, settings.as_dict()]).encode())
    for one in likes:
        digest.update(len(one).to_bytes(8, "little") + one.items.tobytes() + one.times_s.tobytes())
    return digest.hexdigest()


class _Checkpoint:
    """A file with the state of a training, replaced as a whole; without a path nothing is kept."""

    def __init__(self, path: Path | None, digest: str) -> None:
        self._path = path
        self._digest = digest

    def read(self) -> dict[str, Any]:
        """Return what was written of the same training, nothing where there is none."""
        if self._path is None or not self._path.exists():
            return {}
        found: dict[str, Any] = torch.load(self._path, weights_only=True)
        return found if found["of"] == self._digest else {}

    def write(self, state: dict[str, Any]) -> None:
        """Keep the state in place of the one before."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_name(f"{self._path.name}.new")
        torch.save({"of": self._digest, **state}, beside)
        beside.replace(self._path)
