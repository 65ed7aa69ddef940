"""Every RPC of GRPCInferenceService but the two that run models: health, metadata, repository, shared memory, settings.

Handlers know no transport; the proto says what each takes and which errors it can end with.
"""

from collections.abc import Callable
from typing import Any

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.errors import InvalidRequest, ModelNotFound, ModelNotReady, Unsupported
from cuelight.server.inference.catalog import VersionState
from cuelight.server.inference.descriptions import model_metadata, model_statistics
from cuelight.server.inference.load_override import override_of
from cuelight.server.inference.log_settings import LogSettings, Setting
from cuelight.server.inference.repository import ModelRepository
from cuelight.server.inference.shared_memory import SharedMemoryRegions
from cuelight.server.inference.tracer import Tracer
from cuelight.server.rpc.context import RpcContext

__all__ = ["EXTENSIONS", "ManagementServicer"]

EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "logging",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "schedule_policy",
    "statistics",
    "system_shared_memory",
    "trace",
)
"""Of the extensions that Triton names, those that are here."""


class ManagementServicer:
    """Answers from the repository, the shared memory regions, the log and the tracer. Holds no state of its own."""

    def __init__(
        self,
        repository: ModelRepository,
        shared_memory: SharedMemoryRegions,
        log_settings: LogSettings,
        tracer: Tracer,
        server_version: str,
        is_ready: Callable[[], bool] | None = None,
    ) -> None:
        """`is_ready` answers ServerReady; default: whether the repository is ready."""
        self._repository = repository
        self._shared_memory = shared_memory
        self._log_settings = log_settings
        self._tracer = tracer
        self._server_version = server_version
        self._is_ready = is_ready if is_ready is not None else lambda: repository.ready

    async def ServerLive(self, request: pb.ServerLiveRequest, context: RpcContext) -> pb.ServerLiveResponse:
        """Return true: a server that answers is alive."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: RpcContext) -> pb.ServerReadyResponse:
        """Return whether every model that should serve does, and the server takes calls."""
        return pb.ServerReadyResponse(ready=self._is_ready())

    async def ModelReady(self, request: pb.ModelReadyRequest, context: RpcContext) -> pb.ModelReadyResponse:
        """Return whether a version serves; false for a model that is not here."""
        try:
            self._repository.get(request.name, request.version)
        except (ModelNotFound, ModelNotReady):
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: RpcContext) -> pb.ServerMetadataResponse:
        """Return name, version and extensions of this server."""
        return pb.ServerMetadataResponse(name="cuelight", version=self._server_version, extensions=EXTENSIONS)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: RpcContext) -> pb.ModelMetadataResponse:
        """Return a version's tensors and the model's versions."""
        version = self._repository.get(request.name, request.version)
        return model_metadata(version, self._repository.serving(request.name))

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: RpcContext) -> pb.ModelConfigResponse:
        """Return a version's completed configuration."""
        return pb.ModelConfigResponse(config=self._repository.get(request.name, request.version).config)

    async def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, context: RpcContext
    ) -> pb.ModelStatisticsResponse:
        """Return the figures of one version, of a model's versions, or of all that serve."""
        if request.name and request.version:
            versions = [self._repository.get(request.name, request.version)]
        else:
            if request.name:
                self._repository.get(request.name)
            versions = self._repository.serving(request.name)
        return pb.ModelStatisticsResponse(model_stats=[model_statistics(version) for version in versions])

    async def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: RpcContext
    ) -> pb.RepositoryIndexResponse:
        """Return the state of every version of every model."""
        _check_no_repository_name(request.repository_name)
        response = pb.RepositoryIndexResponse()
        for entry in await self._repository.index():
            if entry.state is VersionState.READY or not request.ready:
                response.models.add(
                    name=entry.name, version=entry.version, state=entry.state.value, reason=entry.reason
                )
        return response

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: RpcContext
    ) -> pb.RepositoryModelLoadResponse:
        """Load a model, or load it anew, and answer when it serves."""
        _check_no_repository_name(request.repository_name)
        await self._repository.load(request.model_name, override_of(request.parameters))
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: RpcContext
    ) -> pb.RepositoryModelUnloadResponse:
        """Unload a model. No model here depends on another, so `unload_dependents` changes nothing."""
        _check_no_repository_name(request.repository_name)
        for key, parameter in request.parameters.items():
            if key != "unload_dependents" or parameter.WhichOneof("parameter_choice") != "bool_param":
                raise InvalidRequest(f'parameter "{key}": the only one known is "unload_dependents", a bool_param')
        await self._repository.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    async def SystemSharedMemoryStatus(
        self, request: pb.SystemSharedMemoryStatusRequest, context: RpcContext
    ) -> pb.SystemSharedMemoryStatusResponse:
        """Return one registered region, or all."""
        response = pb.SystemSharedMemoryStatusResponse()
        for region in self._shared_memory.status(request.name):
            status = response.regions[region.name]
            status.name, status.key = region.name, region.key
            status.offset, status.byte_size = region.offset, region.byte_size
        return response

    async def SystemSharedMemoryRegister(
        self, request: pb.SystemSharedMemoryRegisterRequest, context: RpcContext
    ) -> pb.SystemSharedMemoryRegisterResponse:
        """Register a region of a shared memory object of this machine."""
        self._shared_memory.register(request.name, request.key, request.offset, request.byte_size)
        return pb.SystemSharedMemoryRegisterResponse()

    async def SystemSharedMemoryUnregister(
        self, request: pb.SystemSharedMemoryUnregisterRequest, context: RpcContext
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        """Forget one region, or all."""
        self._shared_memory.unregister(request.name)
        return pb.SystemSharedMemoryUnregisterResponse()

    async def CudaSharedMemoryStatus(
        self, request: pb.CudaSharedMemoryStatusRequest, context: RpcContext
    ) -> pb.CudaSharedMemoryStatusResponse:
        """Raise Unsupported."""
        raise _no_cuda_shared_memory()

    async def CudaSharedMemoryRegister(
        self, request: pb.CudaSharedMemoryRegisterRequest, context: RpcContext
    ) -> pb.CudaSharedMemoryRegisterResponse:
        """Raise Unsupported."""
        raise _no_cuda_shared_memory()

    async def CudaSharedMemoryUnregister(
        self, request: pb.CudaSharedMemoryUnregisterRequest, context: RpcContext
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        """Raise Unsupported."""
        raise _no_cuda_shared_memory()

    async def TraceSetting(self, request: pb.TraceSettingRequest, context: RpcContext) -> pb.TraceSettingResponse:
        """Change trace settings, of one model or of all, and return those that hold then."""
        if request.model_name:
            self._repository.get(request.model_name)
        changes = {name: list(setting.value) for name, setting in request.settings.items()}
        update = self._tracer.update(changes, request.model_name) if changes else None
        settings = update or self._tracer.settings(request.model_name)
        response = pb.TraceSettingResponse()
        for name, values in settings.items():
            response.settings[name].value.extend(values)
        return response

    async def LogSettings(self, request: pb.LogSettingsRequest, context: RpcContext) -> pb.LogSettingsResponse:
        """Change log settings and return those that hold then."""
        settings = self._log_settings.update({name: _setting(value) for name, value in request.settings.items()})
        response = pb.LogSettingsResponse()
        for name, value in settings.items():
            setattr(response.settings[name], _SETTING_FIELDS[type(value)], value)
        return response


_SETTING_FIELDS: dict[type[Setting], str] = {bool: "bool_param", int: "uint32_param", str: "string_param"}


def _setting(value: Any) -> Setting | None:
    choice = value.WhichOneof("parameter_choice")
    return getattr(value, choice) if choice else None


def _check_no_repository_name(name: str) -> None:
    if name:
        raise Unsupported(f'repository_name "{name}": repositories have no names here; leave it empty')


def _no_cuda_shared_memory() -> Unsupported:
    return Unsupported("CUDA shared memory is not offered; system shared memory is")
