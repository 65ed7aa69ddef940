"""Audio in: what callers send, in whatever encoding, as mono samples at the model's rate."""

from cuelight.server.speech.audio.decoder import AudioDecoder
from cuelight.server.speech.audio.format import AudioFormat, Encoding
from cuelight.server.speech.audio.resampling import resume_point
from cuelight.server.speech.audio.source import AnySamples

__all__ = ["AnySamples", "AudioDecoder", "AudioFormat", "Encoding", "resume_point"]
