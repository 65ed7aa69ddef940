"""NVIDIA's command line clients as processes, and what they print."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "riva_scripts"
"""Where to put `scripts/asr/*.py` of github.com/nvidia-riva/python-clients at commit 7f611ba: the wheel of
nvidia-riva-client has the library that they call and not the scripts."""
SHA256 = {
    "riva_streaming_asr_client": "2efeed0925f25a4eb7a4430b987d43dfea1b7a5e983fd4c2f8496699d5e08b5b",
    "transcribe_file": "19f3048a182c40a0f812b6cf75450ff0513c14ae6ca696b40e6f0069cd197314",
    "transcribe_file_offline": "3444c8a4489f734c10fee148799eb6088b6b77fd5aaac6a92f0a5d9179e64380",
}
TIMEOUT_S = 240

_FINAL = re.compile(r"^##(?!\(alternative) ?(.*)$", re.MULTILINE)
_INTERIM = re.compile(r"^>> (.*)$", re.MULTILINE)
_TIMED_FINAL = re.compile(r"^Time [\d.]+s: Transcript 0: (.*)$", re.MULTILINE)
_WORD = re.compile(r"^(\S+) +(\d+) +(\d+) +([\d.]+) *$", re.MULTILINE)


def path_of(script: str) -> Path:
    """Return the file of a script, as NVIDIA wrote it."""
    return FOLDER / f"{script}.py"


def run_script(script: str, url: str, folder: Path, *arguments: str) -> str:
    """Run a script to its end in a folder of its own and return what it printed, every interim
    result on a line of its own. Skips the test where NVIDIA's scripts are not there."""
    if not path_of(script).is_file():
        pytest.skip(f"NVIDIA's {script}.py is not in {FOLDER.relative_to(FOLDER.parents[1])}; see riva_client.py")
    command = [sys.executable, str(path_of(script)), "--server", url, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=client_environment(), capture_output=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().replace("\r", "\n")


def client_environment() -> dict[str, str]:
    """Return this process's environment without our own source roots: the client is NVIDIA's alone."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def finals(printed: str) -> list[str]:
    """Return the final transcripts, best alternatives alone, as `transcribe_file` prints them."""
    return [found.strip() for found in _FINAL.findall(printed)]


def interims(printed: str) -> list[str]:
    """Return the interim transcripts of `transcribe_file --show-intermediate`."""
    return [found.strip() for found in _INTERIM.findall(printed)]


def timed_finals(printed: str) -> list[str]:
    """Return the final transcripts where they are printed with their time."""
    return [found.strip() for found in _TIMED_FINAL.findall(printed)]


def timed_words(printed: str) -> list[tuple[str, int, int, float]]:
    """Return the table of words: start and end in ms, confidence."""
    return [(word, int(start), int(end), float(confidence)) for word, start, end, confidence in _WORD.findall(printed)]
