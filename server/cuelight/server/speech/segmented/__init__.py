"""Open-vocabulary speech by an encoder-decoder model: speech is cut out by a voice detector and decoded as it grows."""

from cuelight.server.speech.segmented.moonshine import MoonshineModel
from cuelight.server.speech.segmented.recognizer import SegmentedRecognizer, open_segmented
from cuelight.server.speech.segmented.vad import BatcherVad, Vad
from cuelight.server.speech.segmented.voice import SegmentedVoice

__all__ = ["BatcherVad", "MoonshineModel", "SegmentedRecognizer", "SegmentedVoice", "Vad", "open_segmented"]
