"""The command `cuelight classify`: photos to labels, as a table or JSON, and the reason as a picture.

Exit codes: 0 done, 1 failed while running (a photo that cannot be used is named, the others are done all the same), 2
the command line is unusable.
"""

import argparse
import json
import sys
from collections.abc import Sequence as Items
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cuelight.client.connection_options import Unusable, add_connection, exit_code, note_silence, opened
from cuelight.client.images import ExplainOptions, Explanation, ImageInfo, ImageLabels
from cuelight.client.vision_service import VisionClient

__all__ = ["main"]

_BAR = 40


def main(words: Items[str]) -> int:
    """Run `cuelight classify` and return the exit code."""
    arguments = _parser().parse_args(words)
    return exit_code(lambda: _classify(arguments))


def _classify(arguments: argparse.Namespace) -> int:
    _check(arguments)
    with opened(arguments) as channel:
        note_silence([channel])
        return _classify_all(arguments, VisionClient(channel))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cuelight classify", description="Say what is on photos.")
    add = parser.add_argument
    add("photos", nargs="+", type=Path, metavar="PHOTO", help="JPEG, PNG or WebP")
    add_connection(parser)
    add("--model", default="", metavar="NAME", help="default: the server's")
    add("--top-k", type=int, default=5, metavar="N", help="labels for each photo (default: 5)")
    add("--explain", type=Path, metavar="OUT", help="write a PNG that shows why; a folder for several photos")
    add("--target", metavar="LABEL", help="with --explain: the label to explain (default: the most probable)")
    add(
        "--method",
        choices=["auto", "class_activation", "occlusion", "rise"],
        help="with --explain: how (default: auto)",
    )
    add("--json", action="store_true", help="print one JSON object a photo")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    for photo in arguments.photos:
        if not photo.is_file():
            raise Unusable(f"{photo}: {'a folder, expected photos' if photo.is_dir() else 'no such file'}")
    if arguments.top_k < 1:
        raise Unusable(f"--top-k: got {arguments.top_k}, expected 1 or more")
    out = arguments.explain
    if out is None and (arguments.target or arguments.method):
        raise Unusable("--target and --method go with --explain")
    if out is not None and len(arguments.photos) > 1 and not out.is_dir():
        raise Unusable(f"{out}: expected a folder that exists, for the pictures of several photos")


def _classify_all(arguments: argparse.Namespace, client: VisionClient) -> int:
    code = 0
    results = client.classify_many(arguments.photos, model=arguments.model, top_k=arguments.top_k)
    for photo, result in zip(arguments.photos, results, strict=True):
        if result.error is not None:
            print(f"cuelight: error: {photo}: {result.error.message.partition(': ')[2]}", file=sys.stderr)
            code = 1
            continue
        explanation = _explained(arguments, client, photo) if arguments.explain is not None else None
        written = _written(arguments, photo, explanation) if explanation is not None else None
        if arguments.json:
            print(json.dumps(_as_json(photo, result, explanation, written), ensure_ascii=False))
        else:
            _print_table(photo, result, explanation, written)
    return code


def _explained(arguments: argparse.Namespace, client: VisionClient, photo: Path) -> Explanation:
    options = ExplainOptions(target=arguments.target, method=arguments.method or "auto")
    return client.explain(photo, options, model=arguments.model)


def _written(arguments: argparse.Namespace, photo: Path, explanation: Explanation) -> Path:
    out: Path = arguments.explain
    path = out / f"{photo.stem}_explained.png" if out.is_dir() else out
    path.write_bytes(explanation.overlay_png)
    return path


def _print_table(photo: Path, result: ImageLabels, explanation: Explanation | None, written: Path | None) -> None:
    print(f"{photo}  ({_described(result.info)}; {result.model} {result.model_version})")
    width = max(len(label.label) for label in result.labels)
    for place, label in enumerate(result.labels, start=1):
        bar = "█" * round(label.probability * _BAR)
        print(f"  {place:>2}. {label.label:<{width}}  {label.probability:>6.1%}  {bar}".rstrip())
    if explanation is not None:
        how = explanation.method.replace("_", " ")
        print(f"  why {explanation.label.label}: {written}  (by {how}, {explanation.runs} runs of the model)")


def _described(info: ImageInfo | None) -> str:
    if info is None:
        return "not decoded"
    return ", ".join([f"{info.format} {info.width} x {info.height}", *info.notes])


def _as_json(photo: Path, result: ImageLabels, explanation: Explanation | None, written: Path | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "file": str(photo),
        "model": result.model,
        "model_version": result.model_version,
        "image": asdict(result.info) if result.info is not None else None,
        "labels": [asdict(label) for label in result.labels],
    }
    if explanation is not None:
        told["explanation"] = {
            "label": asdict(explanation.label),
            "method": explanation.method,
            "values": explanation.values.tolist(),
            "bias": explanation.bias,
            "region": asdict(explanation.region),
            "overlay": str(written),
        }
    return told
