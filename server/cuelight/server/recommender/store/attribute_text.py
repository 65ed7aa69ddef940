"""An item's attributes as the column `items.attributes` holds them: JSON."""

import json
from dataclasses import asdict
from typing import Any

from cuelight.server.recommender.features import ItemAttributes

__all__ = ["attributes_of_text", "text_of"]


def text_of(attributes: ItemAttributes) -> str:
    """Return attributes as the column has them."""
    return json.dumps(asdict(attributes))


def attributes_of_text(text: str | None) -> ItemAttributes | None:
    """Return attributes from what the column has; None of an item that was deleted."""
    if text is None:
        return None
    fields: dict[str, Any] = json.loads(text)
    return ItemAttributes(**{**fields, "tags": tuple(fields["tags"])})
