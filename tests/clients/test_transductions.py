"""What the client makes of a transduction's responses, also where the call had to be made again."""

import numpy as np
import pytest

from cuelight.client import Decoding, Unavailable
from cuelight.client.transductions import OutputReader
from cuelight.text.v1 import text_pb2 as pb


def started(*tokens: str) -> pb.TransduceResponse:
    one = pb.TransductionStarted(model="m", model_version=2, source_tokens=["a", "b"])
    return pb.TransduceResponse(started=one, tokens=[pb.OutputToken(token=token) for token in tokens])


def more(*tokens: str) -> pb.TransduceResponse:
    return pb.TransduceResponse(tokens=[pb.OutputToken(token=token) for token in tokens])


def ended(*outputs: tuple[str, ...]) -> pb.TransduceResponse:
    response = pb.TransduceResponse()
    for output in outputs:
        response.result.alternatives.add(
            text=" ".join(output),
            tokens=[pb.OutputToken(token=token, log_probability=-0.5, attention=[0.25, 0.75]) for token in output],
            log_probability=-1.5,
            end=pb.Transduction.COMPLETE if output else pb.Transduction.MAX_TOKENS,
        )
    return response


def told(reader: OutputReader, *responses: pb.TransduceResponse) -> list[str]:
    return [token.token for response in responses for token in reader.take(response)]


def test_tokens_are_told_once_and_the_whole_in_the_end() -> None:
    reader = OutputReader()

    assert told(reader, started("X"), more("Y", "Z"), ended(("X", "Y", "Z"), ())) == ["X", "Y", "Z"]

    made = reader.finished()
    assert (made.model, made.model_version, made.source_tokens) == ("m", 2, ("a", "b"))
    assert made.best.text == "X Y Z"
    assert [one.complete for one in made.alternatives] == [True, False]
    attention = made.best.attention()
    assert attention is not None
    np.testing.assert_array_equal(attention, [[0.25, 0.75]] * 3)
    assert made.alternatives[1].attention() is None


def test_a_call_that_is_made_again_goes_on_where_it_broke() -> None:
    reader = OutputReader()

    assert told(reader, started("X"), more("Y")) == ["X", "Y"]
    assert told(reader, started(), more("X"), more("Y", "Z"), ended(("X", "Y", "Z"))) == ["Z"]
    assert reader.finished().best.text == "X Y Z"


def test_another_output_after_a_break_is_said_to_be_one() -> None:
    reader = OutputReader()
    told(reader, started("X", "Y"))

    with pytest.raises(Unavailable, match="the output is another one now"):
        told(reader, started("X", "Z"))


def test_a_call_that_ends_early_is_no_result() -> None:
    reader = OutputReader()
    told(reader, started("X"))

    with pytest.raises(Unavailable, match="without a result"):
        reader.finished()


def test_every_option_reaches_the_message() -> None:
    request = Decoding(4, 7, 3, 0.5, True).request("ab", "m")

    assert request == pb.TransduceRequest(
        model="m",
        text="ab",
        beam_width=4,
        max_tokens=7,
        max_alternatives=3,
        length_penalty=0.5,
        attention=True,
    )
    assert Decoding().request("ab", "") == pb.TransduceRequest(text="ab")
