"""The Cuelight client: needs grpcio, protobuf and numpy, and lives beside tritonclient and riva.client."""

from cuelight.client.async_channel import AsyncChannel
from cuelight.client.async_recommender import AsyncRecommenderClient
from cuelight.client.async_speech import stream_speech
from cuelight.client.async_text import AsyncTextClient
from cuelight.client.async_vision import AsyncVisionClient
from cuelight.client.audio_log import FINALIZE, Control
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
from cuelight.client.experiments import Experiment, Exposure, ShownItem, UserExport, Variant
from cuelight.client.images import (
    EmbeddedImage,
    ExplainOptions,
    Explanation,
    Frame,
    FrameLabels,
    ImageInfo,
    ImageLabels,
    Region,
    VisionModel,
)
from cuelight.client.inference import InferenceClient
from cuelight.client.interactions import Interaction, Recorded
from cuelight.client.music import Beat, BeatPicker, BeatRules, beat_probabilities, detect_beats
from cuelight.client.recognition import SpeechClient, SpeechModel, VoiceActivity
from cuelight.client.recommendations import (
    Item,
    Nearest,
    NearItem,
    Reason,
    Recommendation,
    RecommenderModels,
    Shelf,
    SimilarUser,
)
from cuelight.client.recommender import RecommenderClient
from cuelight.client.retries import RetryPolicy
from cuelight.client.sequence import ResumePolicy, ResumeToken, Sequence
from cuelight.client.server_choice import SpeechResumePolicy
from cuelight.client.shelf_options import Boost, ItemFilter, NumberRange, ShelfOptions
from cuelight.client.speech import SegmentRules, SpeechSegment, SpeechSegmenter, detect_speech, speech_probabilities
from cuelight.client.speech_options import AudioFormat, Endpointing, Phrase, RecognitionOptions
from cuelight.client.speech_stream import SpeechStream
from cuelight.client.subtitles import srt, vtt
from cuelight.client.text import TextClient
from cuelight.client.text_values import AttentionWeights, NearWord, SimilarText, TextEmbedding, TextToken, WordQuery
from cuelight.client.transcripts import (
    Alternative,
    RecognitionResult,
    SpeechEvent,
    SpeechUpdate,
    StreamStarted,
    Transcript,
    Word,
)
from cuelight.client.transductions import Decoding, OutputToken, Transduced, Transduction
from cuelight.client.vision import Classification, classify
from cuelight.client.vision_service import VisionClient

__all__ = [
    "FINALIZE",
    "Alternative",
    "AsyncChannel",
    "AsyncRecommenderClient",
    "AsyncTextClient",
    "AsyncVisionClient",
    "AttentionWeights",
    "AudioFormat",
    "Beat",
    "BeatPicker",
    "BeatRules",
    "Boost",
    "Channel",
    "Classification",
    "Control",
    "CuelightClientError",
    "DeadlineExceeded",
    "Decoding",
    "EmbeddedImage",
    "Endpointing",
    "Experiment",
    "ExplainOptions",
    "Explanation",
    "Exposure",
    "Frame",
    "FrameLabels",
    "ImageInfo",
    "ImageLabels",
    "InferenceClient",
    "Interaction",
    "InvalidRequest",
    "Item",
    "ItemFilter",
    "NearItem",
    "NearWord",
    "Nearest",
    "NotActive",
    "NotAllowed",
    "NotFound",
    "NumberRange",
    "OutputToken",
    "Overloaded",
    "Phrase",
    "Reason",
    "RecognitionOptions",
    "RecognitionResult",
    "Recommendation",
    "RecommenderClient",
    "RecommenderModels",
    "Recorded",
    "Region",
    "ResumePolicy",
    "ResumeToken",
    "RetryPolicy",
    "SegmentRules",
    "Sequence",
    "ServerError",
    "Shelf",
    "ShelfOptions",
    "ShownItem",
    "SimilarText",
    "SimilarUser",
    "SpeechClient",
    "SpeechEvent",
    "SpeechModel",
    "SpeechResumePolicy",
    "SpeechSegment",
    "SpeechSegmenter",
    "SpeechStream",
    "SpeechUpdate",
    "StreamStarted",
    "TextClient",
    "TextEmbedding",
    "TextToken",
    "Tls",
    "Transcript",
    "Transduced",
    "Transduction",
    "Unavailable",
    "Unsupported",
    "UserExport",
    "Variant",
    "VisionClient",
    "VisionModel",
    "VoiceActivity",
    "Word",
    "WordQuery",
    "beat_probabilities",
    "classify",
    "detect_beats",
    "detect_speech",
    "speech_probabilities",
    "srt",
    "stream_speech",
    "vtt",
]
