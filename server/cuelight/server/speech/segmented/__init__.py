"""Open-vocabulary speech by an encoder-decoder model: speech is cut out by a voice detector and decoded as it grows."""

from cuelight.server.speech.segmented.moonshine import MoonshineModel
from cuelight.server.speech.segmented.recognizer import SegmentedRecognizer, open_segmented
from cuelight.server.speech.segmented.voice import SegmentedVoice
from cuelight.server.speech.vad import ServedVad, Vad

__all__ = ["MoonshineModel", "SegmentedRecognizer", "SegmentedVoice", "ServedVad", "Vad", "open_segmented"]
