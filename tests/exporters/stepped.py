"""An exported encoder-decoder run by hand: the encoder once, the decoder token by token, with ONNX Runtime alone."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

__all__ = ["attentive"]


def attentive(folder: Path, word: str) -> tuple[list[str], NDArray[np.float32]]:
    """Return what a word becomes, greedily, and where each token looked, (tokens, letters)."""
    encoder = ort.InferenceSession(str(folder / "model.onnx"))
    decoder = ort.InferenceSession(str(folder / "decoder.onnx"))
    facts = json.loads(encoder.get_modelmeta().custom_metadata_map["cuelight.transduction"])
    letters = (folder / facts["source_vocabulary"]).read_text().splitlines()
    phonemes = (folder / facts["target_vocabulary"]).read_text().splitlines()
    source = np.array([[*(letters.index(letter) for letter in word), letters.index(facts["source_end"])]])
    length = np.array([source.shape[1]])
    memory, h = encoder.run(["memory", "h"], {"source": source, "length": length})
    token, end = phonemes.index(facts["start"]), phonemes.index(facts["end"])
    said: list[str] = []
    looked = []
    while len(said) < facts["max_tokens"]:
        feeds = {"token": np.array([token]), "h": h, "memory": memory, "length": length}
        log_probs, h, attention = decoder.run(["log_probs", "h_next", "attention"], feeds)
        token = int(log_probs[0].argmax())
        if token == end:
            break
        said.append(phonemes[token])
        looked.append(attention[0])
    return said, np.array(looked, np.float32)
