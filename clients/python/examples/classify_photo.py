"""Say what is on a photo: `python classify_photo.py PHOTO [--url 127.0.0.1:8001]`."""

import argparse

from cuelight.client import Channel, InferenceClient, classify


def main() -> None:
    """Print the five most probable labels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo")
    parser.add_argument("--url", default="127.0.0.1:8001")
    options = parser.parse_args()
    with Channel(options.url) as channel:
        for place, guess in enumerate(classify(InferenceClient(channel), options.photo), start=1):
            print(f"  {place}. {guess.label:<24}{guess.probability:>7.1%}  {'█' * round(guess.probability * 40)}")


if __name__ == "__main__":
    main()
