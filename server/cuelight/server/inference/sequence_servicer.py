"""SequenceService: live sequences as tokens, and tokens as live sequences, by call."""

from cuelight.inference.v1 import sequences_pb2 as pb
from cuelight.server.errors import InvalidRequest, SequenceNotActive, Unsupported
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.resume_tokens import sequence_id_of
from cuelight.server.inference.sequence_steps import SequenceSteps
from cuelight.server.inference.sequences import SequenceId
from cuelight.server.inference.servicer import Models
from cuelight.server.rpc.context import RpcContext
from cuelight.server.rpc.methods import Service, service_from_descriptor

__all__ = ["SequenceServicer", "sequence_service"]

_WHILE_DRAINING = ("ExportSequence",)
"""So that a client whose steps are refused because the server shuts down can still fetch its sequence's state."""


def sequence_service(servicer: "SequenceServicer") -> Service:
    """Return the table that the fronts mount."""
    return service_from_descriptor(
        pb.DESCRIPTOR.services_by_name["SequenceService"], servicer, while_draining=_WHILE_DRAINING
    )


class SequenceServicer:
    """Export and import. Holds no state of its own."""

    def __init__(self, models: Models, steps: SequenceSteps) -> None:
        self._models = models
        self._steps = steps

    async def ExportSequence(self, request: pb.ExportSequenceRequest, context: RpcContext) -> pb.ExportSequenceResponse:
        """Return a sequence's state; see the proto for its errors."""
        sequence_id = sequence_id_of(request.sequence_id)
        if sequence_id is None:
            raise InvalidRequest("sequence_id: expected a number other than 0 or a string that is not empty")
        version = self._holder(request.model_name, request.model_version, sequence_id)
        if version.sequences is None:
            raise Unsupported(f'model "{version.name}" has no state; it keeps no sequences')
        state = (await version.sequences.export(sequence_id)).state
        assert state is not None
        version.sequences.counts.exported += 1
        response = pb.ExportSequenceResponse(
            resume_token=self._steps.seal(version, sequence_id, state), steps=state.steps
        )
        response.expires.FromMicroseconds(round(self._steps.opened(response.resume_token).expires_unix_s * 1e6))
        return response

    async def ImportSequence(self, request: pb.ImportSequenceRequest, context: RpcContext) -> pb.ImportSequenceResponse:
        """Begin a sequence from a state; see the proto for its errors."""
        snapshot = self._steps.opened(request.resume_token)
        sequence_id = sequence_id_of(request.sequence_id) or sequence_id_of(snapshot.sequence_id)
        if sequence_id is None:
            raise InvalidRequest("resume_token: names no sequence, and sequence_id is empty")
        version = self._maker(snapshot)
        assert version.sequences is not None
        await version.sequences.restore(sequence_id, self._steps.state_for(version, snapshot))
        response = pb.ImportSequenceResponse(
            model_name=version.name, model_version=str(version.version), steps=snapshot.steps
        )
        if isinstance(sequence_id, int):
            response.sequence_id.number = sequence_id
        else:
            response.sequence_id.text = sequence_id
        return response

    def _holder(self, name: str, version: str, sequence_id: SequenceId) -> ModelVersion:
        return self._models.holding(name, version, sequence_id) or self._models.get(name, version)

    def _maker(self, snapshot: pb.SequenceSnapshot) -> ModelVersion:
        """Return the version that runs the file which made the snapshot."""
        version = self._models.maker(snapshot.model_name, snapshot.model_digest.hex())
        if version is None or version.sequences is None:
            here = self._models.get(snapshot.model_name)
            raise SequenceNotActive(
                f'resume_token: made by model "{snapshot.model_name}" version {snapshot.model_version} '
                f"({snapshot.model_digest.hex()[:12]}); here version {here.version} serves ({here.digest[:12]})"
            )
        return version
