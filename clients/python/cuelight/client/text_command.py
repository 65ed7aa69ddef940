"""The commands `cuelight embed`, `cuelight similar` and `cuelight nearest`: texts and words as vectors.

Exit codes: 0 done, 1 failed while running, 2 the command line is unusable.
"""

import argparse
import json
import sys
from collections.abc import Callable
from collections.abc import Sequence as Items
from pathlib import Path

import numpy as np

from cuelight.client.attention_picture import PictureMissing, attention_maps, draw
from cuelight.client.connection_options import Unusable, add_connection, exit_code, note_silence, opened
from cuelight.client.text import TextClient
from cuelight.client.text_values import TextEmbedding, WordQuery

__all__ = ["main"]

_STANDARD_INPUT = "-"
_SHOWN_NUMBERS = 6
_SHOWN_LETTERS = 60


def main(words: Items[str]) -> int:
    """Run one of the commands, whose name comes first, and return the exit code."""
    arguments = _parser().parse_args(words)
    return exit_code(lambda: _run(arguments), PictureMissing)


def _run(arguments: argparse.Namespace) -> None:
    run: Callable[[argparse.Namespace, list[str], TextClient], None] = arguments.run
    texts = _texts(arguments)
    with opened(arguments) as channel:
        note_silence([channel])
        run(arguments, texts, TextClient(channel))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cuelight", description="Texts and words as vectors.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    embed = _command(commands, "embed", "Turn texts into vectors.", _embed)
    embed.add_argument("texts", nargs="*", metavar="TEXT")
    embed.add_argument("--in", dest="source", metavar="FILE", help="a text on each line; - for standard input")
    embed.add_argument("--out", type=Path, metavar="FILE.npy", help="write the vectors as (texts, numbers) float32")
    embed.add_argument("--json", action="store_true", help="print one JSON object a text")
    embed.add_argument("--attention", type=Path, metavar="FILE.png", help="draw who looked at whom, of the one text")
    embed.add_argument("--layer", type=int, action="append", default=[], help="with --attention: repeat for more")
    embed.add_argument("--heads", action="store_true", help="with --attention: each head, in place of their mean")
    similar = _command(commands, "similar", "Find the lines of a file that are most like a text.", _similar)
    similar.add_argument("texts", nargs=1, metavar="TEXT")
    similar.add_argument(
        "--in", dest="source", required=True, metavar="FILE", help="a text on each line; - for standard input"
    )
    similar.add_argument("--top", type=int, default=10, metavar="N", help="how many to show (default: 10)")
    nearest = _command(commands, "nearest", "Find the words nearest to a word, or to a sum of words.", _nearest)
    nearest.add_argument("texts", nargs="+", metavar="WORD")
    nearest.add_argument("--minus", action="append", default=[], metavar="WORD", help="take away; repeat for more")
    nearest.add_argument("--top", type=int, default=10, metavar="N", help="how many to show (default: 10)")
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    run: Callable[[argparse.Namespace, list[str], TextClient], None],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, description=text)
    parser.set_defaults(run=run)
    add_connection(parser)
    parser.add_argument("--model", default="", metavar="NAME", help="default: the server's")
    return parser


def _texts(arguments: argparse.Namespace) -> list[str]:
    """Return what is said on the command line and in `--in`. Raises: OSError; Unusable where there is nothing."""
    source = getattr(arguments, "source", None)
    if getattr(arguments, "top", 1) < 1:
        raise Unusable(f"--top: got {arguments.top}, expected 1 or more")
    texts = [*arguments.texts, *(_lines(source) if source else ())]
    if not texts:
        raise Unusable("expected texts, or --in FILE")
    return texts


def _embed(arguments: argparse.Namespace, texts: list[str], client: TextClient) -> None:
    if arguments.attention:
        _draw_attention(arguments, client, texts)
        return
    embeddings = client.embed_many(texts, model=arguments.model)
    if arguments.out:
        with arguments.out.open("wb") as file:
            np.save(file, np.stack([embedding.values for embedding in embeddings]))
    for text, embedding in zip(texts, embeddings, strict=True):
        if arguments.json:
            print(json.dumps(_as_json(text, embedding), ensure_ascii=False))
        elif not arguments.out:
            print(_as_line(text, embedding))
    if arguments.out:
        print(f"{arguments.out}: {len(embeddings)} x {len(embeddings[0].values)}")


def _draw_attention(arguments: argparse.Namespace, client: TextClient, texts: list[str]) -> None:
    if len(texts) != 1:
        raise Unusable(f"--attention draws one text, got {len(texts)}")
    attention = client.attention(
        texts[0], layers=arguments.layer, mean_over_heads=not arguments.heads, model=arguments.model
    )
    arguments.attention.write_bytes(draw(attention_maps(attention.tokens, attention.layers, attention.weights)))
    panels = attention.weights.shape[0] * attention.weights.shape[1]
    print(f"{arguments.attention}: {panels} panels of {len(attention.tokens)} tokens")


def _similar(arguments: argparse.Namespace, texts: list[str], client: TextClient) -> None:
    text, *among = texts
    for found in client.most_similar(text, among, arguments.top, model=arguments.model):
        print(f"{found.similarity:6.3f}  {found.text}")


def _nearest(arguments: argparse.Namespace, words: list[str], client: TextClient) -> None:
    query = WordQuery(tuple(words), tuple(arguments.minus))
    for near in client.nearest_words(query, arguments.top, model=arguments.model):
        print(f"{near.similarity:6.3f}  {near.word}")


def _lines(source: str) -> list[str]:
    """Return the lines that say something. Raises: OSError; Unusable when there are none, or the file is no UTF-8."""
    try:
        content = sys.stdin.read() if source == _STANDARD_INPUT else Path(source).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unusable(f"{source}: expected UTF-8, got something else at byte {error.start}") from None
    lines = [line.strip() for line in content.splitlines()]
    texts = [line for line in lines if line]
    if not texts:
        raise Unusable(f"{source}: expected a text on each line, got none")
    if len(texts) < len(lines):
        # Whoever counts on line 7 being vector 7 has to know.
        count = len(lines) - len(texts)
        print(f"cuelight: note: {source}: {count} empty {'line' if count == 1 else 'lines'} left out", file=sys.stderr)
    return texts


def _as_json(text: str, embedding: TextEmbedding) -> dict[str, object]:
    return {
        "text": text,
        "model": embedding.model,
        "token_count": embedding.token_count,
        "truncated": embedding.truncated,
        "values": [float(value) for value in embedding.values],
    }


def _as_line(text: str, embedding: TextEmbedding) -> str:
    shown = " ".join(f"{value:+.4f}" for value in embedding.values[:_SHOWN_NUMBERS])
    cut = f", cut off after {embedding.token_count} tokens" if embedding.truncated else ""
    name = text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}..."
    return f"{shown} ... ({len(embedding.values)} numbers{cut})  {name}"
