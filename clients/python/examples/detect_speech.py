"""Say where in a recording somebody speaks: `python detect_speech.py RECORDING.wav [--url 127.0.0.1:8001]`."""

import argparse

from cuelight.client import Channel, InferenceClient, SpeechSegment, detect_speech
from cuelight.client.audio import read_wav

WIDTH = 80
RATE_HZ = 16_000


def main() -> None:
    """Print each segment with its times, and the recording as a bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording")
    parser.add_argument("--url", default="127.0.0.1:8001")
    options = parser.parse_args()
    samples = read_wav(options.recording, RATE_HZ)
    with Channel(options.url) as channel:
        segments = detect_speech(InferenceClient(channel), samples)
    for segment in segments:
        print(f"  {segment.start_s:6.2f} s to {segment.end_s:6.2f} s   up to {segment.max_probability:.1%} sure")
    print(f"  0 s |{timeline(segments, len(samples) / RATE_HZ)}| {len(samples) / RATE_HZ:.1f} s")


def timeline(segments: list[SpeechSegment], duration_s: float) -> str:
    """Return the recording as a bar: solid where somebody speaks."""
    cell_s = duration_s / WIDTH
    middles = ((index + 0.5) * cell_s for index in range(WIDTH))
    return "".join("█" if any(s.start_s <= middle < s.end_s for s in segments) else "·" for middle in middles)


if __name__ == "__main__":
    main()
