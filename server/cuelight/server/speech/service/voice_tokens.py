"""Resume tokens of voices: a `VoiceState`, sealed as sequences' tokens are, with the identity of model and audio."""

from cuelight.server.errors import InvalidRequest, SequenceNotActive
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.resume_tokens import TokenSealer, snapshot_of, state_of
from cuelight.server.speech.audio import resume_point
from cuelight.server.speech.results import VoiceState
from cuelight.speech.v1 import snapshot_pb2

__all__ = ["VoiceTokens"]

VOICE_TOKEN = b"CLV1"


class VoiceTokens:
    """Seals voices and opens their tokens. Holds no state but the keys'."""

    def __init__(self, sealer: TokenSealer) -> None:
        self._sealer = sealer

    def seal(
        self, version: ModelVersion, stepped: ModelVersion | None, state: VoiceState, rate_hz: int, model_rate_hz: int
    ) -> tuple[bytes, int]:
        """Return a voice's token, and the sample of the source from which on audio has to come again.

        `stepped` is the version whose sequence the state holds; `rate_hz` is the source's.
        """
        source_sample, _ = resume_point(state.start_sample, rate_hz, model_rate_hz)
        snapshot = snapshot_pb2.VoiceSnapshot(
            model_name=version.name,
            model_version=version.version,
            model_digest=bytes.fromhex(version.digest),
            source_sample=source_sample,
            source_rate_hz=rate_hz,
            utterance=state.utterance,
            recognizer=state.recognizer,
            start_sample=state.start_sample,
        )
        if state.sequence is not None and stepped is not None and stepped.sequencing is not None:
            spec = stepped.sequencing.spec
            sequence = snapshot_of(stepped.name, stepped.version, stepped.digest, 1, state.sequence, spec)
            snapshot.sequence.CopyFrom(sequence)
        return self._sealer.seal(snapshot, VOICE_TOKEN), source_sample

    def open(self, token: bytes) -> snapshot_pb2.VoiceSnapshot:
        """Return what a token holds. Raises: InvalidRequest, SequenceNotActive; see `TokenSealer.open_as`."""
        if not token.startswith(VOICE_TOKEN):
            raise InvalidRequest(f"resume_token: {len(token)} bytes that are no token of a speech stream")
        snapshot: snapshot_pb2.VoiceSnapshot = self._sealer.open_as(token, snapshot_pb2.VoiceSnapshot, VOICE_TOKEN)
        return snapshot

    def state_for(
        self, version: ModelVersion, stepped: ModelVersion | None, snapshot: snapshot_pb2.VoiceSnapshot
    ) -> VoiceState:
        """Return the state of a snapshot, if it was made by the very files these versions run.

        Raises: SequenceNotActive naming both.
        """
        _check_same(version, snapshot.model_name, snapshot.model_digest.hex())
        sequence = None
        if snapshot.HasField("sequence"):
            made = snapshot.sequence
            if stepped is None or stepped.sequencing is None:
                raise SequenceNotActive(f'resume_token: made with model "{made.model_name}", which is not here')
            _check_same(stepped, made.model_name, made.model_digest.hex())
            sequence = state_of(made, stepped.sequencing.spec)
        return VoiceState(snapshot.start_sample, snapshot.utterance, sequence, snapshot.recognizer)


def _check_same(version: ModelVersion, name: str, digest: str) -> None:
    if name != version.name or digest != version.digest:
        raise SequenceNotActive(
            f'resume_token: made by model "{name}" ({digest[:12]}), this is "{version.name}" version '
            f"{version.version} ({version.digest[:12]}); a voice goes on in the same model file only"
        )
