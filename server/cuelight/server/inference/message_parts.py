"""Requests and answers as bytes: where their parts lie, for those who copy tensors without parsing a message.

Between two requests of the same client only the tensors' bytes and the id change. A serialized request is

    model name, version | id | the rest of the header | length, bytes of the 1st input | length, bytes of the 2nd ...

Sources: protobuf's encoding (a field is a tag byte, a length and its bytes, in the order of the field numbers as every
official library writes them); open_inference.proto for the numbers.
"""

from collections.abc import Mapping

from cuelight.inference.v2 import open_inference_pb2 as pb

__all__ = [
    "ID_TAG",
    "LONGEST",
    "RequestParts",
    "answer_pieces",
    "as_stream_response",
    "id_end_of",
    "id_start_of",
    "parts_of",
]

ID_TAG = 0x1A
LONGEST = 0x7F
"""The longest name, version or id whose length is one byte."""

_VERSION_TAG = 0x12
_RAW_INPUT_TAG = b"\x3a"
_RAW_OUTPUT_TAG = b"\x32"
_INFER_RESPONSE_TAG = b"\x12"


class RequestParts:
    """Where the parts of one serialized request lie.

    `header` is the body up to the tensors, without the id; `rest_bytes` is the header's length after the id. `inputs`
    holds for each tensor, counted from the end of the header: name, where its bytes start and end; `lengths` holds the
    tags and lengths that stand between them, with their places.
    """

    __slots__ = ("header", "inputs", "lengths", "rest_bytes", "size")

    def __init__(self, body: bytes, id_start: int, id_end: int, header_end: int) -> None:
        self.size = len(body) - id_end + id_start
        self.rest_bytes = header_end - id_end
        self.header = body[:id_start] + body[id_end:header_end]
        self.inputs: list[tuple[str, int, int]] = []
        self.lengths: list[tuple[int, int, bytes]] = []


def id_start_of(body: bytes, size: int) -> int:
    """Return where the id would stand: after the name and, if there is one, the version.

    A name or version of another form than these bytes say leads to a place where no learned header fits.
    """
    position = 2 + body[1] if size > 1 else size
    if position + 1 < size and body[position] == _VERSION_TAG:
        position += 2 + body[position + 1]
    return position


def id_end_of(body: bytes, id_start: int, size: int) -> int | None:
    """Return where the id that starts there ends; None for one that must be parsed: very long, or not ASCII.

    What is not UTF-8 must be refused, and telling takes longer than parsing.
    """
    if id_start + 1 >= size or body[id_start] != ID_TAG:
        return id_start
    id_end = id_start + 2 + body[id_start + 1]
    return id_end if body[id_start + 1] <= LONGEST and body[id_start:id_end].isascii() else None


def parts_of(body: bytes, request: pb.ModelInferRequest) -> RequestParts | None:
    """Return the parts of a parsed request; None where it is not written as the official libraries write it."""
    id_start = id_start_of(body, len(body))
    id_end = id_start + (2 + len(request.id.encode()) if request.id else 0)
    fields = [_field(_RAW_INPUT_TAG, raw) for raw in request.raw_input_contents]
    header_end = len(body) - sum(len(field) for field in fields)
    bare = pb.ModelInferRequest()
    bare.CopyFrom(request)
    del bare.raw_input_contents[:]
    # Its parts must be what they are taken for.
    if body != bare.SerializeToString() + b"".join(fields) or id_start > id_end or id_end > header_end:
        return None
    parts = RequestParts(body, id_start, id_end, header_end)
    offset = 0
    for field, raw, tensor in zip(fields, request.raw_input_contents, request.inputs, strict=True):
        start = offset + len(field) - len(raw)
        parts.lengths.append((offset, start, field[: len(field) - len(raw)]))
        parts.inputs.append((tensor.name, start, start + len(raw)))
        offset = start + len(raw)
    return parts


def answer_pieces(
    model: str,
    version: int,
    datatypes: Mapping[str, str],
    shapes: Mapping[str, tuple[int, ...]],
    sizes: Mapping[str, int],
) -> tuple[bytes, bytes, list[bytes]]:
    """Return the answer's bytes before the id, those after it, and the tag and length of each output's bytes.

    `datatypes`, `shapes` and `sizes` (in bytes) are those of the outputs, by name and in order.
    """
    named = pb.ModelInferResponse(model_name=model, model_version=str(version))
    described = pb.ModelInferResponse()
    for name, shape in shapes.items():
        described.outputs.add(name=name, datatype=datatypes[name], shape=shape)
    lengths = [_RAW_OUTPUT_TAG + _varint(sizes[name]) for name in shapes]
    return named.SerializeToString(), described.SerializeToString(), lengths


def as_stream_response(response: bytes) -> bytes:
    """Return a serialized ModelInferResponse as a ModelStreamInferResponse."""
    return _field(_INFER_RESPONSE_TAG, response)


def _field(tag: bytes, data: bytes) -> bytes:
    return tag + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    if value <= LONGEST:
        return value.to_bytes(1)
    parts = bytearray()
    while value > LONGEST:
        parts.append(value & LONGEST | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
