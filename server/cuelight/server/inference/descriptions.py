"""What a served version looks like on the wire: metadata and statistics messages."""

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.inference.model_config import PLATFORM
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.signature import TensorSpec
from cuelight.server.inference.statistics import Duration, VersionStatistics

__all__ = ["model_metadata", "model_statistics"]

_DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
_BATCH_DURATIONS = ("compute_input", "compute_infer", "compute_output")


def model_metadata(version: ModelVersion, versions: list[ModelVersion]) -> pb.ModelMetadataResponse:
    """Return the tensors of `version`, and the numbers of all of the model's versions that serve."""
    return pb.ModelMetadataResponse(
        name=version.name,
        versions=[str(each.version) for each in versions],
        platform=PLATFORM,
        inputs=[_tensor(spec) for spec in version.signature.inputs.values()],
        outputs=[_tensor(spec) for spec in version.signature.outputs.values()],
    )


def model_statistics(version: ModelVersion) -> pb.ModelStatistics:
    """Return what the version has done since it was loaded."""
    statistics: VersionStatistics = version.statistics
    message = pb.ModelStatistics(
        name=version.name,
        version=str(version.version),
        last_inference=statistics.last_inference_ms,
        inference_count=statistics.inference_count,
        execution_count=statistics.execution_count,
    )
    for name in _DURATIONS:
        _fill(getattr(message.inference_stats, name), getattr(statistics, name))
    for rows, batch in sorted(statistics.batches.items()):
        batch_message = message.batch_stats.add(batch_size=rows)
        for name in _BATCH_DURATIONS:
            _fill(getattr(batch_message, name), getattr(batch, name))
    return message


def _tensor(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype.name, shape=spec.shape)


def _fill(message: pb.StatisticDuration, duration: Duration) -> None:
    message.count = duration.count
    message.ns = duration.ns
