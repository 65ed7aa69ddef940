"""Say when music beats: `python detect_beats.py MUSIC.wav [--url 127.0.0.1:8001]`.

Without a file it makes a click track of known beats and says how far off the found ones are.
"""

import argparse

import numpy as np

from cuelight.client import Beat, Channel, InferenceClient, detect_beats

RATE_HZ = 22_050
CLICKS_PER_MINUTE = 100
CLICKS = 20


def main() -> None:
    """Print the beats and the tempo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("music", nargs="?")
    parser.add_argument("--url", default="127.0.0.1:8001")
    options = parser.parse_args()
    with Channel(options.url) as channel:
        client = InferenceClient(channel)
        if options.music:
            show(detect_beats(client, options.music))
            return
        samples, known_s = click_track()
        beats = detect_beats(client, samples)
        show(beats)
        off_ms = [min(abs(beat.time_s - time_s) for time_s in known_s) * 1000 for beat in beats]
        print(
            f"  a click track of {len(known_s)} clicks: {len(beats)} found, off by {np.mean(off_ms):.0f} ms on average"
        )


def show(beats: list[Beat]) -> None:
    """Print when the beats are, downbeats marked, and the tempo."""
    times = " ".join(f"{beat.time_s:.2f}{'*' if beat.is_downbeat else ''}" for beat in beats[:12])
    print(f"  {times}{' ...' if len(beats) > 12 else ''}   (* first of a bar)")
    if len(beats) > 1:
        print(f"  {60 / np.median(np.diff([beat.time_s for beat in beats])):.0f} beats a minute")


def click_track() -> tuple[np.ndarray, list[float]]:
    """Return clicks of 20 ms, every fourth one higher, and when they are."""
    interval_s = 60 / CLICKS_PER_MINUTE
    times_s = [0.5 + index * interval_s for index in range(CLICKS)]
    samples = np.zeros(int(RATE_HZ * (times_s[-1] + 1)), np.float32)
    length = RATE_HZ // 50
    fade = np.exp(-np.arange(length) / (length / 5))
    for index, time_s in enumerate(times_s):
        pitch_hz = 1_500 if index % 4 == 0 else 1_000
        click = np.sin(2 * np.pi * pitch_hz * np.arange(length) / RATE_HZ) * fade * 0.8
        start = round(time_s * RATE_HZ)
        samples[start : start + length] += click.astype(np.float32)
    return samples, times_s


if __name__ == "__main__":
    main()
