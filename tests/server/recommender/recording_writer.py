"""Records events for ever and prints the number of each once it is acknowledged; run as a process, to be killed."""

import sys
from pathlib import Path

from cuelight.server.recommender.store.events import Event
from cuelight.server.recommender.store.store import Store


def main() -> None:
    store = Store(Path(sys.argv[1]))
    number = int(sys.argv[2])
    print("ready", flush=True)
    while True:
        batch = [number, number + 1, number]  # one of them told twice
        store.record([Event(f"e{n}", f"user {n % 50}", f"item {n % 31}", 1.0, float(n)) for n in batch])
        number += 2
        print(number, flush=True)


if __name__ == "__main__":
    main()
