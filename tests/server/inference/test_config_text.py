"""Configurations as text: what applies is kept, everything else is an error that says what it met and where."""

import pytest

from cuelight.server.inference.config_text import parse_json, parse_pbtxt
from cuelight.server.inference.loader import ModelLoadError

FULL = """
name: "m"
platform: "onnxruntime_onnx"
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 format: FORMAT_NONE dims: [ 4 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" } ]
version_policy { specific { versions: [ 1, 3 ] } }
instance_group [ { name: "g" kind: KIND_CPU count: 2 } ]
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 100
  preserve_ordering: true
  priority_levels: 2
  default_priority_level: 1
  default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 5 allow_timeout_override: true }
  priority_queue_policy { key: 2 value { max_queue_size: 9 } }
}
parameters { key: "team" value { string_value: "games" } }
default_model_filename: "model.onnx"
model_transaction_policy { decoupled: false }
response_cache { enable: false }
"""


def test_every_field_that_applies_is_taken() -> None:
    parsed = parse_pbtxt(FULL, "config.pbtxt")

    assert parsed.message.name == "m"
    assert list(parsed.message.version_policy.specific.versions) == [1, 3]
    assert parsed.message.dynamic_batching.priority_queue_policy[2].max_queue_size == 9
    assert parsed.sets_max_batch_size


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "optimization { graph { level: 1 } }",
            'field "optimization" does not apply here; fields of ModelConfig that do',
        ),
        ("ensemble_scheduling { step { model_name: 'a' } }", 'field "ensemble_scheduling"'),
        ("model_warmup { name: 'w' }", 'field "model_warmup"'),
        ("cc_model_filenames { key: 'a' value: 'b' }", 'field "cc_model_filenames"'),
        (
            "input { name: 'x' reshape { shape: [ 1 ] } }",
            'field "input[0].reshape" does not apply here; fields of ModelI',
        ),
        ("output { name: 'y' } output { is_shape_tensor: true }", 'field "output[1].is_shape_tensor"'),
        ("instance_group { rate_limiter { priority: 1 } }", 'field "instance_group[0].rate_limiter"'),
        (
            "instance_group { kind: KIND_MODEL }",
            'instance_group[0].kind": got KIND_MODEL, expected KIND_AUTO, KIND_CPU',
        ),
        (
            "model_transaction_policy { decoupled: true }",
            'model_transaction_policy.decoupled": got true, expected only',
        ),
        ("response_cache { enable: true }", 'response_cache.enable": got true'),
        ("input { name: 'x' format: FORMAT_NCHW }", 'input[0].format": got FORMAT_NCHW, expected only FORMAT_NONE'),
    ],
)
def test_a_field_that_does_not_apply_is_named_with_the_file_and_what_is_allowed(text: str, says: str) -> None:
    with pytest.raises(ModelLoadError) as raised:
        parse_pbtxt(text, "/models/m/config.pbtxt")

    assert str(raised.value).startswith("/models/m/config.pbtxt: ")
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('name: "m"\nmax_batchsize: 4\n', 'f.pbtxt, line 2: Message type "inference.ModelConfig" has no field'),
        ("max_batch_size: many", "f.pbtxt, line 1: "),
        ("input { name: 'x' data_type: TYPE_FP33 }", "TYPE_FP33"),
        ("max_batch_size: 1\nmax_batch_size: 2", "f.pbtxt, line 2: "),
        ("input [ { name: 'x' ", "f.pbtxt"),
    ],
)
def test_text_that_does_not_parse_is_named_by_file_and_line(text: str, says: str) -> None:
    with pytest.raises(ModelLoadError) as raised:
        parse_pbtxt(text, "f.pbtxt")

    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("max_batch_size: 0", True),
        ('name: "m" max_batch_size : 0', True),
        ("name: 'm'\n  max_batch_size:0", True),
        ("# max_batch_size: 0", False),
        ('parameters { key: "max_batch_size: 1" value { string_value: "" } }', False),
        ("", False),
    ],
)
def test_an_explicit_zero_differs_from_nothing(text: str, written: bool) -> None:
    assert parse_pbtxt(text, "f").sets_max_batch_size is written


def test_json_takes_proto_and_camel_case_names() -> None:
    assert parse_json('{"maxBatchSize": 4}', "config").sets_max_batch_size
    assert parse_json('{"max_batch_size": 0}', "config").sets_max_batch_size
    assert not parse_json('{"name": "m"}', "config").sets_max_batch_size
    assert parse_json('{"input": [{"name": "x", "dims": ["4"]}]}', "config").message.input[0].dims == [4]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"max_batchsize": 1}', '{"optimization": {}}', "[" * 100_000])
def test_json_that_is_wrong_names_its_source(text: str) -> None:
    with pytest.raises(ModelLoadError, match=r'^parameter "config": '):
        parse_json(text, 'parameter "config"')
