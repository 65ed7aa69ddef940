"""Configurations completed from ONNX files, and refused where the two disagree."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from cuelight.inference.v2 import model_config_pb2
from cuelight.server.config import EngineConfig
from cuelight.server.inference.config_text import parse_pbtxt
from cuelight.server.inference.loader import ModelLoadError
from cuelight.server.inference.model_config import DEFAULT_MAX_BATCH_SIZE, ResolvedModel, check_identity, resolve
from cuelight.server.inference.onnx_facts import OnnxFacts, TensorFacts
from cuelight.server.inference.signature import Padding

FLOAT = "tensor(float)"
X = TensorFacts("x", FLOAT, ("batch", 4))
LENGTHS = TensorFacts("lengths", "tensor(int64)", ("batch",))
Y = TensorFacts("y", FLOAT, ("batch", 2))

CPU = EngineConfig(cores=1, device="cpu")


def facts(
    inputs: tuple[TensorFacts, ...] = (X,),
    outputs: tuple[TensorFacts, ...] = (Y,),
    metadata: Mapping[str, str] | None = None,
) -> OnnxFacts:
    return OnnxFacts(inputs, outputs, metadata or {})


def resolved(text: str = "", given: OnnxFacts | None = None, folder: Path = Path("/nowhere")) -> ResolvedModel:
    return resolve("m", parse_pbtxt(text, "f.pbtxt"), given or facts(), folder, CPU, 4096)


def error_of(text: str = "", given: OnnxFacts | None = None, folder: Path = Path("/nowhere")) -> str:
    with pytest.raises(ModelLoadError) as raised:
        resolved(text, given, folder)
    return str(raised.value)


def test_a_model_without_a_config_is_completed_from_its_file() -> None:
    model = resolved(given=facts(metadata={"cuelight.task": "demo", "other": "not shown"}))

    expected = model_config_pb2.ModelConfig(
        name="m",
        platform="onnxruntime_onnx",
        backend="onnxruntime",
        max_batch_size=DEFAULT_MAX_BATCH_SIZE,
        default_model_filename="model.onnx",
    )
    expected.version_policy.latest.num_versions = 1
    expected.input.add(name="x", data_type=model_config_pb2.TYPE_FP32, dims=[4])
    expected.output.add(name="y", data_type=model_config_pb2.TYPE_FP32, dims=[2])
    expected.instance_group.add(name="m", kind=model_config_pb2.ModelInstanceGroup.KIND_CPU, count=1)
    expected.parameters["cuelight.task"].string_value = "demo"
    expected.dynamic_batching.SetInParent()
    assert model.config == expected
    assert model.signature.inputs["x"].shape == (-1, 4)
    assert model.batching.max_batch_size == DEFAULT_MAX_BATCH_SIZE
    assert (model.instances.device, model.instances.count) == ("cpu", 1)


@pytest.mark.parametrize(
    ("shapes", "metadata", "text", "max_batch_size"),
    [
        ([("batch", 4), ("batch", 2)], {}, "", DEFAULT_MAX_BATCH_SIZE),
        ([("batch", 4), (None, 2)], {}, "", DEFAULT_MAX_BATCH_SIZE),
        ([("batch", 4), ("batch", 2)], {"cuelight.max_batch_size": "7"}, "", 7),
        ([("batch", 4), ("batch", 2)], {"cuelight.max_batch_size": "0"}, "", 0),
        ([("batch", 4), ("batch", 2)], {"cuelight.max_batch_size": "7"}, "max_batch_size: 5", 5),
        ([("batch", 4), ("batch", 2)], {}, "max_batch_size: 0", 0),
        ([("batch", 4), ("batch", 2)], {}, "input { name: 'x' dims: [ -1, 4 ] }", 0),
        ([("batch", 4), ("batch", 2)], {}, "input { name: 'x' dims: [ 4 ] }", DEFAULT_MAX_BATCH_SIZE),
        ([(1, 4), ("batch", 2)], {}, "", 0),
        ([("batch", 4), (1, 2)], {}, "", 0),
        ([("batch", 4), ()], {}, "", 0),
    ],
)
def test_the_batch_axis_is_written_down_declared_or_found(
    shapes: list[tuple[int | str | None, ...]], metadata: dict[str, str], text: str, max_batch_size: int
) -> None:
    given = facts((TensorFacts("x", FLOAT, shapes[0]),), (TensorFacts("y", FLOAT, shapes[1]),), metadata)

    model = resolved(text, given)

    assert model.config.max_batch_size == max_batch_size
    assert model.signature.max_batch_size == max_batch_size
    skip = 1 if max_batch_size else 0
    assert list(model.config.output[0].dims) == [size if isinstance(size, int) else -1 for size in shapes[1][skip:]]


def test_inputs_that_name_their_first_axes_differently_are_no_batch() -> None:
    words = TensorFacts("words", "tensor(int64)", ("sentence_length",))

    assert resolved(given=facts((X, words))).signature.max_batch_size == 0


def test_a_config_may_fix_what_the_file_leaves_free_and_leave_out_outputs() -> None:
    x = TensorFacts("x", FLOAT, ("batch", "time", 4))
    z = TensorFacts("z", FLOAT, ("batch", 2))

    model = resolved(
        "max_batch_size: 8 input { name: 'x' data_type: TYPE_FP32 dims: [ 16, 4 ] } output { name: 'z' }",
        facts((x,), (Y, z)),
    )

    assert model.signature.inputs["x"].shape == (-1, 16, 4)
    assert list(model.signature.outputs) == ["z"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_batch_size: -1", 'f.pbtxt: field "max_batch_size": got -1, expected 0'),
        ("name: 'other'", 'f.pbtxt: field "name": got "other", expected "m"'),
        ("platform: 'tensorrt_plan'", 'field "platform": got "tensorrt_plan", expected "onnxruntime_onnx"'),
        ("backend: 'python'", 'field "backend": got "python", expected "onnxruntime"'),
        ("default_model_filename: '../m.onnx'", 'field "default_model_filename": got "../m.onnx"'),
        ("sequence_batching { iterative_sequence: true }", 'field "sequence_batching.iterative_sequence": got true'),
        ("input { name: 'z' }", 'input "z": not in the model; it has x'),
        ("output { name: 'z' }", 'output "z": not in the model; it has y'),
        ("output { name: 'y' } output { name: 'y' }", 'output "y": listed twice'),
        (
            "input { name: 'x' data_type: TYPE_INT8 }",
            'input "x": data_type TYPE_INT8, but the model file has FP32 [-1,4]',
        ),
        (
            "max_batch_size: 2 input { name: 'x' dims: [ 5 ] }",
            'input "x": dims make it FP32 [-1,5] (-1 in front is the batch axis), but the model file has FP32 [-1,4]',
        ),
        ("max_batch_size: 2 input { name: 'x' dims: [ -1, 4 ] }", 'input "x": dims make it FP32 [-1,-1,4]'),
        ("max_batch_size: 2 output { name: 'y' dims: [ -1 ] }", 'output "y": dims make it FP32 [-1,-1]'),
        ("max_batch_size: 0 output { name: 'y' dims: [ -1, 3 ] }", "FP32 [-1,3], but the model file has FP32 [-1,2]"),
        ("output { name: 'y' label_filename: 'none.txt' }", 'label_filename "none.txt": '),
        ("output { name: 'y' label_filename: '../../etc/passwd' }", "lies outside the model's folder"),
        ("output { name: 'y' label_filename: '/etc/passwd' }", "lies outside the model's folder"),
        ("output { name: 'y' label_filename: '.' }", 'label_filename ".": '),
        (
            "dynamic_batching { preferred_batch_size: [ 99 ] }",
            'dynamic_batching.preferred_batch_size": got 99, expected 1',
        ),
        (
            "dynamic_batching { priority_levels: 3 }",
            'default_priority_level": got 0, expected 1 to 3 (priority_levels)',
        ),
        ("dynamic_batching { priority_levels: 1000 }", 'priority_levels": got 1000, expected 0 to 256'),
        ("dynamic_batching { priority_queue_policy { key: 1 value { } } }", "priority_queue_policy"),
        ("instance_group { count: 65 }", 'field "instance_group[0].count": got 65 instances, expected 1 to 64'),
        ("instance_group { count: -1 }", "got -1 instances"),
        ("instance_group { kind: KIND_CPU gpus: [ 0 ] }", 'field "instance_group[0].gpus": the group runs on the CPU'),
        ("instance_group { kind: KIND_CPU } instance_group { kind: KIND_GPU }", "groups on cpu and cuda"),
    ],
)
def test_a_config_that_disagrees_with_the_file_is_refused_by_name(text: str, says: str, tmp_path: Path) -> None:
    assert says in error_of(text, folder=tmp_path)


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"cuelight.schema": "2"}, 'metadata "cuelight.schema": got "2", expected "1"'),
        ({"cuelight.max_batch_size": "many"}, 'metadata "cuelight.max_batch_size": got "many", expected 0 or more'),
        ({"cuelight.nonfinite": "maybe"}, 'metadata "cuelight.nonfinite": got "maybe", expected "accept" or "reject"'),
        ({"cuelight.labels": "cat, dog"}, 'metadata "cuelight.labels": not JSON'),
        ({"cuelight.labels": '["cat", 1]'}, 'metadata "cuelight.labels": expected a JSON list of strings'),
        ({"cuelight.padding": "{}"}, 'metadata "cuelight.padding": expected a JSON list'),
        ({"cuelight.padding": '[{"input": "x", "axes": 1}]'}, "cuelight.padding[0]"),
        ({"cuelight.padding": '[{"input": "q", "axis": 1}]'}, "input: got 'q', expected one of x"),
        (
            {"cuelight.padding": '[{"input": "x", "axis": 1}]'},
            'axis: got 1, expected an axis of free size of "x", FP32',
        ),
        ({"cuelight.padding": '[{"input": "x", "axis": true}]'}, "axis: got True"),
    ],
)
def test_metadata_that_makes_no_sense_is_refused_by_key(metadata: dict[str, str], says: str) -> None:
    assert says in error_of(given=facts(metadata=metadata))


def test_a_declared_batch_axis_that_a_tensor_lacks_is_refused() -> None:
    given = facts(outputs=(TensorFacts("y", FLOAT, (1, 2)),), metadata={"cuelight.max_batch_size": "8"})

    assert error_of(given=given) == (
        'f.pbtxt: metadata "cuelight.max_batch_size": got 8, but tensor "y" has no batch axis: the model file has [1,2]'
    )


def test_an_input_that_the_config_leaves_out_is_missed() -> None:
    assert 'input "lengths": missing' in error_of("input { name: 'x' }", facts((X, LENGTHS)))


def test_a_type_without_a_wire_datatype_is_refused() -> None:
    given = facts((TensorFacts("x", "seq(tensor(float))", ()),))

    assert 'input "x": the model file has seq(tensor(float)), which has no datatype' in error_of(given=given)


def test_padding_and_nonfinite_reach_the_signature() -> None:
    x = TensorFacts("x", FLOAT, ("batch", "time"))
    y = TensorFacts("y", FLOAT, ("batch", "time"))
    padding = '[{"input":"x","axis":1,"length_input":"lengths","value":-1,"outputs":[{"output":"y","axis":1}]}]'

    model = resolved(given=facts((x, LENGTHS), (y,), {"cuelight.padding": padding, "cuelight.nonfinite": "reject"}))

    assert model.signature.padding == (Padding("x", 1, "lengths", -1.0, (("y", 1),)),)
    assert model.signature.reject_nonfinite


def test_buckets_of_padding_reach_the_signature() -> None:
    x = TensorFacts("x", FLOAT, ("batch", "time"))

    model = resolved(given=facts((x,), (x,), {"cuelight.padding": '[{"input": "x", "axis": 1, "buckets": [8, 24]}]'}))

    [padding] = model.signature.padding
    assert [padding.bucket(size) for size in (1, 8, 9, 24, 25, 1000)] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("buckets", "says"),
    [
        ("[8, 0]", "buckets: got [8, 0], expected a list of whole numbers from 1 on"),
        ("8", "buckets: got 8, expected a list of whole numbers from 1 on"),
        ("[8, 8]", "buckets: got [8, 8], expected them ascending, each once"),
    ],
)
def test_buckets_that_are_none_are_refused(buckets: str, says: str) -> None:
    x = TensorFacts("x", FLOAT, ("batch", "time"))
    padding = f'[{{"input": "x", "axis": 1, "buckets": {buckets}}}]'

    with pytest.raises(ModelLoadError) as caught:
        resolved(given=facts((x,), (x,), {"cuelight.padding": padding}))

    assert says in str(caught.value)


def test_labels_come_from_the_file_named_or_from_metadata_for_the_first_output(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat\ndog\n", encoding="utf-8")
    z = TensorFacts("z", FLOAT, ("batch", 2))
    given = facts(outputs=(Y, z), metadata={"cuelight.labels": '["yes", "no"]'})

    by_file = resolved("output { name: 'y' label_filename: 'labels.txt' } output { name: 'z' }", given, tmp_path)

    assert by_file.signature.labels == {"y": ("cat", "dog")}
    assert resolved(given=given).signature.labels == {"y": ("yes", "no")}


def test_labels_are_of_the_first_output_that_is_not_the_embedding() -> None:
    z = TensorFacts("z", FLOAT, ("batch", 2))
    said = {"cuelight.labels": '["yes", "no"]', "cuelight.embedding": "y"}

    assert resolved(given=facts(outputs=(Y, z), metadata=said)).signature.labels == {"z": ("yes", "no")}
    assert resolved(given=facts(metadata=said)).signature.labels == {"y": ("yes", "no")}


def test_a_label_file_may_be_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (tmp_path / "shared.txt").write_text("cat\n")
    (folder / "labels.txt").symlink_to(tmp_path / "shared.txt")

    assert resolved("output { name: 'y' label_filename: 'labels.txt' }", folder=folder).signature.labels == {
        "y": ("cat",)
    }


def test_parameters_of_the_config_win_over_metadata_of_the_file() -> None:
    text = "parameters { key: 'cuelight.max_batch_size' value { string_value: '3' } }"

    model = resolved(text, facts(metadata={"cuelight.max_batch_size": "7"}))

    assert model.config.max_batch_size == 3
    assert model.config.parameters["cuelight.max_batch_size"].string_value == "3"


def test_dynamic_batching_is_read_in_seconds() -> None:
    batching = resolved(
        """max_batch_size: 8 dynamic_batching {
          preferred_batch_size: [ 8, 4 ] max_queue_delay_microseconds: 250 priority_levels: 2 default_priority_level: 2
          default_queue_policy { default_timeout_microseconds: 1000 }
          priority_queue_policy {
            key: 1 value { timeout_action: DELAY max_queue_size: 3 allow_timeout_override: true }
          }
        }"""
    ).batching

    assert batching.preferred_batch_sizes == (4, 8)
    assert batching.max_queue_delay_s == pytest.approx(250e-6)
    assert (batching.priority_levels, batching.default_priority_level) == (2, 2)
    assert batching.policy(2).timeout_s == pytest.approx(1e-3)
    assert (batching.policy(1).timeout_action, batching.policy(1).max_queue_size) == ("delay", 3)
    assert batching.policy(1).allow_timeout_override
    assert batching.max_queue_size == 4096


@pytest.mark.parametrize(
    ("text", "device", "device_ids"),
    [
        ("instance_group { kind: KIND_CPU count: 3 }", "cpu", (0, 0, 0)),
        ("instance_group { count: 2 }", "cpu", (0, 0)),
        ("instance_group { kind: KIND_GPU }", "cuda", (0,)),
        ("instance_group { kind: KIND_GPU count: 2 gpus: [ 0, 3 ] }", "cuda", (0, 0, 3, 3)),
        ("instance_group { gpus: [ 1 ] }", "cuda", (1,)),
        ("instance_group { gpus: [ 1 ] } instance_group { kind: KIND_GPU gpus: [ 2 ] }", "cuda", (1, 2)),
    ],
)
def test_instances_are_counted_per_device(text: str, device: str, device_ids: tuple[int, ...]) -> None:
    instances = resolved(text).instances

    assert (instances.device, instances.device_ids, instances.count) == (device, device_ids, len(device_ids))


def test_the_file_name_inside_a_version_may_be_chosen() -> None:
    assert check_identity("m", parse_pbtxt("default_model_filename: 'net.onnx'", "f")) == "net.onnx"
    assert check_identity("m", parse_pbtxt("", "f")) == "model.onnx"
