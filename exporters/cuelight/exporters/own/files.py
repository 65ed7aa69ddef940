"""What lies in files beside the weights: labels, metadata, further files of a version."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cuelight.exporters.errors import ExportError
from cuelight.exporters.model_names import check_files
from cuelight.exporters.own.inputs import parse_pair

__all__ = ["read_assets", "read_labels", "read_metadata"]

_WRITTEN_BY_THE_EXPORT = frozenset(
    f"cuelight.{key}" for key in ("schema", "task", "max_batch_size", "source", "license", "state", "parity", "labels")
)


def read_labels(path: Path | None) -> list[str]:
    """Return a label a line, or those of a JSON list, or of an object `{"0": "cat", ...}` as Hugging Face's `id2label`.

    Raises: ExportError when the file has none of it, or a line among others is empty.
    """
    if path is None:
        return []
    try:
        text = path.read_text(encoding="utf-8-sig")
        labels = _in_order(json.loads(text)) if path.suffix == ".json" else text.rstrip().splitlines()
    except (OSError, ValueError) as error:
        raise ExportError(f"--labels {path}: {error}") from error
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise ExportError(f"--labels {path}: expected a label a line, or a JSON list of strings")
    if not all(label.strip() for label in labels):
        empty = next(number for number, label in enumerate(labels, 1) if not label.strip())
        raise ExportError(f"--labels {path}: label {empty} is empty")
    return labels


def _in_order(held: Any) -> Any:
    """Return a list of what an object has under 0, 1, 2 and so on; anything else as it is."""
    labels = held.get("id2label", held) if isinstance(held, dict) else held
    if isinstance(labels, dict) and labels.keys() == {str(index) for index in range(len(labels))}:
        return [labels[str(index)] for index in range(len(labels))]
    return labels


def read_metadata(texts: Sequence[str]) -> dict[str, str]:
    """Return the metadata of KEY=VALUE and KEY=@FILE. Raises: ExportError for keys that the export writes itself."""
    found: dict[str, str] = {}
    for text in texts:
        key, value = parse_pair("--metadata", text)
        if key in _WRITTEN_BY_THE_EXPORT:
            raise ExportError(f'--metadata "{text}": {key} is written by the export itself')
        try:
            found[key] = Path(value[1:]).read_text(encoding="utf-8") if value.startswith("@") else value
        except (OSError, ValueError) as error:
            raise ExportError(f'--metadata "{text}": {error}') from error
    return found


def read_assets(paths: Sequence[Path]) -> dict[str, bytes]:
    """Return the files by name. Raises: ExportError when one cannot be read, or names clash."""
    check_files([path.name for path in paths])
    try:
        return {path.name: path.read_bytes() for path in paths}
    except OSError as error:
        raise ExportError(f"--asset {error.filename}: {error.strerror}") from error
