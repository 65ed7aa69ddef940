"""Model versions for tests, loaded as the server loads them but without a repository."""

import asyncio
from pathlib import Path

import onnx
from onnxruntime import InferenceSession

from cuelight.inference.v2 import model_config_pb2
from cuelight.server.errors import ModelNotFound
from cuelight.server.inference.batch_queue import BatchingConfig
from cuelight.server.inference.datatypes import DATATYPE_OF_ORT_TYPE
from cuelight.server.inference.direct_session import open_direct_session
from cuelight.server.inference.engine import OrtEngine, SessionConfig, open_session
from cuelight.server.inference.engine_pool import EnginePlan
from cuelight.server.inference.model_version import ModelVersion, StepTimes
from cuelight.server.inference.resume_tokens import TokenSealer
from cuelight.server.inference.sequence_steps import SequenceSteps
from cuelight.server.inference.sequences import SequenceId
from cuelight.server.inference.signature import ModelSignature, TensorSpec
from cuelight.server.inference.tensors import MemoryRegions
from cuelight.server.inference.token_keys import KeyFile
from tests.scale_models import write_version

MAX_BATCH_SIZE = 8
FAST_S, SLOW_S = 1e-6, 1.0


def sequence_steps(regions: MemoryRegions) -> SequenceSteps:
    """Return what the servicer needs for stateful models, with a key of its own."""
    return SequenceSteps(TokenSealer(KeyFile(None), 3600.0), regions)


class Versions:
    """Models by name, as the servicer looks them up."""

    def __init__(self, *versions: ModelVersion) -> None:
        self._versions = {version.name: version for version in versions}
        self.leaving: dict[str, list[ModelVersion]] = {}

    def holding(self, name: str, version: str, sequence_id: SequenceId) -> ModelVersion | None:
        return None

    def maker(self, name: str, digest: str) -> ModelVersion | None:
        return self._versions.get(name)

    def get(self, name: str, version: str = "") -> ModelVersion:
        if name not in self._versions:
            raise ModelNotFound(f'model "{name}" is not here')
        return self._versions[name]

    def put(self, version: ModelVersion) -> None:
        self._versions[version.name] = version

    def remove(self, name: str) -> ModelVersion:
        return self._versions.pop(name)

    async def stop(self) -> None:
        await asyncio.gather(*(version.stop() for version in self._versions.values()))


def load(folder: Path, name: str, model: onnx.ModelProto, *, inline: bool) -> ModelVersion:
    """Load a model that is said to take a microsecond (inline) or a second (queued) a step."""
    path = write_version(folder, name, 1, model) / "model.onnx"
    session = open_session(path, SessionConfig())
    signature = signature_of(session)
    return ModelVersion(
        name,
        1,
        model_config_pb2.ModelConfig(name=name),
        signature,
        BatchingConfig(MAX_BATCH_SIZE),
        EnginePlan((OrtEngine(session, signature, SessionConfig()),)),
        StepTimes(dict.fromkeys((1, 2, 4, 8), FAST_S if inline else SLOW_S)),
        digest="",
        golden_cases=0,
        directory=path.parent,
        direct=open_direct_session(path, signature) if inline else None,
    )


def signature_of(session: InferenceSession, max_batch_size: int = MAX_BATCH_SIZE) -> ModelSignature:
    """Return what a session takes and gives."""
    return ModelSignature(
        {value.name: _spec(value) for value in session.get_inputs()},
        {value.name: _spec(value) for value in session.get_outputs()},
        max_batch_size,
    )


def _spec(value: object) -> TensorSpec:
    name, shape, ort_type = value.name, value.shape, value.type  # type: ignore[attr-defined]
    sizes = tuple(size if isinstance(size, int) else -1 for size in shape)
    return TensorSpec(name, DATATYPE_OF_ORT_TYPE[ort_type], sizes)
