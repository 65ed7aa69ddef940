"""Find texts by what they mean: `python search_texts.py [QUERY] [--in FILE] [--url 127.0.0.1:8001]`.

Prints the lines most like the query, the words nearest to a sum of words, and, with `--attention FILE.png`, draws which
tokens of the query looked at which.
"""

import argparse
from pathlib import Path

from cuelight.client import Channel, TextClient, WordQuery
from cuelight.client.attention_picture import attention_maps, draw

QUERY = "something relaxing to play with the kids"
TEXTS = (
    "Plant crops, raise chickens and make friends in a sleepy valley.",
    "A brutal shooter through the trenches of the Great War.",
    "Race rally cars over snow, gravel and mud.",
    "Solve colourful puzzles together on one sofa, for ages six and up.",
    "Survive nights of horror in an abandoned hospital.",
    "Build an empire from the stone age to the stars.",
    "Guess the tune: a music quiz for two to eight players.",
    "Manage a football club through ten seasons of the league.",
)
WORDS = WordQuery(("king", "woman"), ("man",))
BAR_LENGTH = 30


def main() -> None:
    """Search, look for words, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("query", nargs="?", default=QUERY)
    parser.add_argument("--in", dest="source", type=Path, help="a text on each line")
    parser.add_argument("--attention", type=Path, metavar="FILE.png")
    parser.add_argument("--url", default="127.0.0.1:8001")
    options = parser.parse_args()
    texts = options.source.read_text(encoding="utf-8").splitlines() if options.source else TEXTS
    with Channel(options.url) as channel:
        client = TextClient(channel)
        print(f'  "{options.query}" is most like')
        for found in client.most_similar(options.query, [text for text in texts if text.strip()], 3):
            print(f"  {found.similarity:6.3f}  {'█' * round(max(found.similarity, 0) * BAR_LENGTH):<16} {found.text}")
        near = client.nearest_words(WORDS, 3)
        print(f"  king - man + woman: {', '.join(f'{word.word} {word.similarity:.2f}' for word in near)}")
        if options.attention:
            attention = client.attention(options.query, mean_over_heads=True)
            options.attention.write_bytes(draw(attention_maps(attention.tokens, attention.layers, attention.weights)))
            print(f"  who looked at whom in {len(attention.layers)} layers: {options.attention}")


if __name__ == "__main__":
    main()
