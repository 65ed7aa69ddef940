"""Talking to SpeechService in tests: a stream as a list of responses, and short ways to what they say."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from cuelight.speech.v1 import speech_pb2 as pb
from cuelight.speech.v1 import speech_pb2_grpc as pb_grpc

RATE_HZ = 16_000


def config(model: str = "", **streaming: Any) -> pb.StreamingConfig:
    """Return the config of a stream of 32-bit floats at 16 kHz; other fields of StreamingConfig by name."""
    made = pb.StreamingConfig(**streaming)
    made.recognition.model = model
    made.recognition.audio.encoding = pb.FLOAT32
    made.recognition.audio.sample_rate_hz = RATE_HZ
    return made


def pieces(samples: NDArray[np.float32], size: int = 1600) -> Iterator[pb.StreamingRecognizeRequest]:
    """Yield audio messages of `size` samples."""
    for start in range(0, len(samples), size):
        data = np.ascontiguousarray(samples[start : start + size], "<f4").tobytes()
        yield pb.StreamingRecognizeRequest(audio=data)


def stream(
    channel: grpc.Channel, first: pb.StreamingConfig, rest: Iterable[pb.StreamingRecognizeRequest]
) -> list[pb.StreamingRecognizeResponse]:
    """Run a whole stream and return its responses. Raises: grpc.RpcError."""

    def requests() -> Iterator[pb.StreamingRecognizeRequest]:
        yield pb.StreamingRecognizeRequest(config=first)
        yield from rest

    return list(pb_grpc.SpeechServiceStub(channel).StreamingRecognize(requests()))


def finals(responses: Iterable[pb.StreamingRecognizeResponse]) -> list[pb.RecognitionResult]:
    """Return the final results in order."""
    return [result for response in responses for result in response.results if result.is_final]


def text(results: Sequence[pb.RecognitionResult]) -> str:
    """Return the best transcripts, joined."""
    return " ".join(result.alternatives[0].transcript for result in results)
