"""The model repository: what is served, and every change to it.

One task works off changes (load, unload, poll) one at a time; it alone writes the catalog, on the event loop. Files are
read and versions built on one loader thread, also one at a time: so that warm-up measures undisturbed.

    load: look at the folder -> choose versions -> build, warm up, prove (loader thread) -> swap -> drain the old one

The swap is one dict write between two requests. The replaced version answers what it holds, keeps its live sequences
until they end, and is freed in the background. A version that fails changes nothing but its line in the index; while a
version fails, none that serves is retired. Files that failed are tried again when they change, or when a load is asked
for.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar, TypeVarTuple

from cuelight.server.config import RepositoryConfig
from cuelight.server.errors import (
    ConfigError,
    InvalidRequest,
    ModelLoadFailed,
    ModelNotFound,
    Unsupported,
)
from cuelight.server.inference.catalog import Catalog, IndexEntry, VersionState
from cuelight.server.inference.change_queue import ChangeQueue
from cuelight.server.inference.load_override import LoadOverride
from cuelight.server.inference.load_plan import LoadPlan, PlanFailed, make_plan
from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.repository_scan import check_repositories, find_model, is_model_name, scan
from cuelight.server.inference.version_loader import VersionLoader

__all__ = ["ModelRepository", "Spawn"]

_log = logging.getLogger("cuelight.repository")

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


class Spawn(Protocol):
    """Starts a background task whose death is noticed: `BackgroundTasks.create`."""

    def __call__(self, work: Coroutine[Any, Any, None], name: str) -> "asyncio.Task[None]":
        """Start the task."""
        ...


class ModelRepository:
    """Owns the catalog, the loader thread and the one task that changes what is served. Lives on the event loop."""

    def __init__(
        self,
        config: RepositoryConfig,
        loader: VersionLoader,
        spawn: Spawn,
        changed: Callable[[], None] = lambda: None,
        ticks: AsyncIterator[None] | None = None,
    ) -> None:
        """`changed` is called whenever another set of versions serves, or `ready` has changed.

        `ticks` says when to look at the folders in control mode `poll`; default: every `poll_interval_s`.
        """
        self._config = config
        self._loader = loader
        self._spawn = spawn
        self._changed = changed
        self._ticks = ticks if ticks is not None else _every(config.poll_interval_s)
        self._catalog = Catalog()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cuelight-loader")
        self._changes = ChangeQueue("the model repository", changed)
        self._tasks: list[asyncio.Task[None]] = []
        self._draining: set[asyncio.Task[None]] = set()
        self._started = False
        self._of_the_start: frozenset[str] = frozenset()
        self.get = self._catalog.get
        self.holding = self._catalog.holding
        self.maker = self._catalog.maker
        self.leaving = self._catalog.leaving
        self.serving = self._catalog.serving

    @property
    def ready(self) -> bool:
        """Whether the start is over and, unless `strict_readiness` is off, every model of the start serves.

        A model that comes later and is slow or broken takes no traffic away from those that serve.
        """
        if not self._started or not self._config.strict_readiness:
            return self._started
        return self._of_the_start.isdisjoint(self._catalog.not_serving())

    async def start(self) -> None:
        """Load what the control mode says. A model that fails is in the index with its reason; the others serve.

        Raises: ConfigError naming a repository that does not exist, or a model in `load_models` that no repository has.
        """
        check_repositories(self._config.paths)
        names = await self._off_loop(self._names_at_start)
        self._of_the_start = frozenset(names)
        self._tasks.append(self._spawn(self._changes.work(), "model repository"))
        await self._changes.run(lambda: self._load_all(names))
        if self._config.control_mode == "poll":
            self._tasks.append(self._spawn(self._watch(), "model repository poll"))
        self._started = True
        self._changed()

    async def stop(self) -> None:
        """Take every version off the tables, and return once each has answered what it accepted."""
        self._changes.close()
        for task in self._tasks:
            task.cancel()
        going = [version for name in self._catalog.names() for version in self._catalog.unwant(name)]
        for version in [version for versions in self._catalog.leaving.values() for version in versions]:
            version.abandon()
        await asyncio.gather(*(version.stop() for version in going), *self._draining)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def load(self, name: str, override: LoadOverride | None = None) -> None:
        """Load a model, or load it anew, and return when it serves.

        Raises: Unsupported unless the control mode is `explicit`; ModelNotFound; ModelLoadFailed with every reason.
        """
        self._check_explicit("load")
        await self._changes.run(lambda: self._load_named(name, override))

    async def unload(self, name: str) -> None:
        """Let no new request reach the model; those it has accepted are answered in the background.

        Raises: Unsupported unless the control mode is `explicit`; ModelNotFound.
        """
        self._check_explicit("unload")
        await self._changes.run(lambda: self._unload_named(name))

    async def poll(self) -> None:
        """Look at the folders and load, reload and unload what has changed in them."""
        await self._changes.run(self._poll)

    async def index(self) -> list[IndexEntry]:
        """Return the state of every version that was looked at, and every other model that lies in a repository."""
        entries = self._catalog.index()
        known = {entry.name for entry in entries}
        try:
            folders = await asyncio.to_thread(scan, self._config.paths)
        except OSError as error:
            _log.error("a model repository cannot be read: %s", error)
            folders = {}
        entries += [
            IndexEntry(name, "", VersionState.UNAVAILABLE, "not loaded") for name in folders if name not in known
        ]
        return sorted(entries, key=lambda entry: entry.name)

    def failures(self) -> list[IndexEntry]:
        """Return the versions, and the models, that should serve and do not."""
        wanted = set(self._catalog.not_serving())
        return [
            entry for entry in self._catalog.index() if entry.name in wanted and entry.state is VersionState.UNAVAILABLE
        ]

    async def _watch(self) -> None:
        async for _ in self._ticks:
            await self.poll()

    async def _load_all(self, names: Iterable[str]) -> None:
        for name in names:
            await self._load(name)

    async def _load_named(self, name: str, override: LoadOverride | None) -> None:
        if override and override.files:
            if not is_model_name(name):
                raise InvalidRequest(f'model_name "{name}": expected the name of a folder')
        elif await self._off_loop(find_model, self._config.paths, name) is None:
            raise ModelNotFound(f'model "{name}": no such folder in {self._places()}')
        if failures := await self._load(name, override, force=True):
            raise ModelLoadFailed(f'model "{name}": {"; ".join(failures)}')

    async def _unload_named(self, name: str) -> None:
        if name in self._catalog.names():
            self._drain(self._catalog.unwant(name))
            _log.info("model %s: unloaded", name)
        elif await self._off_loop(find_model, self._config.paths, name) is None:
            raise ModelNotFound(f'model "{name}": no such folder in {self._places()}')

    async def _poll(self) -> None:
        try:
            folders = await self._off_loop(scan, self._config.paths)
        except OSError as error:
            # A repository that cannot be read for a moment takes no model away.
            _log.error("a model repository cannot be read, what serves goes on: %s", error)
            return
        for name in self._catalog.names():
            if name not in folders and self._catalog.is_wanted(name):
                self._drain(self._catalog.unwant(name))
                _log.info("model %s: its folder is gone, unloaded", name)
        for name, folder in folders.items():
            if self._catalog.seen(name) != folder:
                await self._load(name)

    async def _load(self, name: str, override: LoadOverride | None = None, force: bool = False) -> list[str]:
        """Bring a model to what its folder says, and return why that failed, where it did."""
        self._catalog.begin_model(name, None)
        plan = None
        try:
            plan = await self._off_loop(make_plan, self._config.paths, name, override)
            self._catalog.begin_model(name, plan.folder)
            for version in plan.versions:
                if force or not self._catalog.is_settled(name, version, plan.folder.fingerprint(version)):
                    await self._load_version(plan, version)
            failures = self._catalog.failures(name, plan.versions)
            if not failures:
                self._drain(self._catalog.retire(name, keep=plan.versions))
            return failures
        except PlanFailed as failed:
            self._catalog.begin_model(name, failed.folder)
            self._catalog.fail_model(name, str(failed))
            _log.error("model %s: %s", name, failed)
            return [str(failed)]
        finally:
            if plan is not None and plan.temporary is not None:
                await self._off_loop(plan.clean_up)

    async def _load_version(self, plan: LoadPlan, version: int) -> None:
        name = plan.folder.name
        fingerprint = plan.folder.fingerprint(version)
        self._catalog.begin_version(name, version)
        try:
            prepared = await self._off_loop(self._loader.prepare, name, version, plan.folder.path, plan.config)
        except ModelLoadError as error:
            self._catalog.fail_version(name, version, fingerprint, str(error))
            _log.error("model %s version %d is not served: %s", name, version, error)
            return
        except Exception as error:
            # The load boundary: whatever one model's files bring about, the other models serve on.
            self._catalog.fail_version(name, version, fingerprint, f"loading it failed unexpectedly: {error}")
            _log.exception("model %s version %d is not served", name, version)
            return
        replaced = self._catalog.install(prepared.serve(), fingerprint)
        _log.info("model %s version %d: serves, %s", name, version, prepared.summary())
        if replaced is not None:
            self._drain([replaced])

    def _drain(self, versions: Iterable[ModelVersion]) -> None:
        for version in versions:
            self._catalog.leave(version)
            task = self._spawn(self._end(version), f"drain {version.name} {version.version}")
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)

    async def _end(self, version: ModelVersion) -> None:
        await version.retire()
        self._catalog.left(version)
        self._catalog.retired(version)
        self._changed()

    def _names_at_start(self) -> list[str]:
        folders = scan(self._config.paths)
        wanted = self._config.load_models
        if self._config.control_mode != "explicit" or wanted == ("*",):
            return list(folders)
        for name in wanted:
            if name not in folders:
                raise ConfigError(f'repository.load_models: no model "{name}" in {self._places()}')
        return list(wanted)

    def _check_explicit(self, what: str) -> None:
        mode = self._config.control_mode
        if mode != "explicit":
            raise Unsupported(
                f'cannot {what} a model by request: the control mode is "{mode}"; '
                'start the server with control mode "explicit"'
            )

    def _places(self) -> str:
        return ", ".join(str(path) for path in self._config.paths)

    async def _off_loop(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)


async def _every(interval_s: float) -> AsyncIterator[None]:
    while True:
        await asyncio.sleep(interval_s)
        yield
