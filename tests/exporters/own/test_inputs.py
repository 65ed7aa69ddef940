"""Inputs, axes and pairs as they are typed."""

import pytest
import torch

from cuelight.exporters.errors import ExportError
from cuelight.exporters.own.inputs import InputText, example_from, parse_axis, parse_input, parse_pair
from cuelight.exporters.spec import Axis


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("image=FP32[batch,3,224,224]", InputText("image", "FP32", ("batch", 3, 224, 224))),
        ("x=FP32[batch, time, 80]", InputText("x", "FP32", ("batch", "time", 80))),
        ("ids=INT64[batch,time]:0..29999", InputText("ids", "INT64", ("batch", "time"), 0.0, 29999.0)),
        ("h=FP16[2,batch,128]:-1.5..1.5", InputText("h", "FP16", (2, "batch", 128), -1.5, 1.5)),
        ("x=float32[batch,3]", InputText("x", "FP32", ("batch", 3))),
        ("x=f16[batch,3]", InputText("x", "FP16", ("batch", 3))),
        ("ids=int64[batch]", InputText("ids", "INT64", ("batch",))),
        ("image=UINT8[batch,8,8,3]", InputText("image", "UINT8", ("batch", 8, 8, 3))),
        ("flag=BOOL[batch]", InputText("flag", "BOOL", ("batch",))),
    ],
)
def test_an_input_is_read(text: str, wanted: InputText) -> None:
    assert parse_input(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x", "expected NAME=DATATYPE[batch,...]"),
        ("x=FP32", "expected NAME=DATATYPE[batch,...]"),
        ("x=FLOAT[batch,3]", "no datatype FLOAT; there are BOOL"),
        ("x=FP32[1,3]", 'one axis has to be "batch"'),
        ("x=FP32[batch,batch]", 'one axis has to be "batch"'),
        ("x=FP32[batch,-1]", '"-1" is neither a size from 1 on nor the name of an axis'),
        ("x=FP32[batch,0]", '"0" is neither'),
        ("x=INT64[batch]:9..3", "the range 9..3 is empty"),
    ],
)
def test_an_input_that_cannot_be_read_is_named_with_what_was_expected(text: str, wanted: str) -> None:
    with pytest.raises(ExportError) as raised:
        parse_input(text)

    assert f'--input "{text}"' in str(raised.value)
    assert wanted in str(raised.value)


def test_an_axis_is_read() -> None:
    assert parse_axis("time=1,7,50") == Axis("time", (1, 7, 50))


@pytest.mark.parametrize("text", ["time", "time=", "time=7", "time=7,7", "time=0,1", "time=a,b", "batch=1,2", "1=2,3"])
def test_an_axis_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(ExportError, match=f'--axis "{text}"'):
        parse_axis(text)


def test_a_pair_has_two_names() -> None:
    assert parse_pair("--state", "h=h_next") == ("h", "h_next")
    with pytest.raises(ExportError, match='--state "h": expected two names'):
        parse_pair("--state", "h")


def test_values_are_drawn_from_their_range_and_state_is_zero() -> None:
    said = (
        "ids=INT64[batch,time]:3..5",
        "x=FP32[batch,2]:-1..1",
        "h=FP32[2,batch]",
        "image=UINT8[batch,100]",
        "b=INT8[batch]",
    )
    texts = [parse_input(text) for text in said]

    inputs = example_from(texts, frozenset({"h"}))(torch.Generator().manual_seed(0), 50, time=40)

    assert inputs["ids"].shape == (50, 40)
    assert sorted(set(inputs["ids"].flatten().tolist())) == [3, 4, 5]
    assert inputs["ids"].dtype is torch.int64
    assert -1 <= inputs["x"].min() < -0.5 < 0.5 < inputs["x"].max() <= 1
    assert torch.equal(inputs["h"], torch.zeros((2, 50)))
    assert inputs["image"].dtype is torch.uint8
    assert sorted(set(inputs["image"].flatten().tolist())) == list(range(256))
    assert sorted(set(inputs["b"].tolist())) == [0, 1]
