"""What lies in files beside the weights: labels, metadata, further files of a version."""

import json
from collections.abc import Sequence
from pathlib import Path

from cuelight.exporters.errors import ExportError
from cuelight.exporters.model_names import check_files
from cuelight.exporters.own.inputs import parse_pair

__all__ = ["read_assets", "read_labels", "read_metadata"]

_WRITTEN_BY_THE_EXPORT = frozenset(
    f"cuelight.{key}" for key in ("schema", "task", "max_batch_size", "source", "license", "state", "parity", "labels")
)


def read_labels(path: Path | None) -> list[str]:
    """Return a label a line, or those of a JSON list. Raises: ExportError when the file has neither."""
    if path is None:
        return []
    try:
        text = path.read_text(encoding="utf-8")
        labels = json.loads(text) if path.suffix == ".json" else text.splitlines()
    except (OSError, ValueError) as error:
        raise ExportError(f"--labels {path}: {error}") from error
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise ExportError(f"--labels {path}: expected a label a line, or a JSON list of strings")
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
