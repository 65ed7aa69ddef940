"""The composition root of `cuelight serve`: from a configuration to services, and from start to stop.

Both fronts build it by name (`cuelight.server.app:build`), the envoy front inside another process. Loading models is a
background task: the server is live at once, and ready when every model it must serve is.
"""

import asyncio
from functools import partial
from typing import Any

from prometheus_client import PROCESS_COLLECTOR

from cuelight.server.companions import accompanied
from cuelight.server.config import ServeConfig
from cuelight.server.config_file import from_json
from cuelight.server.description import describe_repository
from cuelight.server.errors import ModelNotFound, ModelNotReady
from cuelight.server.inference.log_settings import LogSettings
from cuelight.server.inference.management import ManagementServicer
from cuelight.server.inference.metrics import ModelMetrics
from cuelight.server.inference.repository import ModelRepository
from cuelight.server.inference.resume_tokens import TokenSealer
from cuelight.server.inference.sequence_servicer import SequenceServicer, sequence_service
from cuelight.server.inference.sequence_steps import SequenceSteps
from cuelight.server.inference.service import inference_service
from cuelight.server.inference.servicer import InferenceServicer
from cuelight.server.inference.shared_memory import SharedMemoryRegions
from cuelight.server.inference.token_keys import KeyFile
from cuelight.server.inference.tracer import Tracer
from cuelight.server.inference.version_loader import Extensions, VersionLoader
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
from cuelight.server.speech.families import adapted
from cuelight.server.speech.riva.servicer import RivaServicer, riva_service
from cuelight.server.speech.service.admission import Admission
from cuelight.server.speech.service.metrics import SpeechMetrics
from cuelight.server.speech.service.models import SpeechModels
from cuelight.server.speech.service.servicer import SpeechServicer, speech_service
from cuelight.server.speech.service.voice_tokens import VoiceTokens
from cuelight.server.text.counts import TextCounts, TextMetrics
from cuelight.server.text.models import TextModels
from cuelight.server.text.service import text_service
from cuelight.server.text.servicer import TextServicer
from cuelight.server.text.transduction.metrics import TransductionMetrics
from cuelight.server.text.transduction.servicer import TransductionServicer
from cuelight.server.text.work_pool import WorkPool
from cuelight.server.version import server_version
from cuelight.server.vision.counts import VisionCounts, VisionMetrics
from cuelight.server.vision.image_calls import ImageWay
from cuelight.server.vision.image_pool import ImagePool
from cuelight.server.vision.models import VisionModels
from cuelight.server.vision.pictures import ImageLimits
from cuelight.server.vision.servicer import VisionServicer, vision_service

__all__ = ["InferenceApplication", "build"]


def build(config_json: str) -> "InferenceApplication":
    """Build the application from `config_file.to_json`; the name that fronts call. Needs a running event loop."""
    return InferenceApplication(from_json(config_json))


class InferenceApplication:
    """Owns everything behind the port. Lives on the event loop that serves the calls."""

    def __init__(self, config: ServeConfig) -> None:
        log = LogOutput(config.log)
        log.install()
        self.ledger = CallLedger(config.limits.max_calls_in_flight)
        self._tasks = BackgroundTasks()
        self._changes = Changes()
        self._loaded = asyncio.Event()
        self._loading: asyncio.Task[None] | None = None
        extensions = Extensions(adapted, partial(accompanied, cores=config.engine.cores))
        self._repository = ModelRepository(
            config.repository,
            VersionLoader(config.engine, config.limits.max_queue_size, config.sequences, extensions),
            self._tasks.create,
            self._changes.notify,
        )
        self._tracer = Tracer(config.log.trace_folder, self._tasks.create)
        self._health = HealthServicer(self._is_ready, self._changes)
        self._images = ImagePool(config.vision.threads, config.vision.max_waiting_images)
        self._image_counts = VisionCounts()
        self._text_counts = TextCounts()
        self.services = self._mounted(config, log)
        self._operations = OperationsPort(
            config.server.host,
            config.server.metrics_port,
            (
                CallMetrics(self.ledger),
                ModelMetrics(self._repository.serving),
                SpeechMetrics(self._admission),
                TextMetrics(self._text_counts, self._text_pool),
                TransductionMetrics(self._repository),
                VisionMetrics(self._image_counts, self._images),
                PROCESS_COLLECTOR,
            ),
            self._ready,
        )

    async def start(self) -> None:
        """Listen for operators and begin to load models. Raises: ConfigError when the metrics port is taken."""
        exempt_imports()
        await self._operations.start()
        await self._tasks.start()
        self._loading = self._tasks.create(self._load(), "load models")

    async def loaded(self) -> None:
        """Return once every model that is loaded at the start serves or has failed."""
        await self._loaded.wait()

    async def failure(self) -> BaseException:
        """Return the error of the first background task that died; of loading, ConfigError for unusable settings."""
        return await self._tasks.failure()

    async def drain(self) -> None:
        """Report NOT_SERVING, refuse new calls and return once those in flight have ended, and then the watches too."""
        self.ledger.draining = True
        self._changes.notify()
        self._inference.hand_over()
        self._speech.hand_over()
        self._vision.hand_over()
        await self.ledger.drain()
        self._health.close()

    async def stop(self) -> None:
        """End what runs beside the calls, in order: watches, batchers and engines, other tasks, the operations port."""
        self._health.close()
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        await self._images.stop()
        await self._repository.stop()
        await self._tracer.stop()
        await self._tasks.stop()
        self._text_pool.close()
        await self._operations.stop()

    def describe(self) -> dict[str, Any]:
        """Return what the startup message shows."""
        return {"metrics_port": self._operations.port, **describe_repository(self._repository)}

    async def _load(self) -> None:
        await self._repository.start()
        return_leftovers()
        self._loaded.set()

    def _ready(self) -> bool:
        return self._repository.ready and not self.ledger.draining

    def _is_ready(self, name: str) -> bool | None:
        """Answer for the health service: the whole server, or one model."""
        if not name or any(service.name == name for service in self.services):
            return self._ready()
        try:
            self._repository.get(name)
        except ModelNotReady:
            return False
        except ModelNotFound:
            return None
        return not self.ledger.draining

    def _mounted(self, config: ServeConfig, log: LogOutput) -> tuple[Service, ...]:
        regions = SharedMemoryRegions()
        sealer = TokenSealer(KeyFile(config.sequences.token_key_file), config.sequences.token_lifetime_s)
        steps = SequenceSteps(sealer, regions)
        self._inference = InferenceServicer(
            self._repository, regions, self._tracer, steps, config.limits.max_stream_in_flight
        )
        self._admission = Admission(config.engine.cores, config.speech.max_load, config.speech.max_voices)
        models = SpeechModels(self._repository, config.speech.default_model)
        text_models = TextModels(self._repository, config.text)
        self._text_pool = WorkPool(config.engine.cores)
        self._speech = SpeechServicer(models, VoiceTokens(sealer), self._admission, config.speech)
        limits = ImageLimits(config.vision.max_image_bytes, config.vision.max_pixels)
        way = ImageWay(self._images, limits, self._image_counts)
        self._vision = VisionServicer(VisionModels(self._repository, config.vision.default_model), way, config.vision)
        served = (
            inference_service(
                self._inference,
                ManagementServicer(
                    self._repository, regions, LogSettings(log), self._tracer, server_version(), self._ready
                ),
            ),
            sequence_service(SequenceServicer(self._repository, steps)),
            speech_service(self._speech),
            riva_service(RivaServicer(self._speech)),
            text_service(
                TextServicer(text_models, self._text_pool, config.text, self._text_counts),
                TransductionServicer(text_models, self._text_counts.transductions),
            ),
            vision_service(self._vision),
            health_service(self._health),
        )
        services = (*served, *reflection_services(served))
        return tuple(with_access_log(service) for service in services) if config.log.access_log else services
