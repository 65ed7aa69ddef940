"""Transcribe a recording as if it were spoken now: `python transcribe_live.py RECORDING [--text "WHAT IS SAID"]`.

Prints the text as it comes, how long after its last sound each utterance was final, and with `--text` (words, or a file
of them) the word error.
"""

import argparse
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cuelight.client import Channel, SpeechClient
from cuelight.client.live_text import live_text
from cuelight.client.recording_files import duration_of, paced


def main() -> int:
    """Run the example and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("--url", action="append", help="repeat for servers to go on at (default: 127.0.0.1:8001)")
    parser.add_argument("--model", default="")
    parser.add_argument("--text", help="what is said, or a file that has it")
    options = parser.parse_args()
    duration_s = duration_of(options.recording)
    if duration_s is None:
        parser.error(f"{options.recording}: expected WAV, FLAC or Ogg Opus")
    channels = [Channel(url) for url in options.url or ["127.0.0.1:8001"]]
    said, late_s, start_s = [], [], time.monotonic()
    stream = SpeechClient(channels).stream(paced(options.recording, duration_s), model=options.model)
    with stream, live_text(sys.stdout, interim=None, words=False, duration_s=duration_s) as view:
        for update in stream:
            view.show(update)
            for result in update.finals:
                said.append(result.text)
                late_s.append(time.monotonic() - start_s - result.end_s)
    for channel in channels:
        channel.close()
    print(f"  {duration_s:.2f} s of audio; final {max(late_s, default=0.0):.2f} s after its last sound at most")
    if options.text:
        known = Path(options.text).read_text(encoding="utf-8") if Path(options.text).is_file() else options.text
        wrong, total = word_errors(spoken_words(known), spoken_words(" ".join(said)))
        print(f"  word error {wrong / max(total, 1):.1%}: {wrong} of {total} words")
    return 0


def spoken_words(text: str) -> list[str]:
    """Return the words that are heard: in lower case, without punctuation."""
    return re.findall(r"[\w']+", text.lower().replace("’", "'"))


def word_errors(known: list[str], heard: list[str]) -> tuple[int, int]:
    """Return how many words were put in, left out or replaced, by the shortest edit, and how many there are."""
    return list(_edit_rows(known, heard))[-1][-1], len(known)


def _edit_rows(known: list[str], heard: list[str]) -> Iterator[list[int]]:
    row = list(range(len(heard) + 1))
    yield row
    for number, word in enumerate(known, 1):
        last, row = row, [number]
        for place, other in enumerate(heard):
            row.append(min(last[place] + (word != other), last[place + 1] + 1, row[place] + 1))
        yield row


if __name__ == "__main__":
    sys.exit(main())
