"""What `cuelight serve` prints at the start: one line a fact, a table of models, and READY when it is.

Scripts may wait for the line that begins with READY or NOT READY: the port answers by then, and loading has ended.
"""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any

from cuelight.server.config import ServeConfig
from cuelight.server.rpc.tls import TlsFiles
from cuelight.server.table import format_table

__all__ = ["StartAnnouncement", "describe_models", "listening_lines"]

_HEADER = ("model", "version", "max batch", "runs on", "step", "proven")


class StartAnnouncement:
    """Prints what the front and the application tell. Owned by the process that the user started."""

    def __init__(self, config: ServeConfig, write: Callable[[str], None]) -> None:
        self._config = config
        self._write = write
        self._started_s = monotonic()

    def front(self, version: str, front: str, reason: str) -> None:
        """Say which server and which front this is, before anything slow begins."""
        repositories = ", ".join(str(path) for path in self._config.repository.paths)
        self._write(f"cuelight {version}")
        self._write(f"repository  {repositories} (control mode {self._config.repository.control_mode})")
        self._write(f"front       {front} ({reason})")

    def listening(self, port: int, description: Mapping[str, Any]) -> None:
        """Say where: the port answers now."""
        for line in listening_lines(self._config.server.host, port, description["metrics_port"], self._config.tls):
            self._write(line)

    def loaded(self, description: Mapping[str, Any]) -> None:
        """Say what is served and whether the server is ready: loading has ended."""
        self._write("")
        self._write(describe_models(description["models"]))
        for failure in description["failures"]:
            self._write(f"NOT SERVED  {failure}")
        seconds = monotonic() - self._started_s
        self._write(f"\n{'READY' if description['ready'] else 'NOT READY'} after {seconds:.1f} s")


def listening_lines(host: str, port: int, metrics_port: int, tls: TlsFiles | None) -> tuple[str, str]:
    """Return where calls and where metrics are answered, a line each."""
    shown = f"[{host}]" if ":" in host else host
    security = "no TLS" if tls is None else "TLS"
    if tls is not None and tls.client_ca_file is not None:
        security = "TLS, clients show certificates"
    return f"gRPC        {shown}:{port} ({security})", f"metrics     http://{shown}:{metrics_port}/metrics"


def describe_models(models: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of models that serve, each row followed by what the model takes and gives."""
    if not models:
        return "no model is loaded"
    header, *rows = format_table(_HEADER, [_row(model) for model in models]).splitlines()
    lines = [header]
    for row, model in zip(rows, models, strict=True):
        lines += [row, f"    {_tensors(model['inputs'])} -> {_tensors(model['outputs'])}"]
    return "\n".join(lines)


def _row(model: Mapping[str, Any]) -> tuple[str, ...]:
    where = "sequences" if model["sequences"] else "inline" if model["inline_rows"] else "queued"
    cases = model["golden_cases"]
    return (
        model["name"],
        str(model["version"]),
        str(model["max_batch_size"] or "none"),
        f"{model['provider'].removesuffix('ExecutionProvider')} x{model['instances']}, {where}",
        f"{model['step_s'] * 1000:.3g} ms" if model["step_s"] is not None else "not measured",
        f"by {cases} golden case{'s' if cases > 1 else ''}" if cases else "UNPROVEN",
    )


def _tensors(tensors: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {tensor}" for name, tensor in tensors.items())
