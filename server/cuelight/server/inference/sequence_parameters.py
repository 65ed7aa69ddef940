"""The parameters by which a request says which sequence it steps; see sequences.proto."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.errors import InvalidRequest
from cuelight.server.inference.sequences import SequenceId

__all__ = ["SequenceParameters", "sequence_id_in", "sequence_parameters"]

_MAX_ID_BYTES = 256
"""Ids are kept for as long as the sequence lives: a long one is a mistake, or meant ill."""
_LARGEST_ID = 2**63 - 1
"""What an int64, and so a token, can hold."""


@dataclass(frozen=True, slots=True)
class SequenceParameters:
    """What a request asks for. `resume_token` is the token's bytes, None for none."""

    sequence_id: SequenceId
    start: bool
    end: bool
    resume_token: bytes | None
    wants_token: bool


def sequence_id_in(request: pb.ModelInferRequest) -> SequenceId | None:
    """Return the sequence's id, None where the request names none.

    Raises: InvalidRequest for an id that is neither integer nor string, or too long.
    """
    if "sequence_id" not in request.parameters:
        return None
    parameter = request.parameters["sequence_id"]
    kind = parameter.WhichOneof("parameter_choice")
    if kind == "string_param":
        text: str = parameter.string_param
        if len(text) > _MAX_ID_BYTES or len(text.encode()) > _MAX_ID_BYTES:
            raise InvalidRequest(f"sequence_id: expected at most {_MAX_ID_BYTES} bytes, got {len(text.encode())}")
        return text or None
    if kind in ("int64_param", "uint64_param"):
        number: int = getattr(parameter, kind)
        if not 0 <= number <= _LARGEST_ID:
            raise InvalidRequest(f"sequence_id: expected 1 to {_LARGEST_ID}, got {number}")
        return number or None
    raise InvalidRequest(f"sequence_id: expected an integer or a string, got {kind}")


def sequence_parameters(request: pb.ModelInferRequest) -> SequenceParameters:
    """Return the request's sequence parameters.

    Raises: InvalidRequest naming the parameter, what came and what was expected.
    """
    sequence_id = sequence_id_in(request)
    if sequence_id is None:
        raise InvalidRequest(
            f'model "{request.model_name}" keeps sequences: parameter sequence_id must be a number other than 0 '
            "or a string that is not empty"
        )
    parameters = request.parameters
    if len(parameters) == 1:
        return SequenceParameters(sequence_id, False, False, None, False)
    start, end, wants = (_flag(parameters, name) for name in ("sequence_start", "sequence_end", "return_resume_token"))
    token = _token(parameters) if "resume_token" in parameters else None
    if start and token is not None:
        raise InvalidRequest("resume_token: came with sequence_start; a sequence starts anew or goes on, not both")
    return SequenceParameters(sequence_id, start, end, token, wants)


def _flag(parameters: Any, name: str) -> bool:
    if name not in parameters:
        return False
    kind = parameters[name].WhichOneof("parameter_choice")
    if kind == "bool_param":
        return bool(parameters[name].bool_param)
    if kind == "int64_param" and parameters[name].int64_param in (0, 1):
        return bool(parameters[name].int64_param)
    raise InvalidRequest(f"{name}: expected a bool, got {kind}")


def _token(parameters: Any) -> bytes:
    if parameters["resume_token"].WhichOneof("parameter_choice") != "string_param":
        raise InvalidRequest("resume_token: expected a string in base64")
    text = parameters["resume_token"].string_param
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"resume_token: not base64: {error}") from error
