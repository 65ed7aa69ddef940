"""Steps of sequences: from a request to the batcher, and from a result to the answer's parameters. Tokens both ways."""

import asyncio
import base64

from cuelight.inference.v1 import sequences_pb2
from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.errors import InvalidRequest, SequenceNotActive
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.resume_tokens import TokenSealer, snapshot_of, state_of
from cuelight.server.inference.sequence_batch import SequenceState, StepResult
from cuelight.server.inference.sequence_parameters import sequence_parameters
from cuelight.server.inference.sequences import Owner, Sequence, SequenceId
from cuelight.server.inference.tensors import MemoryRegions, decode_inputs

__all__ = ["SequenceSteps"]


class SequenceSteps:
    """What both ways into a stateful model share: ModelInfer and ModelStreamInfer. Holds no state but the keys'."""

    def __init__(self, sealer: TokenSealer, regions: MemoryRegions) -> None:
        self._sealer = sealer
        self._regions = regions

    def begin(
        self, version: ModelVersion, request: pb.ModelInferRequest, owner: Owner | None, deadline_s: float | None
    ) -> "asyncio.Future[StepResult]":
        """Queue the step and return the future of its result.

        Raises: InvalidRequest, SequenceNotActive, Overloaded, ShuttingDown.
        """
        assert version.sequences is not None
        asked = sequence_parameters(request)
        assert version.sequencing is not None
        for control in version.sequencing.spec.controls:
            if reason := control.refuses(asked.sequence_id):
                raise InvalidRequest(f'sequence_id: {reason}; model "{version.name}" takes {control.datatype.name}')
        inputs = decode_inputs(request, version.signature, self._regions)
        if version.signature.batches:
            for name, array in inputs.items():
                if array.shape[0] != 1:
                    raise InvalidRequest(
                        f'input "{name}": a step of a sequence has 1 row, got {array.shape[0]}; '
                        "each sequence sends its own"
                    )
        state = self._opened(version, asked.resume_token) if asked.resume_token is not None else None
        return version.sequences.submit(
            asked.sequence_id,
            inputs,
            start=asked.start,
            end=asked.end,
            owner=owner,
            deadline_s=deadline_s,
            state=state,
            wants_state=asked.wants_token,
        )

    def add_token(
        self, response: pb.ModelInferResponse, request: pb.ModelInferRequest, version: ModelVersion, result: StepResult
    ) -> None:
        """Put the token into an answer that was asked to bring one."""
        if result.state is None:
            return
        token = self.seal(version, sequence_parameters(request).sequence_id, result.state)
        _set_token(response, token, result.state)

    def seal(self, version: ModelVersion, sequence_id: SequenceId, state: SequenceState) -> bytes:
        """Return a sequence's state as a token."""
        return self._sealer.seal(self._snapshot(version, sequence_id, state))

    def hand_over(self, version: ModelVersion, sequence: Sequence, state: SequenceState) -> pb.ModelStreamInferResponse:
        """Return the message that tells a stream to go on with one of its sequences elsewhere."""
        message = pb.ModelStreamInferResponse()
        response = message.infer_response
        response.model_name, response.model_version = version.name, str(version.version)
        response.parameters["sequence_handover"].bool_param = True
        if isinstance(sequence.id, int):
            response.parameters["sequence_id"].int64_param = sequence.id
        else:
            response.parameters["sequence_id"].string_param = sequence.id
        _set_token(response, self.seal(version, sequence.id, state), state)
        assert version.sequences is not None
        version.sequences.counts.exported += 1
        return message

    def opened(self, token: bytes) -> sequences_pb2.SequenceSnapshot:
        """Return what a token holds; see `TokenSealer.open`."""
        return self._sealer.open(token)

    def _opened(self, version: ModelVersion, token: bytes) -> SequenceState:
        return self.state_for(version, self.opened(token))

    def state_for(self, version: ModelVersion, snapshot: sequences_pb2.SequenceSnapshot) -> SequenceState:
        """Return the snapshot's state, if it was made by the very file this version runs.

        Raises: SequenceNotActive naming both.
        """
        assert version.sequencing is not None
        made_by = snapshot.model_digest.hex()
        if snapshot.model_name != version.name or made_by != version.digest:
            raise SequenceNotActive(
                f'resume_token: made by model "{snapshot.model_name}" version {snapshot.model_version} '
                f'({made_by[:12]}), this is "{version.name}" version {version.version} ({version.digest[:12]}); '
                "a state goes on in the same model file only"
            )
        return state_of(snapshot, version.sequencing.spec)

    def _snapshot(
        self, version: ModelVersion, sequence_id: SequenceId, state: SequenceState
    ) -> sequences_pb2.SequenceSnapshot:
        assert version.sequencing is not None
        spec = version.sequencing.spec
        return snapshot_of(version.name, version.version, version.digest, sequence_id, state, spec)


def _set_token(response: pb.ModelInferResponse, token: bytes, state: SequenceState) -> None:
    response.parameters["resume_token"].string_param = base64.b64encode(token).decode()
    response.parameters["sequence_steps"].int64_param = state.steps
