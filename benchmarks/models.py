"""How fast the exported models are: PyTorch eager, ONNX Runtime in this process, and served by Cuelight on both fronts.

Models that the repository lacks are exported first, and in int8 where `--quantize` suits them. Each is measured one and
32 at a time: tensors by ModelInfer, models with state by the steps of live sequences, and by the typed service that is
made for the task. In process the best batch up to as many rows counts, on the server's cores and without spinning. The
systems take turns within each round; each figure is the median over the rounds. `python benchmarks/models.py
[--only NAME ...] [--rounds 3] [--seconds 1.5] [--out benchmarks/results]` prints tables and writes them as Markdown and
JSON, with a plot. README's tables of models are made from the same JSON: `cuelight export table --figures`.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402 (the path above)
from benchmarks.model_cases import typed_call  # noqa: E402
from benchmarks.model_report import plot, tables  # noqa: E402
from benchmarks.model_rounds import Settings, measure_model  # noqa: E402
from cuelight.exporters.export import export_model  # noqa: E402
from cuelight.exporters.files_spec import FilesSpec, export_files  # noqa: E402
from cuelight.exporters.quantize.export import export_quantized  # noqa: E402
from cuelight.exporters.quantize.methods import quantized_name  # noqa: E402
from cuelight.exporters.registry import ALL_SPECS  # noqa: E402
from cuelight.exporters.reports.model_table import figures_of  # noqa: E402
from cuelight.exporters.spec import ExportSpec  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> int:
    """Export what is missing, measure, print and write; return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=tuple(ALL_SPECS), default=tuple(ALL_SPECS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5, help="for each measurement")
    parser.add_argument("--repository", type=Path, default=ROOT / "models", help="where exports are, or are put")
    parser.add_argument("--cache-dir", type=Path, default=ROOT / ".cache" / "weights")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args(arguments)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    settings = Settings(options.repository, options.cache_dir, cores, options.rounds, options.seconds)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / "models.json"
    result = run([ALL_SPECS[name] for name in options.only], settings, partial(_write, file))
    text = tables(result)
    print(text)
    (options.out / "models.md").write_text(text + "\n")
    plot(result, options.out / "models.png")
    return 0


def run(
    specs: Sequence[ExportSpec | FilesSpec], settings: Settings, keep: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Return every figure of the run, and those of the reports of all that is exported.

    `keep` gets what there is after each model, so that a run that ends early loses only the rest.
    """
    needed = {name for spec in specs if (call := typed_call(spec, settings.cache_dir)) for name in call.needs}
    for spec in tqdm({**{spec.name: spec for spec in specs}, **{name: ALL_SPECS[name] for name in needed}}.values()):
        export_missing(spec, settings.repository, settings.cache_dir)
    workloads: list[dict[str, Any]] = []
    result: dict[str, Any] = {
        "machine": machine(settings.cores),
        "rounds": settings.rounds,
        "seconds": settings.seconds,
        "load": os.getloadavg()[0],
        "workloads": workloads,
        "reports": figures_of([*ALL_SPECS.values()], settings.repository),
    }
    with tempfile.TemporaryDirectory() as folder:
        bar = tqdm(specs, unit="model")
        for spec in bar:
            bar.set_description(spec.name)
            workloads += measure_model(spec, Path(folder), settings)
            keep(result)
    return result


def _write(file: Path, result: dict[str, Any]) -> None:
    file.write_text(json.dumps(result, indent=1) + "\n")


def export_missing(spec: ExportSpec | FilesSpec, repository: Path, cache_dir: Path) -> None:
    """Export a model, and its int8 form where there is a way, unless the repository has them. Raises: as exporting."""

    def lacks(name: str) -> bool:
        return not any((repository / name).glob("*/model.onnx"))

    if isinstance(spec, FilesSpec):
        if lacks(spec.name):
            export_files(spec, repository, cache_dir)
        return
    if lacks(spec.name):
        export_model(spec, repository, cache_dir)
    if spec.int8_method and lacks(quantized_name(spec.name, spec.int8_method)):
        export_quantized(spec, spec.int8_method, repository, cache_dir)


if __name__ == "__main__":
    sys.exit(main())
