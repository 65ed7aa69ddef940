"""Reads weights out of a checkpoint: state_dict, checkpoint dict, safetensors or TorchScript.

Nothing in a file is run: PyTorch's pickles are read with `weights_only=True`, and one that names more than weights is
refused with what it names. `allow_pickle` permits it; then loading the file runs whatever code it holds.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cuelight.exporters.errors import ExportError

__all__ = ["Checkpoint", "read_checkpoint"]

_WEIGHT_KEYS = ("state_dict", "model_state_dict", "model", "net", "module", "weights", "params", "ema", "model_ema")
"""Under which keys training scripts keep the weights."""
_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
_BEGINNING_BYTES = 16
_HOW_TO_ALLOW = "if you trust where it comes from, --allow-pickle loads it all the same"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Weights by name, and what was found on the way to them, for the user to read."""

    weights: dict[str, Tensor]
    notes: tuple[str, ...]


def read_checkpoint(path: Path, key: str | None = None, allow_pickle: bool = False) -> Checkpoint:
    """Read the weights of a file onto the CPU. `key` names the entry of a checkpoint dict, nested with dots.

    Raises: ExportError when the file cannot be read, holds more than weights and `allow_pickle` is not given, or holds
    no weights under the key.
    """
    if path.is_dir():
        raise ExportError(f"checkpoint {path}: a folder; give a file in it{_weights_in(path)}")
    if not path.is_file():
        raise ExportError(f"checkpoint {path}: no such file")
    if path.suffix == ".safetensors":
        return _chosen(path, _safetensors(path), key, ("safetensors",))
    if _holds(path, "constants.pkl"):
        return _chosen(
            path, _torchscript(path), key, ("a TorchScript archive: its weights are taken, its code is not",)
        )
    if _holds(path, "serialized_exported_program.json") or path.suffix in (".pt2", ".onnx"):
        raise ExportError(f"checkpoint {path}: holds a traced program, expected weights: save model.state_dict()")
    _check_is_of_torch(path)
    return _chosen(path, _torch_file(path, allow_pickle), key, ())


def _weights_in(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.suffix in _SUFFIXES)
    return f": {', '.join(names)}" if names else ""


def _check_is_of_torch(path: Path) -> None:
    """Raise ExportError for a file that `torch.save` has not begun: its reader would say anything of such a one."""
    with path.open("rb") as file:
        start = file.read(_BEGINNING_BYTES)
    if not start:
        raise ExportError(f"checkpoint {path}: is empty")
    # A zip archive, or in files of before PyTorch 1.6 a pickle of a protocol that says its number.
    if not start.startswith((b"PK", b"\x80")):
        raise ExportError(
            f"checkpoint {path}: is no checkpoint of PyTorch, it begins with {start!r}; expected a file of torch.save, "
            "or one named .safetensors"
        )


def _holds(path: Path, name: str) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(Path(entry).name == name for entry in archive.namelist())


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError  # noqa: PLC0415 (for those who have such files)
    from safetensors.torch import load_file  # noqa: PLC0415

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ExportError(f"checkpoint {path}: no safetensors file, or a broken one: {error}") from error


def _torchscript(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # TorchScript is deprecated; files made with it are still about.
            warnings.simplefilter("ignore")
            return dict(torch.jit.load(str(path), map_location="cpu").state_dict())  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ExportError(f"checkpoint {path}: broken TorchScript archive: {_first_line(error)}") from error


def _torch_file(path: Path, allow_pickle: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=not allow_pickle)
    except pickle.UnpicklingError as error:
        raise ExportError(_refusal(path, error)) from error
    except (ImportError, AttributeError) as error:
        raise ExportError(
            f"checkpoint {path}: its pickle needs code that is not here: {error}; import it in the factory's module"
        ) from error
    except Exception as error:
        # What a broken file makes the reader stumble over is any kind of error.
        raise ExportError(f"checkpoint {path}: cannot be read: {type(error).__name__}: {_first_line(error)}") from error


def _refusal(path: Path, error: Exception) -> str:
    named = _globals_of(path) or re.findall(r"GLOBAL ([\w.]+)", str(error))
    if named:
        return (
            f"checkpoint {path}: its pickle holds more than weights, it names {', '.join(dict.fromkeys(named))}; "
            f"loading that would run code from the file. Save model.state_dict() instead; {_HOW_TO_ALLOW}"
        )
    return f"checkpoint {path}: is no checkpoint of PyTorch, or a broken one: {_first_line(error)}"


def _globals_of(path: Path) -> list[str]:
    """Return what a pickle names beyond weights; nothing for files of the old format, which cannot be searched."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:
        # Looking is a courtesy; the file has been refused already.
        return []


def _chosen(path: Path, held: Any, key: str | None, notes: tuple[str, ...]) -> Checkpoint:
    if isinstance(held, nn.Module):
        held, notes = held.state_dict(), (*notes, f"a whole {type(held).__name__}: its weights are taken")
    if key is not None:
        return Checkpoint(_weights(path, _entry(path, held, key), key), notes)
    if not isinstance(held, Mapping):
        raise ExportError(f"checkpoint {path}: holds {type(held).__name__}, expected weights by name")
    found = [name for name in _WEIGHT_KEYS if isinstance(held.get(name), Mapping | nn.Module)]
    if len(found) > 1:
        raise ExportError(f"checkpoint {path}: has weights under {', '.join(found)}: choose with --checkpoint-key")
    if found:
        others = [str(name) for name in held if name != found[0]]
        besides = f"; not used: {', '.join(others)}" if others else ""
        return Checkpoint(_weights(path, held[found[0]], found[0]), (*notes, f'weights under "{found[0]}"{besides}'))
    return Checkpoint(_weights(path, held, None), notes)


def _entry(path: Path, held: Any, key: str) -> Any:
    entry = held
    for name in [key] if isinstance(held, Mapping) and key in held else key.split("."):
        if not isinstance(entry, Mapping) or name not in entry:
            there = ", ".join(str(other) for other in entry) if isinstance(entry, Mapping) else type(entry).__name__
            raise ExportError(f'checkpoint {path}: has no "{key}"; it has {there}')
        entry = entry[name]
    return entry


def _weights(path: Path, entry: Any, key: str | None) -> dict[str, Tensor]:
    under = f' under "{key}"' if key else ""
    if isinstance(entry, nn.Module):
        entry = entry.state_dict()
    if not isinstance(entry, Mapping) or not entry:
        raise ExportError(f"checkpoint {path}: holds {type(entry).__name__}{under}, expected weights by name")
    strange = {str(name): type(value).__name__ for name, value in entry.items() if not isinstance(value, Tensor)}
    if strange:
        named = ", ".join(f"{name} ({kind})" for name, kind in list(strange.items())[:8])
        raise ExportError(
            f"checkpoint {path}: these entries{under} are no weights: {named}; if the weights are one entry, "
            "name it with --checkpoint-key"
        )
    return {str(name): value for name, value in entry.items()}


def _first_line(error: BaseException) -> str:
    """Return the first sentence: PyTorch goes on with what to do, which is not what is to be done here."""
    return (str(error).strip().splitlines() or ["no reason given"])[0].split(". ")[0]
