"""The whole way at once: start a server over exported models, call it with real input, stop it; the same with ratings.

`make demo` runs this. The server is the installed `cuelight serve`; the clients are the examples beside this file, each
in a process of its own.
"""

import argparse
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
RATINGS = Path("samples/movielens")
START_LIMIT_S = 120
STOP_LIMIT_S = 40


def main() -> int:
    """Run the demo and return its exit code: 0 when everything worked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-repository", type=Path, default=Path("models"))
    parser.add_argument("--front", default="auto")
    options = parser.parse_args()
    samples = fetched_samples()
    print_proofs(options.model_repository)
    served = ("serve", "--model-repository", str(options.model_repository), "--front", options.front)
    with serving(*served) as url:
        call_models(url, samples, options.model_repository)
    import_ratings()
    with serving("recommender", "serve", "--data", str(RATINGS), "--front", options.front) as url:
        title("What will somebody like next?  (learned at once, with reasons)")
        example("recommend.py", "--url", url)
    return 0


def call_models(url: str, samples: dict[str, str], repository: Path) -> None:
    """Call the served models with real input."""
    title(f"What is on this photo, and what shows it?  {samples['photo']}")
    why = str(Path(samples["photo"]).with_name("coffee_explained.png"))
    example("classify_photo.py", samples["photo"], "--url", url, "--why", why)
    title("What does a moving camera see?  (live frames; what comes too fast is dropped, and said)")
    example("classify_frames.py", samples["photo"], "--url", url)
    title(f"Where does somebody speak?  (a sequence: the server holds its state)  {samples['recording']}")
    example("detect_speech.py", samples["recording"], "--url", url)
    title(f"What is said?  (live, open vocabulary)  {samples['recording']}")
    said = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."
    example("transcribe_live.py", samples["recording"], "--url", url, "--text", said)
    title(f"When does this music beat?  {samples['music']}")
    example("detect_beats.py", samples["music"], "--url", url)
    title("Which of these texts is meant?  (by meaning, not by words)")
    example("search_texts.py", "--url", url, "--attention", "samples/attention.png")
    title("How are these words said?  (letters to sounds, and where each sound looked)")
    example("pronounce.py", "nightingale", "knightsbridge", "--url", url)
    title("And a click track of known beats?")
    example("detect_beats.py", "--url", url)
    title("A live stream whose server is killed half-way")
    example("failover.py", samples["recording"], "--model-repository", str(repository))
    title("The same server through tritonclient, unmodified")
    example("tritonclient_infer.py", "--url", url)


def title(text: str) -> None:
    """Print a heading, in bold where a person looks."""
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}{text}{plain}", flush=True)


def fetched_samples() -> dict[str, str]:
    """Fetch the photo and the recording, once, and return their paths."""
    title("Fetching a photo and a recording")
    command = [sys.executable, "-m", "cuelight.exporters", "samples", "--out", "samples"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    print("  " + printed.strip().replace("\n", "\n  "))
    return dict(line.split(maxsplit=1) for line in printed.splitlines())


def import_ratings() -> None:
    """Put 100,000 ratings of films into a data folder; those that are there already change nothing."""
    title("Importing MovieLens 100K  (by GroupLens; for research)")
    command = cuelight("recommender", "import", "--movielens-100k", "--data", str(RATINGS))
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(*(f"  {line}" for line in printed.splitlines() if line), sep="\n")


def print_proofs(repository: Path) -> None:
    """Print the parity report that each exported file carries in its metadata."""
    import onnxruntime  # noqa: PLC0415 (the examples themselves do without it)

    title("What the exported files say of their own proof")
    for path in sorted(repository.glob("*/*/model.onnx")):
        session = onnxruntime.InferenceSession(str(path))
        parity = json.loads(session.get_modelmeta().custom_metadata_map["cuelight.parity"])
        if "comparisons" not in parity:
            print(f"  {path.parent}: {'; '.join(f'{key} {value}' for key, value in parity.items())}")
            continue
        print(f"  {path.parent}: {parity['comparisons']} comparisons with PyTorch {parity['torch']}")
        for row in parity["worst"]:
            share = row["share_of_tolerance"]
            print(f"      {row['output']:<16}off by at most {row['max_abs_error']:.1e}, {share:.1%} of what is allowed")


@contextmanager
def serving(*words: str) -> Iterator[str]:
    """Start a server, yield its address, stop it; what it prints is printed. Ends the demo where the server fails."""
    title("Starting the server")
    server, url = started(*words)
    try:
        yield url
    finally:
        title("Stopping the server")
        server.send_signal(signal.SIGTERM)
        code = server.wait(STOP_LIMIT_S)
        print(f"  ended with exit code {code}")
    if code:
        raise SystemExit(code)


def started(*words: str) -> tuple["subprocess.Popen[str]", str]:
    """Start a server on free ports, print what it prints until it is ready, and return it with its address."""
    command = cuelight(*words, "--host", "127.0.0.1", "--port", "0", "--metrics-port", "0")
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert server.stdout is not None
    url = ""
    for line in server.stdout:
        print(f"  {line}", end="", flush=True)
        if found := re.match(r"gRPC\s+(\S+)", line):
            url = found[1]
        if line.startswith("READY"):
            return server, url
    raise SystemExit(f"the server ended with exit code {server.wait(START_LIMIT_S)} before it was ready")


def cuelight(*words: str) -> list[str]:
    """Return the command line of `cuelight` with this interpreter."""
    return [sys.executable, "-m", "cuelight.server", *words]


def example(script: str, *arguments: str) -> None:
    """Run one of the examples beside this file in a process of its own."""
    subprocess.run([sys.executable, str(HERE / script), *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
