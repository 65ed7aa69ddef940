"""Traces of requests: when each sampled one came and when it was answered, written as Triton's JSON.

    begin (sampled?) ──> Trace ──> mark ... ──> end ──> buffer ──> file

A scope is one set of settings with its sampling counter and its buffer: one for all models, and one for each model that
was given settings of its own. A buffer is written when it holds `log_frequency` traces, when the last trace that was
asked for has ended, when tracing is switched off, and at the end. Owned by the event loop; files are written off it.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from cuelight.server.inference.repository import Spawn
from cuelight.server.inference.trace_settings import TraceSettings, updated

__all__ = ["Trace", "Tracer"]

_MAX_BUFFERED = 10_000
"""Traces held in memory; beyond that a file is written, whatever `log_frequency` says."""

_log = logging.getLogger("cuelight.trace")


@dataclass(slots=True)
class _Scope:
    settings: TraceSettings
    seen: int = 0
    open: int = 0
    files: int = 0
    traces: list["Trace"] = field(default_factory=list)


@dataclass(slots=True)
class Trace:
    """One sampled request. Times are nanoseconds of the monotonic clock."""

    number: int
    model_name: str
    model_version: int
    request_id: str
    scope: _Scope
    timestamps: list[tuple[str, int]] = field(default_factory=list)

    def mark(self, name: str) -> None:
        """Note that `name` happens now."""
        self.timestamps.append((name, time.monotonic_ns()))


class Tracer:
    """Samples requests and writes their traces into `folder`.

    Check `enabled` before anything else: it is False while no model is traced, and costs one attribute then.
    """

    def __init__(self, folder: Path, spawn: Spawn) -> None:
        self.enabled = False
        self._spawn = spawn
        self._folder = folder
        self._global = _Scope(TraceSettings())
        self._models: dict[str, _Scope] = {}
        self._number = 0
        self._writing: set[asyncio.Task[None]] = set()

    def settings(self, model_name: str = "") -> dict[str, list[str]]:
        """Return the settings that hold for a model, or for every model without its own, by name on the wire."""
        return self._models.get(model_name, self._global).settings.shown()

    def update(self, changes: Mapping[str, Sequence[str]], model_name: str = "") -> dict[str, list[str]]:
        """Apply the changes, all or none, and return the settings that hold then.

        A setting without a value goes back to that of all models, or for all models to its default.

        Raises: InvalidRequest or Unsupported, see `trace_settings.updated`.
        """
        scope = self._models.get(model_name, self._global) if model_name else self._global
        defaults = self._global.settings if model_name else TraceSettings()
        settings = updated(scope.settings, changes, defaults)
        if model_name and model_name not in self._models:
            scope = self._models[model_name] = _Scope(settings)
        if settings.file != scope.settings.file:
            self._write(scope)
            scope.files = 0
        scope.settings = settings
        if not settings.timestamps:
            self._write(scope)
        self.enabled = any(each.settings.timestamps for each in (self._global, *self._models.values()))
        return settings.shown()

    def begin(self, model_name: str, model_version: int, request_id: str) -> Trace | None:
        """Return the trace of a request that comes now, marked REQUEST_START; None when it is not sampled."""
        scope = self._models.get(model_name, self._global)
        settings = scope.settings
        if not settings.timestamps or not settings.count:
            return None
        scope.seen += 1
        if scope.seen % settings.rate:
            return None
        if settings.count > 0:
            scope.settings = replace(settings, count=settings.count - 1)
        scope.open += 1
        self._number += 1
        trace = Trace(self._number, model_name, model_version, request_id, scope)
        trace.mark("REQUEST_START")
        return trace

    def end(self, trace: Trace) -> None:
        """Mark REQUEST_END: the request is answered, or has failed."""
        trace.mark("REQUEST_END")
        scope = trace.scope
        scope.open -= 1
        scope.traces.append(trace)
        frequency = scope.settings.log_frequency or _MAX_BUFFERED
        if len(scope.traces) >= frequency or not (scope.settings.count or scope.open) or not scope.settings.timestamps:
            self._write(scope)

    def end_with(self, trace: Trace, outputs: "asyncio.Future[Any] | None") -> None:
        """End the trace when the outputs are there, or now where nothing is awaited."""
        if outputs is None:
            self.end(trace)
        else:
            outputs.add_done_callback(lambda _: self.end(trace))

    async def stop(self) -> None:
        """Write what is buffered and return once it is on disk."""
        self.enabled = False
        for scope in (self._global, *self._models.values()):
            scope.settings = replace(scope.settings, timestamps=False)
            self._write(scope)
        await asyncio.gather(*self._writing)

    def _write(self, scope: _Scope) -> None:
        if not scope.traces:
            return
        indexed = scope.settings.log_frequency or scope.settings.timestamps or scope.files
        path = self._folder / (f"{scope.settings.file}.{scope.files}" if indexed else scope.settings.file)
        scope.files += 1
        traces, scope.traces = scope.traces, []
        task = self._spawn(asyncio.to_thread(_write_file, path, traces), f"write {path.name}")
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)


def _write_file(path: Path, traces: list[Trace]) -> None:
    entries: list[dict[str, Any]] = []
    for trace in traces:
        model = {"model_name": trace.model_name, "model_version": trace.model_version}
        entries.append({"id": trace.number, **model, "request_id": trace.request_id})
        stamps = [{"name": name, "ns": ns} for name, ns in trace.timestamps]
        entries.append({"id": trace.number, "timestamps": stamps})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _new_file(path) as file:
            json.dump(entries, file)
    except OSError as error:
        # A full disk costs traces and no request.
        _log.error("%d traces cannot be written to %s: %s", len(traces), path, error)
        return
    _log.info("%d traces written to %s", len(traces), file.name)


def _new_file(path: Path) -> TextIO:
    """Create a file of that name, or with a number behind it: callers choose names, and must overwrite nothing."""
    for number in count(-1):
        try:
            return (path if number < 0 else path.with_name(f"{path.name}.{number}")).open("x", encoding="utf-8")
        except FileExistsError:
            continue
    raise AssertionError("numbers do not end")
