"""Small models of random weights in the shape of sherpa-onnx's streaming families, for it and for us to decode.

Their sizes are tiny and their contract is the real one: every state takes part in the output, and what they say depends
on the audio, with blanks, repeats and new tokens in it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from tests.server.speech.graph_writer import INT64, GraphWriter
from tests.server.speech.sherpa_zipformer import ZipformerWriter

FEATURES, VOCABULARY = 80, 40
CONTEXT, JOINED = 2, 24
UNKNOWN = 2
"""The id of `<unk>` in a transducer's tokens, which decodes as if it were blank."""


def nemo_ctc(folder: Path, seed: int = 1, window: int = 20, shift: int = 16) -> Path:
    """A NeMo CTC model whose window is longer than its shift: the frames beyond are a look ahead."""
    hidden, layers, frames = 24, 2, shift // 4
    write = GraphWriter(seed)
    audio = write.input("audio_signal", ["B", FEATURES, "W"])
    length = write.input("length", ["B"], INT64)
    channel = write.input("cache_last_channel", ["B", layers, 1, hidden])
    time = write.input("cache_last_time", ["B", layers, "one", hidden])
    count = write.input("cache_last_channel_len", ["B"], INT64)
    span = 4 + window - shift
    kernel = write.weights(hidden, FEATURES, span, scale=2.0 / np.sqrt(FEATURES * span))
    x = write.op("Tanh", write.op("Conv", write.normal_audio(audio), kernel, strides=[4]))
    x = write.turn(x, 2, 0, 1)
    held: dict[str, list[str]] = {"h": [], "c": []}
    for layer in range(layers):
        h, c = (write.turn(write.op("Squeeze", write.part(cache, 1, layer, layer + 1), write.constant([1])), 1, 0, 2)
                for cache in (channel, time))  # fmt: skip
        y, h, c = write.ops(
            "LSTM", x, write.weights(1, 4 * hidden, hidden, scale=0.5), write.weights(1, 4 * hidden, hidden, scale=0.3),
            write.constant(np.zeros((1, 8 * hidden)), np.float32), "", h, c, outputs=3, hidden_size=hidden,
        )  # fmt: skip
        x = write.op("Add", x, write.op("Squeeze", y, write.constant([1])))
        for name, state in (("h", h), ("c", c)):
            held[name].append(write.op("Unsqueeze", write.turn(state, 1, 0, 2), write.constant([1])))
    logits = ctc_logits(write, write.turn(x, 1, 0, 2), hidden, blank=VOCABULARY - 1, blank_bias=10.0)
    write.output(write.op("LogSoftmax", logits, axis=-1), "logprobs", ["B", "T", VOCABULARY])
    write.output(write.op("Div", length, write.constant([4])), "encoded_lengths", ["B"], INT64)
    shape: list[Any] = ["B", layers, 1, hidden]
    write.output(write.op("Concat", *held["h"], axis=1), "cache_last_channel_next", shape)
    write.output(write.op("Concat", *held["c"], axis=1), "cache_last_time_next", shape)
    write.output(write.op("Add", count, write.constant([frames])), "cache_last_channel_len_next", ["B"], INT64)
    dims = dict(zip(("dim1", "dim2", "dim3"), (layers, 1, hidden), strict=True))
    caches = {
        f"{cache}_{dim}": size for cache in ("cache_last_channel", "cache_last_time") for dim, size in dims.items()
    }
    metadata = {"window_size": window, "chunk_shift": shift, "subsampling_factor": 4, "vocab_size": VOCABULARY - 1}
    write.save(folder / "model.onnx", {**metadata, **caches, "model_type": "EncDecCTCModelBPE"})
    write_tokens(folder, blank=VOCABULARY - 1)
    return folder


def zipformer2_ctc(folder: Path, seed: int = 2) -> Path:
    """A zipformer2 of two stacks with its CTC output."""
    write = GraphWriter(seed)
    encoder = ZipformerWriter(write)
    encoded, size, metadata = encoder.encoder()
    logits = ctc_logits(write, encoded, size, blank=0, blank_bias=12.0)
    encoder.finish("log_probs", write.op("LogSoftmax", logits, axis=-1), ["N", "T2", VOCABULARY])
    write.save(folder / "model.onnx", metadata)
    write_tokens(folder, blank=0)
    return folder


def zipformer2_transducer(folder: Path, seed: int = 3) -> Path:
    """The same encoder with a stateless decoder and a joiner."""
    write = GraphWriter(seed)
    encoder = ZipformerWriter(write)
    encoded, size, metadata = encoder.encoder()
    encoder.finish("encoder_out", write.linear(encoded, size, JOINED, gain=2.0), ["N", "T2", JOINED])
    write.save(folder / "model.onnx", metadata)
    _transducer_rest(folder, seed)
    return folder


def lstm_transducer(folder: Path, seed: int = 4) -> Path:
    """An LSTM with projection, one output frame a step."""
    layers, d_model, hidden, window = 2, 20, 28, 9
    write = GraphWriter(seed)
    x = write.input("x", ["N", window, FEATURES])
    states = [write.input("h", [layers, "N", d_model]), write.input("c", [layers, "N", hidden])]
    audio = write.reshape(write.normal_audio(x), -1, window * FEATURES)
    y = write.op("Tanh", write.linear(audio, window * FEATURES, d_model, gain=2.0))
    held: list[list[str]] = [[], []]
    for layer in range(layers):
        h, c = (write.op("Gather", state, write.constant(layer), axis=0) for state in states)
        gates = write.op("Add", write.linear(y, d_model, 4 * hidden, 2.0), write.linear(h, d_model, 4 * hidden, 1.5))
        into, forget, cell, out = write.ops("Split", gates, outputs=4, axis=1)
        kept = write.op("Mul", write.op("Sigmoid", forget), c)
        c = write.op("Add", kept, write.op("Mul", write.op("Sigmoid", into), write.op("Tanh", cell)))
        h = write.linear(write.op("Mul", write.op("Sigmoid", out), write.op("Tanh", c)), hidden, d_model, gain=2.0)
        y = write.op("Add", y, h)
        for place, state in enumerate((h, c)):
            held[place].append(write.op("Unsqueeze", state, write.constant([0])))
    encoded = write.op("Unsqueeze", write.linear(y, d_model, JOINED, gain=2.0), write.constant([1]))
    write.output(encoded, "encoder_out", ["N", 1, JOINED])
    write.output(write.op("Concat", *held[0], axis=0), "next_h", [layers, "N", d_model])
    write.output(write.op("Concat", *held[1], axis=0), "next_c", [layers, "N", hidden])
    metadata = {"model_type": "lstm", "num_encoder_layers": layers, "T": window, "decode_chunk_len": 4}
    write.save(folder / "model.onnx", {**metadata, "rnn_hidden_size": hidden, "d_model": d_model})
    _transducer_rest(folder, seed)
    return folder


BUILDERS = {
    "nemo_ctc": nemo_ctc,
    "zipformer2_ctc": zipformer2_ctc,
    "zipformer2_transducer": zipformer2_transducer,
    "lstm_transducer": lstm_transducer,
}


def ctc_logits(write: GraphWriter, x: str, size: int, blank: int, blank_bias: float) -> str:
    """Return logits far apart, so that rounding turns no token into another."""
    bias = np.zeros(VOCABULARY)
    bias[blank] = blank_bias
    return write.op("Add", write.linear(x, size, VOCABULARY, gain=10.0), write.constant(bias, np.float32))


def write_tokens(folder: Path, blank: int) -> None:
    names = [f"\u2581w{token}" if token % 3 else f"x{token}" for token in range(VOCABULARY)]
    names[blank] = "<blk>"
    if blank == 0:
        names[UNKNOWN] = "<unk>"
    lines = [f"{name} {token}\n" for token, name in enumerate(names)]
    (folder / "tokens.txt").write_text("".join(lines), encoding="utf-8")


def _transducer_rest(folder: Path, seed: int) -> None:
    write = GraphWriter(seed + 100)
    y = write.input("y", ["N", CONTEXT], INT64)
    known = write.op("Cast", write.op("GreaterOrEqual", y, write.constant(0)), to=1)
    rows = write.op("Gather", write.weights(VOCABULARY, JOINED), write.op("Max", y, write.constant(0)), axis=0)
    rows = write.op("Mul", rows, write.op("Unsqueeze", known, write.constant([2])))
    out = write.linear(write.reshape(rows, -1, CONTEXT * JOINED), CONTEXT * JOINED, JOINED)
    write.output(write.op("Tanh", out), "decoder_out", ["N", JOINED])
    write.save(folder / "decoder.onnx", {"vocab_size": VOCABULARY, "context_size": CONTEXT})

    write = GraphWriter(seed + 200)
    joined = write.op("Add", write.input("encoder_out", ["N", JOINED]), write.input("decoder_out", ["N", JOINED]))
    logits = ctc_logits(write, write.op("Tanh", joined), JOINED, blank=0, blank_bias=16.0)
    write.output(logits, "logit", ["N", VOCABULARY])
    write.save(folder / "joiner.onnx", {"joiner_dim": JOINED})
    write_tokens(folder, blank=0)
