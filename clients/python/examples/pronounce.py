"""Say how words are pronounced, sound by sound: `python pronounce.py WORD... [--url 127.0.0.1:8001]`."""

import argparse

from cuelight.client import Channel, Decoding, TextClient

SHADES = " ░▒▓█"


def main() -> None:
    """Print each word's sounds as they come, and under it the letters that each of them looked at."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="+")
    parser.add_argument("--url", default="127.0.0.1:8001")
    options = parser.parse_args()
    with Channel(options.url) as channel:
        client = TextClient(channel)
        for word in options.words:
            print(f"  {word}:", end="", flush=True)
            looked = []
            for token in client.transduce_stream(word, Decoding(attention=True), model="attention_decoder"):
                print(f" {token.token}", end="", flush=True)
                if token.attention is not None:
                    looked.append((token.token, token.attention))
            print(f"\n      {'':<4}{word}")
            for sound, weights in looked:
                print(f"      {sound:<4}{''.join(SHADES[round(float(weight) * 4)] for weight in weights)}")


if __name__ == "__main__":
    main()
