"""Word error on transcribed speech: streamed in messages, sent as a recording, and decoded whole without any cutting.

`python benchmarks/word_error.py --data FOLDER --model-repository models [--limit N]`: FOLDER has a manifest.jsonl of
rows with path, text and source. Prints a table, and how often the last word was heard, and writes both to
benchmarks/results/word_error.{md,json}.
"""

import argparse
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import machine  # noqa: E402 (the path above)
from benchmarks.servers import cuelight_server  # noqa: E402
from cuelight.client import Channel, SpeechClient  # noqa: E402
from cuelight.exporters import moonshine_tiny_en  # noqa: E402
from tests.word_errors import word_errors  # noqa: E402

MODEL = "moonshine_tiny_en"
AT_ONCE = 4
MESSAGE_BYTES = 3200
RATE_HZ = 16_000
_SPELT = {"colour": "color", "ok": "okay", "mr": "mister", "dr": "doctor"}


@dataclass
class Score:
    """Words that were wrong of those that were said, and utterances whose last word was heard, of all."""

    wrong: int = 0
    words: int = 0
    last_heard: int = 0
    utterances: int = 0

    def add(self, said: str, heard: str) -> None:
        """Count one utterance."""
        known, found = words_of(said), words_of(heard)
        self.wrong += word_errors(known, found)
        self.words += len(known)
        self.last_heard += bool(known) and known[-1] in found[-2:]
        self.utterances += 1

    @property
    def word_error(self) -> float:
        """The share of words that is wrong."""
        return self.wrong / max(self.words, 1)


def main() -> int:
    """Measure, print and write; return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model-repository", type=Path, default=ROOT / "models")
    parser.add_argument("--limit", type=int, default=0, help="utterances of each source (default: all)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    scores = run(list(_rows(options.data, options.limit)), options.data, options.model_repository)
    text = table(scores)
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "word_error.md").write_text(text + "\n")
    result = {"machine": machine(2), "scores": {f"{s} {w}": vars(score) for (s, w), score in scores.items()}}
    (options.out / "word_error.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


def run(rows: list[dict[str, Any]], data: Path, repository: Path) -> dict[tuple[str, str], Score]:
    """Return the scores by source and way."""
    scores: dict[tuple[str, str], Score] = {}
    published = moonshine_tiny_en.published(ROOT / ".cache" / "weights")
    with cuelight_server(repository, "grpcio") as server, Channel(f"127.0.0.1:{server.port}") as channel:
        client = SpeechClient(channel)
        ways: dict[str, Callable[[Path], str]] = {
            "streamed": lambda path: streamed(client, path),
            "recording": lambda path: client.transcribe(path, model=MODEL).text,
            "decoded whole": lambda path: published.transcribe(read(path))[1],
        }
        for way, hear in ways.items():
            with ThreadPoolExecutor(AT_ONCE) as pool:
                heard = pool.map(lambda row, hear=hear: hear(data / row["path"]), rows)  # type: ignore[misc,unused-ignore]
                for row, text in zip(rows, tqdm(heard, desc=way, total=len(rows)), strict=True):
                    scores.setdefault((row["source"], way), Score()).add(row["text"], text)
    return scores


def streamed(client: SpeechClient, path: Path) -> str:
    """Return the final text of a stream of small messages, as fast as the server takes them."""
    data = path.read_bytes()
    chunks = (data[at : at + MESSAGE_BYTES] for at in range(0, len(data), MESSAGE_BYTES))
    stream = client.stream(chunks, model=MODEL, interim=False)
    return " ".join(result.text for update in stream for result in update.finals)


def read(path: Path) -> Any:
    """Return the samples of a recording at 16 kHz."""
    samples, rate_hz = soundfile.read(str(path), dtype="float32")
    assert rate_hz == RATE_HZ, f"{path}: expected {RATE_HZ} Hz, got {rate_hz}"
    return samples


def words_of(text: str) -> list[str]:
    """Return the words as they are heard: small letters, no punctuation, hyphens as spaces."""
    plain = unicodedata.normalize("NFKD", text.lower().replace("’", "'").replace("-", " "))
    return [_SPELT.get(word, word) for word in re.findall(r"[a-z0-9']+", plain)]


def table(scores: dict[tuple[str, str], Score]) -> str:
    """Return the Markdown table."""
    lines = ["| speech | way | utterances | words | word error | last word heard |", "|---|---|--:|--:|--:|--:|"]
    for (source, way), score in sorted(scores.items()):
        heard = f"{score.last_heard} of {score.utterances}"
        lines.append(f"| {source} | {way} | {score.utterances} | {score.words} | {score.word_error:.1%} | {heard} |")
    return "\n".join(lines)


def _rows(data: Path, limit: int) -> Iterator[dict[str, Any]]:
    counts: dict[str, int] = {}
    for line in (data / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        counts[row["source"]] = counts.get(row["source"], 0) + 1
        if not limit or counts[row["source"]] <= limit:
            yield row


if __name__ == "__main__":
    sys.exit(main())
