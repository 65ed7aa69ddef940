"""An item's attributes as the column `items.attributes` holds them: JSON."""

import json
from dataclasses import asdict
from typing import Any

from cuelight.server.recommender.features import ItemAttributes
from cuelight.server.recommender.store.damage import Damaged

__all__ = ["attributes_of_text", "text_of"]

_SHOWN = 60


def text_of(attributes: ItemAttributes) -> str:
    """Return attributes as the column has them."""
    return json.dumps(asdict(attributes))


def attributes_of_text(text: str | None) -> ItemAttributes | None:
    """Return attributes from what the column has; None of an item that was deleted. Raises: Damaged."""
    if text is None:
        return None
    try:
        fields: dict[str, Any] = json.loads(text)
        attributes = ItemAttributes(**{**fields, "tags": tuple(fields["tags"])})
    except (ValueError, TypeError, KeyError) as error:
        raise Damaged(f"items.attributes: expected an item as JSON, got {text[:_SHOWN]!r}") from error
    if not (isinstance(attributes.title, str) and isinstance(attributes.numbers, dict)):
        raise Damaged(f"items.attributes: expected a title and numbers by name, got {text[:_SHOWN]!r}")
    return attributes
