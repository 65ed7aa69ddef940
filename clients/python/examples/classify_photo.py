"""Say what is on a photo and what shows it: `python classify_photo.py PHOTO [--url 127.0.0.1:8001] [--why OUT.png]`.

The photo goes to the server as it is; nothing is decoded here.
"""

import argparse
from pathlib import Path

from cuelight.client import Channel, ExplainOptions, VisionClient

SHADES = " ░▒▓█"


def main() -> None:
    """Print the five most probable labels, and where on the photo the first is seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--url", default="127.0.0.1:8001")
    parser.add_argument("--model", default="efficientnet_lite0")
    parser.add_argument("--why", type=Path, default=Path("why.png"))
    options = parser.parse_args()
    with Channel(options.url) as channel:
        client = VisionClient(channel)
        for place, guess in enumerate(client.classify(options.photo, model=options.model).labels, start=1):
            print(f"  {place}. {guess.label:<24}{guess.probability:>7.1%}  {'█' * round(guess.probability * 40)}")
        why = client.explain(options.photo, ExplainOptions(overlay=True), model=options.model)
    options.why.write_bytes(why.overlay_png)
    print(f"  what shows {why.label.label}, by {why.method.replace('_', ' ')} ({options.why} has it over the photo):")
    highest = float(why.values.max())
    for row in why.values:
        shown = (SHADES[round(max(0.0, float(value)) / highest * (len(SHADES) - 1))] for value in row)
        print("      " + "".join(shade * 2 for shade in shown))


if __name__ == "__main__":
    main()
