"""A Riva client's stream: messages in, in our words; responses out, in Riva's.

Owned by the call's task. The request id that came last goes with every response.
"""

from collections.abc import AsyncIterator, Iterator

from cuelight.compat.riva import riva_asr_pb2 as riva
from cuelight.compat.riva import riva_common_pb2 as riva_common
from cuelight.server.errors import InvalidRequest
from cuelight.server.speech.riva.call import RivaCall
from cuelight.server.speech.riva.options import in_rivas_words
from cuelight.server.speech.riva.results import streaming_results
from cuelight.speech.v1 import speech_pb2 as pb

__all__ = ["RivaStream"]

_FORCE_EOU = "force_eou"
_FINALIZE = pb.Control(finalize=pb.Finalize())
_KEEP_ALIVE = pb.Control(keep_alive=pb.KeepAlive())


class RivaStream:
    """Knows what later messages need of earlier ones: the request id, and the language of the model."""

    def __init__(self, call: RivaCall, first: riva.StreamingRecognizeRequest) -> None:
        self._call = call
        self._first = first
        self._language = ""
        self._id: riva_common.RequestId | None = None

    async def requests(
        self, config: pb.StreamingConfig, later: AsyncIterator[riva.StreamingRecognizeRequest]
    ) -> AsyncIterator[pb.StreamingRecognizeRequest]:
        """Yield the config, then what comes after the first message. Raises: InvalidRequest for a second config."""
        self._note(self._first)
        yield pb.StreamingRecognizeRequest(config=config)
        async for request in later:
            if request.HasField("streaming_config"):
                raise InvalidRequest("streaming_config: expected in the first message alone, got a second one")
            self._note(request)
            for translated in _translated(request):
                yield translated

    def response(self, response: pb.StreamingRecognizeResponse) -> riva.StreamingRecognizeResponse | None:
        """Return the response in Riva's words; None where it has nothing to say."""
        if response.HasField("started"):
            self._language = response.started.language
            self._call.ignore(in_rivas_words(response.started.ignored))
        if not response.results:
            return None
        return riva.StreamingRecognizeResponse(results=streaming_results(response, self._language), id=self._id)

    def _note(self, request: riva.StreamingRecognizeRequest) -> None:
        if request.HasField("id"):
            self._id = request.id
        if any(key != _FORCE_EOU for key in request.runtime_config):
            self._call.ignore({"runtime_config": f"no other key than {_FORCE_EOU} is known"})


def _translated(request: riva.StreamingRecognizeRequest) -> Iterator[pb.StreamingRecognizeRequest]:
    """Yield the audio, then the end of the utterance; a message with neither is a sign of life."""
    audio = request.audio_content
    ends = request.runtime_config.get(_FORCE_EOU, "").casefold() == "true"
    if audio:
        yield pb.StreamingRecognizeRequest(audio=audio)
    if ends:
        yield pb.StreamingRecognizeRequest(control=_FINALIZE)
    if not audio and not ends:
        yield pb.StreamingRecognizeRequest(control=_KEEP_ALIVE)
