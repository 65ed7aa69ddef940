"""What every training script of the small models here takes."""

import argparse
from pathlib import Path

__all__ = ["training_options"]


def training_options(package: str, description: str | None, steps: int, a_step: str) -> argparse.ArgumentParser:
    """Return a parser of `--out`, `--evaluate`, `--steps` (`a_step` says of what), `--seed` and `--cache-dir`."""
    parser = argparse.ArgumentParser(prog=f"python -m cuelight.exporters.{package}.train", description=description)
    parser.add_argument("--out", type=Path, default=Path("checkpoint.pt"), help="to write (default: checkpoint.pt)")
    parser.add_argument("--evaluate", type=Path, help="measure this checkpoint and train nothing")
    parser.add_argument("--steps", type=int, default=steps, help=f"{a_step} (default: {steps})")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    parser.add_argument("--cache-dir", type=Path, default=Path(".cache/weights"), help="where fetched files are kept")
    return parser
