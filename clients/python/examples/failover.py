"""Kill the server in the middle of a live voice stream: `python failover.py RECORDING.wav [--model-repository models]`.

Starts two servers that share a key, streams the recording to the first, ends it by `kill -9` half-way, and compares
what came with a run that nothing disturbed: to the bit.
"""

import argparse
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from cuelight.client import Channel, InferenceClient, ResumePolicy, Sequence
from cuelight.client.audio import read_wav

RATE_HZ, CHUNK_SAMPLES = 16_000, 512


def main() -> int:
    """Run both and compare; return 0 when every probability is the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording")
    parser.add_argument("--model-repository", default="models")
    options = parser.parse_args()
    samples = read_wav(options.recording, RATE_HZ)
    chunks = [samples[i : i + CHUNK_SAMPLES] for i in range(0, len(samples) - CHUNK_SAMPLES + 1, CHUNK_SAMPLES)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        key_file = folder / "keys.toml"
        key_file.write_bytes(subprocess.run(cuelight("token-key"), check=True, stdout=subprocess.PIPE).stdout)
        servers = [stack.enter_context(server(options.model_repository, key_file)) for _ in range(2)]
        clients = [InferenceClient(stack.enter_context(Channel(address))) for _, address in servers]
        print(f"  undisturbed   {len(chunks)} steps on {servers[1][1]}")
        undisturbed = [
            outputs["probability"].item() for outputs in Sequence(clients[1], "silero_vad").run(steps(chunks))
        ]

        disturbed: list[float] = []
        sequence = Sequence(clients, "silero_vad", policy=ResumePolicy(token_every_steps=20))
        for outputs in sequence.run(steps(chunks)):
            disturbed.append(outputs["probability"].item())
            if len(disturbed) == len(chunks) // 2:
                servers[0][0].send_signal(signal.SIGKILL)
                taken = sequence.token.steps if sequence.token else 0
                print(
                    f"  step {len(disturbed)}      kill -9 of {servers[0][1]}; the last token was taken at step {taken}"
                )
    same = sum(a == b for a, b in zip(undisturbed, disturbed, strict=True))
    print(f"  disturbed     {len(disturbed)} steps, moved {sequence.resumes} time, to {servers[1][1]}")
    print(f"  the same bits {same} of {len(chunks)}")
    return 0 if disturbed == undisturbed else 1


def steps(chunks: list[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Yield the steps of a stream."""
    for chunk in chunks:
        yield {"audio": chunk[np.newaxis]}


def cuelight(*arguments: str) -> list[str]:
    """Return the command line of `cuelight`."""
    return [sys.executable, "-m", "cuelight.server", *arguments]


@contextmanager
def server(repository: str, key_file: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run a server on free ports; yield it and its address once it is ready."""
    ports = ["--host", "127.0.0.1", "--port", "0", "--metrics-port", "0"]
    command = cuelight("serve", "--model-repository", repository, "--token-key-file", str(key_file), *ports)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        address = ""
        for line in process.stdout:
            if found := re.match(r"gRPC\s+(\S+)", line):
                address = found[1]
            if line.startswith("READY"):
                break
        yield process, address
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    sys.exit(main())
