"""The command `cuelight pronounce`: how words are said, by a model that turns text into another sequence.

Exit codes: 0 done, 1 a word failed, 2 the command line is unusable.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence as Items
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cuelight.client.attention_picture import HeatMap, PictureMissing, draw
from cuelight.client.connection_options import Unusable, add_connection, note_silence, opened
from cuelight.client.errors import CuelightClientError
from cuelight.client.text import TextClient
from cuelight.client.transductions import Decoding, Transduced

__all__ = ["main"]

_AT_ONCE = 16
"""Calls under way: the server decodes them together."""

Answer = Transduced | CuelightClientError


def main(words: Items[str]) -> int:
    """Run the command and return the exit code."""
    arguments = _parser().parse_intermixed_args(words)
    decoding = Decoding(
        beam_width=arguments.beam,
        max_tokens=arguments.max_tokens,
        alternatives=arguments.alternatives,
        length_penalty=arguments.length_penalty,
        attention=arguments.attention is not None,
    )
    try:
        with opened(arguments) as channel:
            note_silence([channel])
            answers = _pronounced(TextClient(channel), arguments.words, decoding, arguments.model)
        for word, answer in zip(arguments.words, answers, strict=True):
            _show(word, answer, arguments.json)
        if arguments.attention:
            _draw(arguments.attention, arguments.words, answers)
    except (Unusable, PictureMissing, OSError) as error:
        print(f"cuelight: error: {error}", file=sys.stderr)
        return 2
    return 1 if any(isinstance(answer, CuelightClientError) for answer in answers) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cuelight pronounce", description="Say how words are pronounced.")
    parser.add_argument("words", nargs="+", metavar="WORD")
    parser.add_argument("--beam", type=int, default=0, metavar="N", help="hypotheses kept (default: 1, greedy)")
    parser.add_argument("--alternatives", type=int, default=0, metavar="N", help="with --beam: how many (default: 1)")
    parser.add_argument("--length-penalty", type=float, default=0.0, metavar="X", help="with --beam: 0 to 2")
    parser.add_argument(
        "--max-tokens", type=int, default=0, metavar="N", help="the longest output (default: the model's)"
    )
    parser.add_argument("--attention", type=Path, metavar="FILE.png", help="draw which letters each sound looked at")
    parser.add_argument("--json", action="store_true", help="print one JSON object a word")
    parser.add_argument("--model", default="", metavar="NAME", help="default: the server's")
    add_connection(parser)
    return parser


def _pronounced(client: TextClient, words: Items[str], decoding: Decoding, model: str) -> list[Answer]:
    """Return what each word became, or why it became nothing."""

    def one(word: str) -> Answer:
        try:
            return client.transduce(word, decoding, model=model)
        except CuelightClientError as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, words))


def _show(word: str, answer: Answer, as_json: bool) -> None:
    if isinstance(answer, CuelightClientError):
        print(f"cuelight: error: {word or '(nothing)'}: {answer}", file=sys.stderr)
        return
    for one in answer.alternatives:
        if as_json:
            named = {"word": word, "model": answer.model, "text": one.text, "tokens": [t.token for t in one.tokens]}
            print(json.dumps({**named, "log_probability": one.log_probability, "complete": one.complete}))
        else:
            cut = "" if one.complete else "  (cut off)"
            print(f"{word:<20} {math.exp(one.log_probability):6.1%}  {one.text}{cut}")


def _draw(path: Path, words: Items[str], answers: Items[Answer]) -> None:
    panels = []
    for word, answer in zip(words, answers, strict=True):
        weights = None if isinstance(answer, CuelightClientError) else answer.best.attention()
        if weights is not None and not isinstance(answer, CuelightClientError):
            sounds = [token.token for token in answer.best.tokens]
            panels.append(HeatMap(word, sounds, answer.source_tokens, weights))
    if panels:
        path.write_bytes(draw(panels))
        print(f"{path}: {len(panels)} {'word' if len(panels) == 1 else 'words'}, a row a sound, a column a letter")
