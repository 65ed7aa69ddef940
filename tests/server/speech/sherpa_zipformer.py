"""A small zipformer2 encoder: two stacks, six states a layer, the convolution in front with its own state."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.server.speech.graph_writer import INT64, GraphWriter

FEATURES, WINDOW, SHIFT = 80, 45, 32
FRAMES = SHIFT // 2
"""Of a chunk after the convolution in front, which halves the rate; the end halves it again."""
EMBED_CHANNELS, EMBED_FRAMES, EMBED_SIZE = 128, 3, 19


@dataclass(frozen=True)
class Stack:
    """The sizes of one stack, as the metadata gives them."""

    dim: int
    query: int
    value: int
    heads: int
    layers: int
    kernel: int
    left: int


STACKS = (Stack(16, 4, 6, 2, 1, 5, 8), Stack(24, 8, 4, 1, 2, 7, 12))


class ZipformerWriter:
    """Writes the encoder's graph and keeps the states' outputs for `finish`: the encoder's own output comes first."""

    def __init__(self, write: GraphWriter) -> None:
        self._write = write
        self._held: list[tuple[str, str, list[Any], int]] = []

    def encoder(self) -> tuple[str, int, dict[str, Any]]:
        write = self._write
        x = write.input("x", ["N", WINDOW, FEATURES])
        states = [[self._layer_inputs(stack, f"{place}_{layer}") for layer in range(stack.layers)]
                  for place, stack in enumerate(STACKS)]  # fmt: skip
        embed = write.input("embed_states", ["N", EMBED_CHANNELS, EMBED_FRAMES, EMBED_SIZE])
        processed = write.input("processed_lens", ["N"], INT64)
        x, embed_next = self._front(x, embed)
        size = EMBED_CHANNELS * EMBED_SIZE
        for place, stack in enumerate(STACKS):
            x = write.op("Tanh", write.linear(x, size, stack.dim, gain=2.0))
            size = stack.dim
            mask = self._mask(processed, stack.left)
            for layer in states[place]:
                x = self._layer(x, stack, layer, mask)
        self._hold(embed_next, "new_embed_states", ["N", EMBED_CHANNELS, EMBED_FRAMES, EMBED_SIZE])
        self._hold(write.op("Add", processed, write.constant([FRAMES])), "new_processed_lens", ["N"], INT64)
        halved = write.reshape(write.turn(x, 1, 0, 2), -1, FRAMES // 2, 2 * size)
        return halved, 2 * size, metadata()

    def finish(self, name: str, source: str, shape: list[Any]) -> None:
        self._write.output(source, name, shape)
        for held, held_name, held_shape, elem_type in self._held:
            self._write.output(held, held_name, held_shape, elem_type)

    def _front(self, x: str, embed: str) -> tuple[str, str]:
        """Return frames (time, batch, size) and the convolution's next state."""
        write = self._write
        x = write.op("Unsqueeze", write.normal_audio(x), write.constant([1]))
        x = write.op("Tanh", write.op("Conv", x, write.weights(EMBED_CHANNELS, 1, 9, 8, scale=0.2), strides=[2, 4]))
        x = write.op("Concat", embed, x, axis=2)
        embed_next = write.part(x, 2, FRAMES, FRAMES + EMBED_FRAMES)
        kernel = write.weights(EMBED_CHANNELS, 1, 2 * EMBED_FRAMES + 1, 1, scale=0.4)
        x = write.op("Conv", x, kernel, group=EMBED_CHANNELS)
        return write.reshape(write.turn(x, 2, 0, 1, 3), FRAMES, -1, EMBED_CHANNELS * EMBED_SIZE), embed_next

    def _mask(self, processed: str, left: int) -> str:
        """Return what is added to attention scores (N, 1, left + FRAMES): nothing came before the first frame."""
        write = self._write
        ages = write.constant([[*range(left, 0, -1), *[0] * FRAMES]])
        before = write.op("Greater", ages, write.op("Unsqueeze", processed, write.constant([1])))
        masked = write.op("Mul", write.op("Cast", before, to=1), write.constant(-1000.0, np.float32))
        return write.op("Unsqueeze", masked, write.constant([1]))

    def _layer_inputs(self, stack: Stack, where: str) -> list[str]:
        shapes = layer_shapes(stack)
        names = ("key", "nonlin_attn", "val1", "val2", "conv1", "conv2")
        return [self._write.input(f"cached_{name}_{where}", shape) for name, shape in zip(names, shapes, strict=True)]

    def _layer(self, x: str, stack: Stack, states: list[str], mask: str) -> str:
        write, dim, left = self._write, stack.dim, stack.left
        key, nonlin, val1, val2, conv1, conv2 = states
        shapes = layer_shapes(stack)
        size = stack.query * stack.heads
        keys = write.op("Concat", key, write.linear(x, dim, size), axis=0)
        query = write.turn(write.linear(x, dim, size, gain=2.0), 1, 0, 2)
        scores = write.op("Add", write.op("MatMul", query, write.turn(keys, 1, 2, 0)), mask)
        weights = write.op("Softmax", scores, axis=-1)
        outs = [write.last(keys, 0, left)]
        gated = write.op("Unsqueeze", write.turn(write.op("Tanh", write.linear(x, dim, 3 * dim // 4, 2.0)), 1, 0, 2),
                         write.constant([0]))  # fmt: skip
        gated = write.op("Concat", nonlin, gated, axis=2)
        outs.append(write.last(gated, 2, left))
        mixed = write.op("Squeeze", write.op("MatMul", weights, gated), write.constant([0]))
        x = write.op("Add", x, write.turn(write.linear(mixed, 3 * dim // 4, dim), 1, 0, 2))
        size = stack.value * stack.heads
        for value in (val1, val2):
            values = write.op("Concat", value, write.linear(x, dim, size), axis=0)
            outs.append(write.last(values, 0, left))
            mixed = write.op("MatMul", weights, write.turn(values, 1, 0, 2))
            x = write.op("Add", x, write.turn(write.linear(mixed, size, dim), 1, 0, 2))
        for cache in (conv1, conv2):
            frames = write.op("Concat", cache, write.turn(write.op("Tanh", x), 1, 2, 0), axis=2)
            outs.append(write.last(frames, 2, stack.kernel // 2))
            mixed = write.op("Conv", frames, write.weights(dim, 1, stack.kernel // 2 + 1, scale=0.6), group=dim)
            x = write.op("Add", x, write.turn(mixed, 2, 0, 1))
        for state, out, shape in zip(states, outs, shapes, strict=True):
            self._hold(out, f"new_{state}", shape)
        return write.op("Tanh", x)

    def _hold(self, source: str, name: str, shape: list[Any], elem_type: int = 1) -> None:
        self._held.append((source, name, shape, elem_type))


def layer_shapes(stack: Stack) -> list[list[Any]]:
    """Return the shapes of a layer's states in their order."""
    value = [stack.left, "N", stack.value * stack.heads]
    conv = ["N", stack.dim, stack.kernel // 2]
    key = [stack.left, "N", stack.query * stack.heads]
    return [key, [1, "N", stack.left, 3 * stack.dim // 4], value, value, conv, conv]


def metadata() -> dict[str, Any]:
    return {
        "model_type": "zipformer2",
        "T": WINDOW,
        "decode_chunk_len": SHIFT,
        "encoder_dims": [stack.dim for stack in STACKS],
        "query_head_dims": [stack.query for stack in STACKS],
        "value_head_dims": [stack.value for stack in STACKS],
        "num_heads": [stack.heads for stack in STACKS],
        "num_encoder_layers": [stack.layers for stack in STACKS],
        "cnn_module_kernels": [stack.kernel for stack in STACKS],
        "left_context_len": [stack.left for stack in STACKS],
    }
