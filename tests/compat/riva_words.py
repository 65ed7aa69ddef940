"""nvidia-riva-client as a program of its own: says to a server what is in files, and prints what it hears as JSON.

`python riva_words.py HOST:PORT live|stream|offline FILE...` prints a list: for each file the final transcript and how
many interim results came. `live` sends audio as fast as it is spoken.
"""

import json
import sys
from pathlib import Path
from typing import Any

import riva.client


def live(service: riva.client.ASRService, path: str) -> tuple[str, int]:
    """As `streamed`, in real time."""
    return streamed(service, path, riva.client.sleep_audio_length)


def streamed(service: riva.client.ASRService, path: str, delay: Any = None) -> tuple[str, int]:
    """Return the transcript of a stream, and how many interim results came."""
    config = riva.client.StreamingRecognitionConfig(config=riva.client.RecognitionConfig(), interim_results=True)
    with riva.client.AudioChunkFileIterator(path, 1600, delay) as chunks:
        responses = list(service.streaming_response_generator(chunks, config))
    results = [result for response in responses for result in response.results]
    said = "".join(result.alternatives[0].transcript for result in results if result.is_final)
    return said, sum(not result.is_final for result in results)


def offline(service: riva.client.ASRService, path: str) -> tuple[str, int]:
    """Return the transcript of a recording that is sent whole."""
    response = service.offline_recognize(Path(path).read_bytes(), riva.client.RecognitionConfig())
    return "".join(result.alternatives[0].transcript for result in response.results), 0


def main() -> int:
    """Run the program and return the exit code."""
    url, way, *paths = sys.argv[1:]
    service = riva.client.ASRService(riva.client.Auth(uri=url))
    hear = {"live": live, "stream": streamed, "offline": offline}[way]
    print(json.dumps([hear(service, path) for path in paths]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
