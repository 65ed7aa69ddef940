"""What `cuelight recommender import` says about the quality of its files."""

import time
from pathlib import Path

from cuelight.server.errors import ConfigError
from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.importing.interactions import Interactions
from cuelight.server.recommender.importing.items import Items
from cuelight.server.recommender.liking import min_value_of
from cuelight.server.recommender.progress import progress
from cuelight.server.recommender.quality.measure import Imported, measure
from cuelight.server.recommender.quality.page import as_page
from cuelight.server.recommender.quality.plots import HOW_TO_GET_PLOTS, find_plotter
from cuelight.server.recommender.quality.terminal import as_text, places_of_findings
from cuelight.server.recommender.store.store import Store

__all__ = ["PAGE_NAME", "report_quality"]

PAGE_NAME = "quality.html"
"""Of the page in the data folder, where no other place is named."""


def report_quality(
    store: Store,
    interactions: tuple[Path, Interactions] | None,
    items: tuple[Path, Items] | None,
    page: Path | None = None,
) -> None:
    """Print the report and write its page; items are in the store already, interactions not yet.

    Raises: ConfigError when the page cannot be written.
    """
    path, told = interactions or (None, None)
    item_path, told_items = items or (None, None)
    title = " and ".join(found.name for found in (path, item_path) if found is not None)
    catalogue = {**_known_items(store), **(told_items.attributes if told_items else {})}
    imported = Imported(title, told, told_items, catalogue, store.items_with_events(), min_value_of(store))
    with progress("measuring quality"):
        report = measure(imported, time.time())
        places = places_of_findings(report, path)
    print(as_text(report, places))
    plotter = find_plotter()
    page = page or store.path.with_name(PAGE_NAME)
    _write(page, as_page(report, places, plotter))
    print(f"report        {page}" + ("" if plotter else f" (tables alone; {HOW_TO_GET_PLOTS})"))


def _known_items(store: Store) -> dict[str, ItemAttributes]:
    """Return the items of the folder of which anything is known: an event alone does not make a catalogue."""
    known = store.attributes()
    found = {item: known[place] for item, place in store.items.items()}
    return {item: said for item, said in found.items() if said and (said.title or said.tags or said.numbers)}


def _write(page: Path, text: str) -> None:
    """Put the page in place whole: one that is being read stays as it was."""
    beside = page.with_name(f"{page.name}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(page)
    except OSError as error:
        raise ConfigError(f"{page}: cannot write the quality report: {error.strerror}") from error
