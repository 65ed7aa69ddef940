"""The command `cuelight infer`: arrays to a model and back, to try what a server serves.

Exit codes: 0 done, 1 failed while running, 2 the command line is unusable.
"""

import argparse
import json
from collections.abc import Mapping
from collections.abc import Sequence as Items
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.client.connection_options import Unusable, add_connection, exit_code, note_silence, opened
from cuelight.client.inference import InferenceClient, TensorFacts

__all__ = ["main"]

_FROM_FILE = "@"
_SHOWN_NUMBERS = 12


def main(words: Items[str]) -> int:
    """Run `cuelight infer` and return the exit code."""
    arguments = _parser().parse_args(words)
    return exit_code(lambda: _infer(arguments))


def _infer(arguments: argparse.Namespace) -> None:
    given = dict(_named(text) for text in arguments.input)
    with opened(arguments) as channel:
        note_silence([channel])
        client = InferenceClient(channel)
        inputs = _arrays(arguments.model, given, client.inputs_of(arguments.model, arguments.version))
        outputs = client.infer(arguments.model, inputs, version=arguments.version)
    _tell(arguments, outputs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cuelight infer", description="Run a model on arrays.")
    add = parser.add_argument
    add("model", metavar="MODEL")
    add(
        "--input",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="an input, batch axis first: x=@FILE.npy, or JSON, which becomes what the model takes: x=[[0.5,1]]",
    )
    add("--version", default="", metavar="N", help="default: the highest that serves")
    add("--out", type=Path, metavar="FILE.npz", help="write the outputs")
    add("--json", action="store_true", help="print the outputs as one JSON object")
    add_connection(parser)
    return parser


def _named(text: str) -> tuple[str, Any]:
    """Return an input's name and what it says: an array out of a file, or values."""
    name, _, value = text.partition("=")
    if not name or not value:
        raise Unusable(f'--input "{text}": expected NAME=@FILE.npy or NAME=JSON, such as x=[[0.5,1]]')
    try:
        if value.startswith(_FROM_FILE):
            return name, np.load(value.removeprefix(_FROM_FILE), allow_pickle=False)
        return name, json.loads(value)
    except ValueError as error:
        raise Unusable(f'--input "{name}": {error}') from error


def _arrays(model: str, given: Mapping[str, Any], taken: Items[TensorFacts]) -> dict[str, NDArray[Any]]:
    """Return the inputs as arrays. Raises: Unusable where values are none, or inputs are missing."""
    facts = {one.name: one for one in taken}
    if not given.keys() <= facts.keys() or not given:
        takes = ", ".join(str(one) for one in taken)
        raise Unusable(f'model "{model}" takes {takes}; got {", ".join(given) or "no --input"}')
    return {name: _array(value, facts[name]) for name, value in given.items()}


def _array(value: Any, facts: TensorFacts) -> NDArray[Any]:
    if isinstance(value, np.ndarray):
        return value
    if facts.datatype == "BF16":
        raise Unusable(f'--input "{facts.name}": BF16 is sent from Python alone, as an array of ml_dtypes')
    try:
        if facts.datatype == "BYTES":
            return np.array(value, dtype=object)
        array = np.array(value)
        made = array.astype(facts.dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise Unusable(f'--input "{facts.name}": expected {facts}: {error}') from error
    if facts.dtype.kind in "iub" and not np.array_equal(made, array):
        raise Unusable(f'--input "{facts.name}": expected {facts}, got values that it cannot hold')
    return made


def _tell(arguments: argparse.Namespace, outputs: Mapping[str, NDArray[Any]]) -> None:
    if arguments.out is not None:
        with arguments.out.open("wb") as file:
            np.savez(file, **outputs)  # type: ignore[arg-type]
    if arguments.json:
        print(json.dumps({name: _plain(array) for name, array in outputs.items()}, ensure_ascii=False))
        return
    width = max(map(len, outputs), default=0)
    for name, array in outputs.items():
        shown = np.array2string(array.ravel()[:_SHOWN_NUMBERS], precision=4, separator=" ", max_line_width=10_000)
        more = " ..." if array.size > _SHOWN_NUMBERS else ""
        print(f"{name:<{width}}  {array.dtype} {list(array.shape)}  {shown[1:-1].strip()}{more}")
    if arguments.out is not None:
        print(f"{arguments.out}: {len(outputs)} {'array' if len(outputs) == 1 else 'arrays'}")


def _plain(array: NDArray[Any]) -> Any:
    if array.dtype != object:
        return array.tolist()
    texts = [item.decode(errors="replace") if isinstance(item, bytes) else item for item in array.ravel()]
    return np.array(texts, dtype=object).reshape(array.shape).tolist()
