"""The plainest streaming recognizer: all features at once, ONNX Runtime one stream at a time, the greedy rule.

It proves the test models, and that the reference is understood, before anything of ours takes part.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import kaldi_native_fbank
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from tests.server.speech.sherpa_models import CONTEXT, UNKNOWN
from tests.server.speech.sherpa_reference import SAMPLE_RATE_HZ, Audio, Recognized

FRAME_S = 0.04
Floats = NDArray[np.float32]


class PlainModel:
    """A model file stepped alone, whose states start as zeros: every input but the first few, by position."""

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.nemo = "cache_last_channel_dim1" in metadata
        self.window = int(metadata["window_size" if self.nemo else "T"])
        self.shift = int(metadata["chunk_shift" if self.nemo else "decode_chunk_len"])
        self._first = 2 if self.nemo else 1
        inputs = self.session.get_inputs()
        self.names = [each.name for each in inputs]
        self.state = [self._zeros(each) for each in inputs[self._first :]]

    def step(self, frames: Floats) -> Floats:
        """Return the output (frames, size) for features (window, features)."""
        audio = [frames.T[np.newaxis], np.array([self.window])] if self.nemo else [frames[np.newaxis]]
        outputs = self.session.run(None, dict(zip(self.names, [*audio, *self.state], strict=True)))
        self.state = outputs[self._first :]
        first: Floats = outputs[0][0]
        return first

    @staticmethod
    def _zeros(tensor: Any) -> NDArray[Any]:
        shape = [size if isinstance(size, int) else 1 for size in tensor.shape]
        return np.zeros(shape, np.int64 if tensor.type == "tensor(int64)" else np.float32)


def recognize(folder: Path, family: str, audio: Audio) -> Recognized:
    """Return what the model says of a whole recording."""
    outputs = model_outputs(folder, audio)
    blank = 39 if family == "nemo_ctc" else 0
    found = transducer_greedy(folder, outputs) if family.endswith("transducer") else ctc_greedy(outputs, blank)
    lines = (folder / "tokens.txt").read_text(encoding="utf-8").splitlines()
    names = [line.split()[0].replace("\u2581", " ") for line in lines]
    return Recognized([names[token] for token, _ in found], [frame * FRAME_S for _, frame in found])


def model_outputs(folder: Path, audio: Audio) -> Floats:
    """Return the outputs of all steps one after the other."""
    model = PlainModel(folder / "model.onnx")
    frames = features(audio, model.nemo)
    starts = range(0, len(frames) - model.window, model.shift)
    return np.concatenate([model.step(frames[start : start + model.window]) for start in starts])


def features(audio: Audio, nemo: bool) -> Floats:
    """Return log-mel energies (frames, 80) with the settings of sherpa-onnx 2.0.1, which has others for NeMo's CTC."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.frame_opts.samp_freq = SAMPLE_RATE_HZ
    options.mel_opts.num_bins = 80
    options.mel_opts.high_freq = -400.0
    if nemo:
        options.frame_opts.window_type = "hann"
        options.frame_opts.remove_dc_offset = False
        options.mel_opts.is_librosa = True
        options.mel_opts.low_freq, options.mel_opts.high_freq = 0.0, 8000.0
    bank = kaldi_native_fbank.OnlineFbank(options)
    bank.accept_waveform(SAMPLE_RATE_HZ, audio.tolist())
    bank.input_finished()
    return np.stack([bank.get_frame(index) for index in range(bank.num_frames_ready)])


def ctc_greedy(log_probs: Floats, blank: int) -> list[tuple[int, int]]:
    """Return (token, frame) wherever the best token is another than the frame before, and no blank."""
    best = [blank, *log_probs.argmax(axis=-1).tolist()]
    return [(now, frame) for frame, (before, now) in enumerate(pairwise(best))
            if now not in (blank, before)]  # fmt: skip


def transducer_greedy(folder: Path, encoded: Floats) -> list[tuple[int, int]]:
    """Return (token, frame), at most one token a frame; `<unk>` counts as blank."""
    decoder, joiner = (ort.InferenceSession(folder / f"{name}.onnx") for name in ("decoder", "joiner"))
    context, found = [-1] * (CONTEXT - 1) + [0], []
    decoded = decoder.run(None, {"y": np.array([context])})[0]
    for frame, vector in enumerate(encoded):
        logits = joiner.run(None, {"encoder_out": vector[np.newaxis], "decoder_out": decoded})[0]
        token = int(logits.argmax())
        if token not in (0, UNKNOWN):
            found.append((token, frame))
            context = [*context[1:], token]
            decoded = decoder.run(None, {"y": np.array([context])})[0]
    return found
