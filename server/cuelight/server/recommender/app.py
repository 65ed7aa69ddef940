"""The composition root of `cuelight recommender serve`: from a configuration to services, and from start to stop.

Both fronts build it by name (`cuelight.server.recommender.app:build`). The data folder is taken at once, the models
are fitted in the background: live at once, ready when they are.
"""

import asyncio
import json
from typing import Any

from prometheus_client import PROCESS_COLLECTOR

from cuelight.server.recommender.config import RecommenderConfig, build_recommender_config
from cuelight.server.recommender.experiments.experiments import Experiments
from cuelight.server.recommender.live_models import LiveModels
from cuelight.server.recommender.live_recommender import LiveRecommender
from cuelight.server.recommender.metrics import RecommenderMetrics
from cuelight.server.recommender.servicer import RecommenderServicer, recommender_service
from cuelight.server.rpc.access_log import with_access_log
from cuelight.server.rpc.changes import Changes
from cuelight.server.rpc.health import HealthServicer, health_service
from cuelight.server.rpc.ledger import CallLedger
from cuelight.server.rpc.lifecycle import BackgroundTasks
from cuelight.server.rpc.log_format import LogOutput
from cuelight.server.rpc.memory import exempt_imports, return_leftovers
from cuelight.server.rpc.methods import Service
from cuelight.server.rpc.metrics import CallMetrics
from cuelight.server.rpc.operations import OperationsPort
from cuelight.server.rpc.reflection import reflection_services

__all__ = ["RecommenderApplication", "build"]


def build(config_json: str) -> "RecommenderApplication":
    """Build the application from `config_file.to_json`; the name that fronts call. Needs a running event loop."""
    return RecommenderApplication(build_recommender_config(json.loads(config_json)))


class RecommenderApplication:
    """Owns everything behind the port. Lives on the event loop that serves the calls."""

    def __init__(self, config: RecommenderConfig) -> None:
        LogOutput(config.log).install()
        self.ledger = CallLedger(config.limits.max_calls_in_flight)
        self._tasks = BackgroundTasks()
        self._changes = Changes()
        self._learned = Changes()
        self._loaded = asyncio.Event()
        self._counts = (0, 0)
        experiments = Experiments(config.experiments)
        self._recommender = LiveRecommender(
            config.data.folder,
            config.data.min_value,
            config.limits.max_queue_size,
            self._tasks.create,
            self._learned.notify,
            experiments.shares,
            config.data.max_liked_items,
            config.models,
        )
        self._servicer = RecommenderServicer(self._recommender, self._learned, experiments)
        self._health = HealthServicer(self._is_ready, self._changes)
        self.services = self._mounted(config)
        self._operations = OperationsPort(
            config.server.host,
            config.server.metrics_port,
            (CallMetrics(self.ledger), RecommenderMetrics(self._recommender, experiments.shares), PROCESS_COLLECTOR),
            self._ready,
        )

    async def start(self) -> None:
        """Take the data folder, listen for operators and begin to fit. Raises: ConfigError."""
        exempt_imports()
        await self._recommender.open()
        await self._operations.start()
        await self._tasks.start()
        self._tasks.create(self._load(), "fit models")

    async def loaded(self) -> None:
        """Return once the models are fitted."""
        await self._loaded.wait()

    async def failure(self) -> BaseException:
        """Return the error of the first background task that died."""
        return await self._tasks.failure()

    async def drain(self) -> None:
        """Report NOT_SERVING, refuse new calls and return once those in flight have ended, and then the watches too."""
        self.ledger.draining = True
        self._changes.notify()
        self._servicer.close()
        await self.ledger.drain()
        self._health.close()

    async def stop(self) -> None:
        """End what runs beside the calls, in order: watches, lines, threads and the store, the operations port."""
        self._health.close()
        await self._tasks.stop()
        await self._recommender.stop()
        await self._operations.stop()

    def describe(self) -> dict[str, Any]:
        """Return what the startup message shows."""
        users, items = self._counts
        return {"metrics_port": self._operations.port, "users": users, "items": items, "ready": self._ready()}

    async def _load(self) -> None:
        await self._recommender.load()
        self._counts = await self._recommender.ask_models(LiveModels.counts)
        return_leftovers()
        self._loaded.set()
        self._changes.notify()

    def _ready(self) -> bool:
        return self._recommender.ready and not self.ledger.draining

    def _is_ready(self, name: str) -> bool | None:
        known = not name or any(service.name == name for service in self.services)
        return self._ready() if known else None

    def _mounted(self, config: RecommenderConfig) -> tuple[Service, ...]:
        served = (recommender_service(self._servicer), health_service(self._health))
        services = (*served, *reflection_services(served))
        return tuple(with_access_log(service) for service in services) if config.log.access_log else services
