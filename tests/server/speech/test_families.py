"""Models of sherpa-onnx's families as sequences: loaded with no configuration, stepped in company, equal to alone."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper

from cuelight.server.config import EngineConfig, SequenceConfig
from cuelight.server.inference.config_text import parse_pbtxt
from cuelight.server.inference.loader import ModelLoadError, open_for_facts
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.onnx_facts import OnnxFacts, read_facts
from cuelight.server.inference.version_loader import Extensions, VersionLoader
from cuelight.server.speech.families import adapted
from cuelight.server.speech.streaming_facts import METADATA_KEY, StreamingFacts, streaming_facts
from tests.scale_models import scale_model
from tests.server.speech.plain_pipeline import PlainModel
from tests.server.speech.sherpa_models import BUILDERS, CONTEXT, VOCABULARY, lstm_transducer, nemo_ctc, zipformer2_ctc

Floats = NDArray[np.float32]


def facts_of(model: Path) -> OnnxFacts:
    return read_facts(open_for_facts(model, 1))


def adapted_facts(folder: Path) -> OnnxFacts:
    return adapted(facts_of(folder / "model.onnx"), folder / "model.onnx")


def streaming_of(folder: Path) -> StreamingFacts:
    facts = streaming_facts(adapted_facts(folder).metadata)
    assert facts is not None
    return facts


def with_metadata(folder: Path, file: str = "model.onnx", **changes: str | None) -> None:
    """Change a file's metadata; None takes a key away."""
    model = onnx.load(folder / file)
    props = {prop.key: prop.value for prop in model.metadata_props} | changes
    del model.metadata_props[:]
    helper.set_model_props(model, {key: value for key, value in props.items() if value is not None})
    onnx.save(model, folder / file)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[ModelVersion]:
    """Load version 1 below the folder as the server loads it."""
    loader = VersionLoader(EngineConfig(cores=1), 4096, SequenceConfig(max_sequences=16), Extensions(adapted))
    version = loader.prepare("m", 1, folder, parse_pbtxt("", "config.pbtxt")).serve()
    try:
        yield version
    finally:
        await version.stop()


@pytest.mark.parametrize("family", BUILDERS)
def test_three_streams_in_company_equal_the_model_run_alone(family: str, tmp_path: Path) -> None:
    model = BUILDERS[family](_version_folder(tmp_path))
    generator = np.random.default_rng(0)

    async def main() -> None:
        async with serving(tmp_path) as version:
            facts = streaming_facts({key: value.string_value for key, value in version.config.parameters.items()})
            sequences = version.sequences
            assert facts is not None
            assert sequences is not None
            assert facts.family == family
            alone = {name: PlainModel(model / "model.onnx") for name in "abc"}
            for step in range(6):
                frames: dict[str, Floats] = {
                    name: generator.uniform(-16, 0, (facts.window_frames, facts.feature_dim)).astype(np.float32)
                    for name in "abc"[: 3 - step // 3]
                }
                results = await asyncio.gather(
                    *(sequences.submit(name, facts.step_inputs(each), start=not step) for name, each in frames.items())
                )
                for (name, each), result in zip(frames.items(), results, strict=True):
                    expected = alone[name].step(each)
                    np.testing.assert_allclose(result.outputs[facts.output][0], expected, rtol=1e-4, atol=1e-4)
            state = (await sequences.export("a")).state
            assert state is not None
            for held, expected in zip(state.rows, alone["a"].state, strict=True):
                np.testing.assert_allclose(held.reshape(-1), expected.reshape(-1), rtol=1e-4, atol=1e-4)

    asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.parametrize("family", BUILDERS)
def test_every_state_takes_part_in_what_comes_out(family: str, tmp_path: Path) -> None:
    model = PlainModel(BUILDERS[family](tmp_path) / "model.onnx")
    generator = np.random.default_rng(0)
    first, second = (generator.uniform(-16, 0, (model.window, 80)).astype(np.float32) for _ in range(2))
    model.step(first)
    state = [*model.state]
    expected = model.step(second)
    # A count that is past the left context masks nothing any more, and NeMo's is not looked at.
    for place in range(len(state) - (family != "lstm_transducer")):
        model.state = [*state]
        model.state[place] = np.zeros_like(state[place])

        assert np.abs(model.step(second) - expected).max() > 1e-4, model.names[place]


def test_what_is_known_of_each_family(tmp_path: Path) -> None:
    folders = {family: tmp_path / family for family in BUILDERS}
    for family, folder in folders.items():
        folder.mkdir()
        BUILDERS[family](folder)
    facts = {family: streaming_of(folder) for family, folder in folders.items()}

    assert {f: (each.window_frames, each.shift_frames) for f, each in facts.items()} == {
        "nemo_ctc": (20, 16),
        "zipformer2_ctc": (45, 32),
        "zipformer2_transducer": (45, 32),
        "lstm_transducer": (9, 4),
    }
    assert {f: each.context_size for f, each in facts.items() if each.transducer} == {
        "zipformer2_transducer": CONTEXT,
        "lstm_transducer": CONTEXT,
    }
    assert {each.vocab_size for each in facts.values()} == {VOCABULARY}
    assert {each.frame_s for each in facts.values()} == {0.04}
    assert (facts["nemo_ctc"].layout, facts["nemo_ctc"].constants) == ("BFT", {"length": (20,)})
    assert (facts["lstm_transducer"].layout, facts["lstm_transducer"].constants) == ("BTF", {})
    assert facts["nemo_ctc"].shift_samples == 2560
    assert {f for f, each in facts.items() if each.features == "nemo"} == {"nemo_ctc"}


def test_every_size_but_the_batch_is_fixed_so_that_arrays_are_bound_once(tmp_path: Path) -> None:
    facts = adapted_facts(nemo_ctc(tmp_path))

    sizes = {tensor.name: tensor.sizes for tensor in (*facts.inputs, *facts.outputs)}

    assert sizes["audio_signal"] == (-1, 80, 20)
    assert sizes["cache_last_time"] == (-1, 2, 1, 24)
    assert sizes["logprobs"] == (-1, 4, VOCABULARY)


def test_a_model_without_batch_axis_is_served_one_stream_at_a_time(tmp_path: Path) -> None:
    folder = lstm_transducer(_version_folder(tmp_path))
    model = onnx.load(folder / "model.onnx")
    for tensor in (*model.graph.input, *model.graph.output):
        for size in tensor.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_value = 1
    onnx.save(model, folder / "model.onnx")

    async def main() -> None:
        async with serving(tmp_path) as version:
            alone, frames = PlainModel(folder / "model.onnx"), np.full((9, 80), -5, np.float32)
            assert version.signature.max_batch_size == 0
            assert version.sequences is not None
            for step in range(3):
                result = await version.sequences.submit("a", {"x": frames[np.newaxis]}, start=not step)
                np.testing.assert_allclose(result.outputs["encoder_out"][0], alone.step(frames), rtol=1e-5, atol=1e-5)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_other_models_are_left_as_they_are(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    for metadata in ({}, {"model_type": "zipformer2"}, {"model_type": "lstm", "T": "9"}, {"cache_last_time_dim1": "2"}):
        onnx.save(scale_model(2.0, metadata=metadata), model)
        facts = facts_of(model)

        assert adapted(facts, model) is facts


@pytest.mark.parametrize(
    ("text", "delay_share"),
    [
        ("", 1 / 5),
        ("sequence_batching { oldest { } }", 0),
        ("sequence_batching { direct { max_queue_delay_microseconds: 5000 } }", None),
    ],
    ids=["the file's own", "none is asked for", "another one is asked for"],
)
def test_a_step_waits_for_company_a_fifth_of_its_length(text: str, delay_share: float | None, tmp_path: Path) -> None:
    model = nemo_ctc(_version_folder(tmp_path))
    streaming = streaming_of(model)
    loader = VersionLoader(EngineConfig(cores=1), 4096, SequenceConfig(max_sequences=16), Extensions(adapted))

    spec = loader.prepare("m", 1, tmp_path, parse_pbtxt(text, "config.pbtxt")).resolved.sequences

    assert spec is not None
    step_s = streaming.shift_samples / streaming.sample_rate_hz
    assert spec.max_queue_delay_s == pytest.approx(0.005 if delay_share is None else delay_share * step_s)


@pytest.mark.parametrize("text", ["soon", "-1", "9" * 25])
def test_a_delay_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    with_metadata(nemo_ctc(_version_folder(tmp_path)), **{"cuelight.max_queue_delay_us": text})
    loader = VersionLoader(EngineConfig(cores=1), 4096, SequenceConfig(), Extensions(adapted))

    with pytest.raises(ModelLoadError, match=rf'"cuelight.max_queue_delay_us": got .{text}., expected micros'):
        loader.prepare("m", 1, tmp_path, parse_pbtxt("", "config.pbtxt"))


def test_keys_that_the_file_has_itself_win(tmp_path: Path) -> None:
    folder = zipformer2_ctc(tmp_path)
    with_metadata(folder, **{"cuelight.max_batch_size": "8", "language": "de"})

    facts = adapted_facts(folder)

    assert facts.metadata["cuelight.max_batch_size"] == "8"
    assert streaming_of(folder).language == "de"


@pytest.mark.parametrize(
    ("builder", "file", "changes", "message"),
    [
        (nemo_ctc, "model.onnx", {"chunk_shift": None}, 'metadata "chunk_shift": missing'),
        (nemo_ctc, "model.onnx", {"window_size": "-3"}, 'metadata "window_size": got "-3", expected whole numbers'),
        (nemo_ctc, "model.onnx", {"cache_last_time_dim3": "25"}, r'"cache_last_time" is .*, by .* \[batch,2,1,25\]'),
        (zipformer2_ctc, "model.onnx", {"num_heads": "2"}, "num_heads 1"),
        (zipformer2_ctc, "model.onnx", {"num_encoder_layers": "1,1"}, "has 21 inputs and 21 outputs, .* of 15 inputs"),
        (zipformer2_ctc, "model.onnx", {"left_context_len": "8,x"}, 'metadata "left_context_len": got "8,x"'),
        (zipformer2_ctc, "model.onnx", {"feature": "whisper"}, 'metadata "feature": got "whisper", expected none'),
        (lstm_transducer, "model.onnx", {"d_model": None}, 'metadata "d_model": missing'),
        (lstm_transducer, "decoder.onnx", {"context_size": None}, 'decoder.onnx: metadata "context_size": missing'),
    ],
)
def test_what_is_wrong_with_a_file_is_named(
    tmp_path: Path, builder: Any, file: str, changes: dict[str, str | None], message: str
) -> None:
    folder = builder(tmp_path)
    with_metadata(folder, file, **changes)

    with pytest.raises(ModelLoadError, match=message) as raised:
        adapted_facts(folder)
    assert str(folder / file) in str(raised.value)


@pytest.mark.parametrize("missing", ["decoder.onnx", "joiner.onnx"])
def test_a_transducer_needs_decoder_and_joiner_beside_it(missing: str, tmp_path: Path) -> None:
    folder = lstm_transducer(tmp_path)
    (folder / missing).unlink()

    with pytest.raises(ModelLoadError, match=f"expected {missing} beside it"):
        adapted_facts(folder)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nonsense", "not JSON"),
        ("[]", "expected a JSON object with keys among"),
        ('{"family": "nemo_ctc"}', "missing 6 required positional arguments: 'window_frames'"),
        ({"window_frames": 0}, "window_frames: got 0, expected a whole number of at least 1"),
        ({"shift_frames": 99}, "shift_frames: got 99, expected at most window_frames, 20"),
        ({"features": "htk"}, "features: got 'htk', expected kaldi or nemo"),
        ({"layout": "TBF"}, "layout: got 'TBF', expected BTF or BFT"),
        ({"family": "lstm_transducer"}, "context_size: got 0, expected at least 1"),
    ],
)
def test_facts_that_an_exporter_wrote_wrongly_are_refused(value: Any, message: str, tmp_path: Path) -> None:
    facts = streaming_of(nemo_ctc(tmp_path))
    text = value if isinstance(value, str) else replace(facts, **value).to_json()

    with pytest.raises(ModelLoadError, match=message):
        streaming_facts({METADATA_KEY: text})


def test_facts_survive_their_way_through_the_metadata(tmp_path: Path) -> None:
    facts = streaming_of(nemo_ctc(tmp_path))

    assert streaming_facts({METADATA_KEY: facts.to_json()}) == facts
    assert streaming_facts({}) is None


def _version_folder(folder: Path) -> Path:
    version = folder / "1"
    shutil.rmtree(version, ignore_errors=True)
    version.mkdir()
    return version
