"""What `cuelight recommender import` says about the quality of its files."""

import tempfile
import time
from collections.abc import Mapping, Set
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.importing.interactions import Interactions
from cuelight.server.recommender.importing.items import Items
from cuelight.server.recommender.progress import progress
from cuelight.server.recommender.quality.measure import Imported, measure
from cuelight.server.recommender.quality.page import as_page
from cuelight.server.recommender.quality.plots import HOW_TO_GET_PLOTS, find_plotter
from cuelight.server.recommender.quality.terminal import as_text, places_of_findings
from cuelight.server.recommender.store.store import Store

__all__ = ["PAGE_NAME", "Known", "check_page", "known_to", "report_quality"]

PAGE_NAME = "quality.html"
"""Of the page in the data folder, where no other place is named."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a data folder knows before an import."""

    catalogue: Mapping[str, ItemAttributes]
    touched: Set[str]
    """Ids of the items that it has interactions with."""
    min_value: float
    """From here on a value is a like, once the import is done."""


def known_to(store: Store | None, min_value: float) -> Known:
    """Return what a folder knows, None for one that is not there yet.

    Of its items those of which anything is known: an event alone does not make a catalogue.
    """
    if store is None:
        return Known({}, frozenset(), min_value)
    known = store.attributes()
    found = {item: known[place] for item, place in store.items.items()}
    catalogue = {item: said for item, said in found.items() if said and (said.title or said.tags or said.numbers)}
    return Known(catalogue, store.items_with_events(), min_value)


def check_page(page: Path | None) -> None:
    """Say before anything else is done that the page cannot go where it shall. Raises: ConfigError."""
    if page is None:
        return
    try:
        with tempfile.TemporaryFile(dir=page.parent):
            pass
    except OSError as error:
        raise ConfigError(f"{page}: cannot write the quality report: {error.strerror}") from error
    if page.is_dir():
        raise ConfigError(f"{page}: cannot write the quality report: it is a folder")


def report_quality(
    data: Path,
    known: Known,
    interactions: tuple[Path, Interactions] | None,
    items: tuple[Path, Items] | None,
    page: Path | None = None,
) -> None:
    """Print the report and write its page, before anything of the files is in the folder.

    Raises: ConfigError when the page cannot be written.
    """
    path, told = interactions or (None, None)
    item_path, told_items = items or (None, None)
    title = " and ".join(found.name for found in (path, item_path) if found is not None)
    catalogue = {**known.catalogue, **(told_items.attributes if told_items else {})}
    imported = Imported(title, told, told_items, catalogue, known.touched, known.min_value)
    with progress("measuring quality"):
        report = measure(imported, time.time())
        places = places_of_findings(report, told.places if told else None)
    print(as_text(report, places))
    plotter = find_plotter()
    before = None if page else _set_aside(data / PAGE_NAME)
    page = page or data / PAGE_NAME
    _write(page, as_page(report, places, plotter))
    said = ([] if plotter else [f"tables alone; {HOW_TO_GET_PLOTS}"]) + ([f"before: {before.name}"] if before else [])
    print(f"report        {page}" + (f" ({'; '.join(said)})" if said else ""))


def _set_aside(page: Path) -> Path | None:
    """Give the page of the import before a number, so that it stays, and return its name; None where there is none."""
    if not page.exists():
        return None
    kept = next(aside for n in count(1) if not (aside := page.with_stem(f"{page.stem}-{n}")).exists())
    try:
        return page.rename(kept)
    except OSError as error:
        raise ConfigError(f"{page}: cannot rename the quality report: {error.strerror}") from error


def _write(page: Path, text: str) -> None:
    """Put the page in place whole: one that is being read stays as it was."""
    beside = page.with_name(f"{page.name}.new")
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        beside.replace(page)
    except OSError as error:
        raise ConfigError(f"{page}: cannot write the quality report: {error.strerror}") from error
