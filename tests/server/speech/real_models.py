"""Real models for tests: exported once a session, with the recording that the wheel of their weights has."""

import shutil
from pathlib import Path

from cuelight.exporters import moonshine_tiny_en, silero_vad
from cuelight.exporters.export import export_model
from cuelight.exporters.files_spec import export_files
from cuelight.exporters.samples import RECORDING

__all__ = ["RECORDING_TEXT", "ROOT", "SPEECH_DATA", "speech_repository"]

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / ".cache" / "weights"
SPEECH_DATA = ROOT.parent / "shared" / "data" / "speech"
"""Transcribed speech that is not part of the project; tests that want it skip where it is not."""
RECORDING_TEXT = moonshine_tiny_en.RECORDING_TEXT


def speech_repository(folder: Path) -> tuple[Path, Path]:
    """Put the segmented recognizer and the voice detector into `folder`; return it and a recording of RECORDING_TEXT.

    What `make demo` has exported already is taken from there.
    """
    for spec in (moonshine_tiny_en.SPEC, silero_vad.SPEC):
        exported = ROOT / "models" / spec.name
        if any(exported.glob("*/model.onnx")):
            shutil.copytree(exported, folder / spec.name)
    if not (folder / moonshine_tiny_en.SPEC.name).exists():
        export_files(moonshine_tiny_en.SPEC, folder, CACHE)
    if not (folder / silero_vad.SPEC.name).exists():
        export_model(silero_vad.SPEC, folder, CACHE)
    return folder, RECORDING.fetch(CACHE)
