"""The Cuelight client: needs grpcio, protobuf and numpy, and lives beside tritonclient and riva.client."""

from cuelight.client.channel import Channel, Tls
from cuelight.client.errors import (
    CuelightClientError,
    DeadlineExceeded,
    InvalidRequest,
    NotActive,
    NotAllowed,
    NotFound,
    Overloaded,
    ServerError,
    Unavailable,
    Unsupported,
)
from cuelight.client.inference import InferenceClient
from cuelight.client.music import Beat, BeatPicker, BeatRules, beat_probabilities, detect_beats
from cuelight.client.retries import RetryPolicy
from cuelight.client.sequence import ResumePolicy, ResumeToken, Sequence
from cuelight.client.speech import SegmentRules, SpeechSegment, SpeechSegmenter, detect_speech, speech_probabilities
from cuelight.client.vision import Classification, classify

__all__ = [
    "Beat",
    "BeatPicker",
    "BeatRules",
    "Channel",
    "Classification",
    "CuelightClientError",
    "DeadlineExceeded",
    "InferenceClient",
    "InvalidRequest",
    "NotActive",
    "NotAllowed",
    "NotFound",
    "Overloaded",
    "ResumePolicy",
    "ResumeToken",
    "RetryPolicy",
    "SegmentRules",
    "Sequence",
    "ServerError",
    "SpeechSegment",
    "SpeechSegmenter",
    "Tls",
    "Unavailable",
    "Unsupported",
    "beat_probabilities",
    "classify",
    "detect_beats",
    "detect_speech",
    "speech_probabilities",
]
