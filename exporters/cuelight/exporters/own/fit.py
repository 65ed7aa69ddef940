"""Puts weights into a module, strictly: every weight that is missing, not expected or of another shape is named."""

from collections.abc import Iterable, Mapping
from itertools import takewhile
from pathlib import Path

import torch
from torch import Tensor, nn

from cuelight.exporters.errors import ExportError
from cuelight.exporters.own.checkpoint import Checkpoint, read_checkpoint

__all__ = ["fit", "load_weights"]

_NAMED_ONE_BY_ONE = 20
"""More names than these are grouped by the module they belong to."""
_COMPILED = "_orig_mod."
_COUNTERS = ("num_batches_tracked", "n_averaged")
"""Training's own counters, which inference does not read."""


def load_weights(module: nn.Module, path: Path, key: str | None = None, allow_pickle: bool = False) -> list[str]:
    """Read a checkpoint into a module and return what was found on the way, to be told to the user.

    For `build` of a spec of your own. Raises: ExportError as `read_checkpoint` and `fit`.
    """
    checkpoint = read_checkpoint(path, key, allow_pickle)
    return [*checkpoint.notes, *fit(module, checkpoint, str(path))]


def fit(module: nn.Module, checkpoint: Checkpoint, source: str) -> list[str]:
    """Put the weights in, and return what was done to their names.

    Prefixes that wrappers leave (`module.`, `_orig_mod.`, any that all names share) are taken off where the rest then
    fits better. A weight that shares its memory with one that is there need not be there twice.

    Raises: ExportError naming each weight that does not fit, and weights that are not finite.
    """
    wanted = module.state_dict()
    weights, notes = _stripped(checkpoint.weights, wanted)
    missing = [name for name in wanted if name not in weights and not name.endswith(_COUNTERS)]
    missing = [name for name in missing if not _shared(name, wanted, weights)]
    unexpected = [name for name in weights if name not in wanted and not name.endswith(_COUNTERS)]
    both = [name for name in wanted if name in weights]
    wrong = [
        f"{name} (expected {list(wanted[name].shape)}, got {list(weights[name].shape)})"
        for name in both
        if wanted[name].shape != weights[name].shape
    ]
    if missing or unexpected or wrong:
        raise ExportError(_misfit(source, len(wanted), missing, unexpected, wrong))
    _check_finite(module, weights, source)
    notes += _other_types(wanted, weights)
    module.load_state_dict({name: weights[name] for name in both}, strict=False)
    return [*notes, f"{len(both)} weights loaded"]


def _stripped(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Take off as much of what all names have in front as makes the most of them fit."""
    notes: list[str] = []
    current = dict(weights)
    if any(_COMPILED in name for name in current) and not any(_COMPILED in name for name in wanted):
        current = {name.replace(_COMPILED, ""): tensor for name, tensor in current.items()}
        notes.append(f'"{_COMPILED}" (torch.compile) taken out of the names')
    prefix = max(_common_prefixes(current), key=lambda front: len(_without(front, current) & wanted.keys()))
    if prefix:
        current = {name.removeprefix(prefix): tensor for name, tensor in current.items()}
        notes.append(f'"{prefix}" taken off the front of the names')
    return current, notes


def _common_prefixes(weights: Mapping[str, Tensor]) -> list[str]:
    """Return what all names have in front, nothing first: `["", "model.", "model.student."]`."""
    names = [name.split(".") for name in weights if not name.endswith(_COUNTERS)]
    fronts = zip(*(name[:-1] for name in names), strict=False)
    shared = [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, fronts)]
    return ["".join(f"{part}." for part in shared[:length]) for length in range(len(shared) + 1)]


def _without(prefix: str, weights: Mapping[str, Tensor]) -> set[str]:
    return {name.removeprefix(prefix) for name in weights}


def _shared(name: str, wanted: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> bool:
    """Whether a weight is another name for one that is there, such as an output layer tied to the embedding."""
    mine = wanted[name]
    return any(
        other in weights and tensor.data_ptr() == mine.data_ptr() and tensor.shape == mine.shape and mine.numel() > 0
        for other, tensor in wanted.items()
        if other != name
    )


def _misfit(source: str, count: int, missing: list[str], unexpected: list[str], wrong: list[str]) -> str:
    lines = [f"{source} does not fit the model, which has {count} weights:"]
    for title, names in (("missing", missing), ("not expected", unexpected), ("of another shape", wrong)):
        if names:
            lines.append(f"  {len(names)} {title}: {', '.join(_grouped(names))}")
    return "\n".join(lines)


def _grouped(names: list[str]) -> Iterable[str]:
    """Return the names, or, where they are many, the modules they belong to with how many are there."""
    if len(names) <= _NAMED_ONE_BY_ONE:
        return names
    depth = 1
    groups: dict[str, list[str]] = {}
    while depth <= max(name.count(".") for name in names):
        deeper: dict[str, list[str]] = {}
        for name in names:
            deeper.setdefault(".".join(name.split(" ")[0].split(".")[:depth]), []).append(name)
        if groups and len(deeper) > _NAMED_ONE_BY_ONE:
            break
        groups, depth = deeper, depth + 1
    groups = groups or {"": names}
    return [f"{group}.* ({len(held)}, first {held[0]})" if len(held) > 1 else held[0] for group, held in groups.items()]


def _check_finite(module: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Raise ExportError for weights that a training that diverged has left; buffers, such as masks, may be infinite."""
    broken = [
        f"{name} ({int((~torch.isfinite(weights[name])).sum())} of {weights[name].numel()} values)"
        for name, _ in module.named_parameters()
        if name in weights and weights[name].is_floating_point() and not torch.isfinite(weights[name]).all()
    ]
    if broken:
        raise ExportError(f"{source} holds weights that are not finite: {', '.join(_grouped(broken))}")


def _other_types(wanted: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    kinds: dict[str, int] = {}
    for name, tensor in wanted.items():
        if name in weights and weights[name].dtype != tensor.dtype:
            kind = f"{weights[name].dtype} held as {tensor.dtype}".replace("torch.", "")
            kinds[kind] = kinds.get(kind, 0) + 1
    return [f"{count} weights of {kind}" for kind, count in kinds.items()]
