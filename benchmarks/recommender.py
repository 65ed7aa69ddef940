"""How fast the recommender answers, learns and searches, against pgvector and Chroma where vectors are searched.

Everything is measured in one run on one machine, the systems in turn within each round; each figure is the median over
the rounds. Four parts, all or `--only` some:

    vectors   100,000 vectors of 64, loaded by call, exact search: both fronts, pgvector's HNSW, Chroma's server
    million   1,000,000 vectors of 64, imported from Parquet, with an index; 1 and 32 at a time
    likes     3,706 items, 6,040 users, 575,000 likes: shelves of every model, interactions absorbed, shelves meanwhile
    fit       MovieLens 100K: every classical model fitted

The peers come from pip: `pip install 'cuelight[bench]'`, best into an environment of its own whose interpreter is then
`--peers-python`; those that are missing are left out. `python benchmarks/recommender.py [--rounds 3] [--seconds 2]
[--out benchmarks/results]` prints tables and writes them as Markdown and JSON, with plots.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402 (the path above)
from benchmarks.recommender_likes import measure_fit, measure_likes  # noqa: E402
from benchmarks.recommender_report import plot, tables  # noqa: E402
from benchmarks.recommender_vectors import measure_million, measure_vectors  # noqa: E402
from benchmarks.vectors import DATA  # noqa: E402

PARTS = ("vectors", "million", "likes", "fit")
PEERS = {"pgvector": "pgserver", "chroma": "chromadb"}
"""And the package that each is in."""


def main() -> int:
    """Measure, print and write; return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each measurement")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--peers-python", default=sys.executable, metavar="PYTHON", help="has pgserver and chromadb")
    parser.add_argument("--rows", type=int, default=100_000, help="of the part vectors")
    parser.add_argument("--million-rows", type=int, default=1_000_000, help="of the part million")
    parser.add_argument("--million-data", nargs="+", choices=tuple(DATA), default=["clustered"])
    parser.add_argument("--million-pgvector", action="store_true", help="build pgvector's index, too: some minutes")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        result = run(Path(folder), options)
    text = tables(result)
    print(text)
    (options.out / "recommender.json").write_text(json.dumps(without_nan(result), indent=1) + "\n")
    (options.out / "recommender.md").write_text(text + "\n")
    plot(result, options.out / "recommender.png")
    return 0


def run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return every figure of the run."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    rounds, seconds = options.rounds, options.seconds
    peers = {name: options.peers_python for name, package in PEERS.items() if _has(options.peers_python, package)}
    for missing in PEERS.keys() - peers.keys():
        print(f"{missing} is left out: {options.peers_python} has no {PEERS[missing]}", file=sys.stderr)
    result: dict[str, Any] = {
        "machine": machine(cores),
        "rounds": rounds,
        "seconds": seconds,
        "load": os.getloadavg()[0],
    }
    say = partial(print, file=sys.stderr)
    if "vectors" in options.only:
        say(f"vectors: loading {options.rows:,} into every system, twice; the indexes of the peers take a minute each")
        result["vectors"] = [
            measure_vectors(_made(folder / data), data, options.rows, peers, rounds, seconds) for data in DATA
        ]
    if "million" in options.only:
        say(f"million: importing {options.million_rows:,}, and indexing them")
        python = peers.get("pgvector") if options.million_pgvector else None
        result["million"] = [
            measure_million(_made(folder / f"million_{data}"), data, options.million_rows, python, rounds, seconds)
            for data in options.million_data
        ]
    if "likes" in options.only:
        say("likes: importing them")
        result["likes"] = measure_likes(_made(folder / "likes"), rounds, seconds)
    if "fit" in options.only:
        say("fit: MovieLens 100K")
        result["fit"] = measure_fit(_made(folder / "fit"))
    return result


def without_nan(value: Any) -> Any:
    """Return the figures with None, which JSON has, for what could not be measured."""
    if isinstance(value, dict):
        return {key: without_nan(one) for key, one in value.items()}
    if isinstance(value, list):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and isnan(value) else value


def _has(python: str, package: str) -> bool:
    script = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return subprocess.run([python, "-c", script], check=False).returncode == 0


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    sys.exit(main())
