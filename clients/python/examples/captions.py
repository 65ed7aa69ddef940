"""Captions in ten lines: `python captions.py RECORDING [HOST:PORT]` writes RECORDING.srt beside the recording."""

import sys
from pathlib import Path

from cuelight.client import Channel, RecognitionOptions, SpeechClient, srt

recording, url = Path(sys.argv[1]), (*sys.argv[2:], "127.0.0.1:8001")[0]
with Channel(url) as channel:
    transcript = SpeechClient(channel).transcribe(recording, options=RecognitionOptions(words=True))
recording.with_suffix(".srt").write_text(srt(transcript.results), encoding="utf-8")
print(transcript.text)
