"""The digit recogniser: its features, its strings, its training, and what it recognises, also through sherpa-onnx."""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import kaldi_native_fbank as knf
import numpy as np
import onnx
import pytest
import sherpa_onnx
import torch
from numpy.typing import NDArray

from cuelight.exporters.digits_ctc import kokoro, train
from cuelight.exporters.digits_ctc.augment import hidden_spans, stretched, warped_banks
from cuelight.exporters.digits_ctc.data import HELD_OUT_SPEAKER, Digit, StringMaker, Utterance, read_digits, split
from cuelight.exporters.digits_ctc.evaluate import edit_distance, fixed_strings, recognise, telephone, word_error_rate
from cuelight.exporters.digits_ctc.features import log_mel, mel_bank
from cuelight.exporters.digits_ctc.model import BLANK, WORDS, StreamingDigitsCtc, greedy, load_checkpoint
from cuelight.exporters.digits_ctc.spec import SPEC
from cuelight.exporters.digits_ctc.voices import trimmed, voices
from cuelight.exporters.digits_ctc.wild_strings import WildStringMaker, by_speaker
from cuelight.exporters.export import Export

ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "speech" / "fsdd.tar.gz"
WORD_ERROR_LIMIT = 0.15


@pytest.fixture(scope="module")
def held_out() -> list[Digit]:
    """The recordings of the speaker never trained on."""
    if not ARCHIVE.is_file():
        pytest.skip(f"the Free Spoken Digit Dataset is not at {ARCHIVE}")
    return split(read_digits(ARCHIVE))[2]


@pytest.fixture(scope="module")
def exported(export_of: Callable[[str], Export]) -> Path:
    """The folder of the exported version."""
    return export_of(SPEC.name).path


@pytest.mark.parametrize("samples", [400, 16_000, 16_079, 16_080, 16_123])
def test_features_equal_those_of_kaldi_native_fbank(samples: int) -> None:
    audio = np.random.default_rng(samples).standard_normal(samples, np.float32) * np.float32(0.1)

    ours = log_mel(torch.from_numpy(audio)[None])[0].numpy()

    np.testing.assert_allclose(ours, native_features(audio), atol=1e-3)


def test_a_warped_bank_moves_the_low_filters_and_keeps_the_high_ones() -> None:
    plain, warped = mel_bank(), mel_bank(1.1)

    hz = torch.arange(256) * 31.25
    centres = [(bank * hz[:, None]).sum(0) / bank.sum(0) for bank in (plain, warped)]
    assert centres[1][30].item() == pytest.approx(1.1 * centres[0][30].item(), rel=0.01)
    torch.testing.assert_close(plain[:, 65:], warped[:, 65:])


def test_steps_of_160_ms_add_up_to_the_whole_utterance() -> None:
    model = load_checkpoint()
    features = torch.randn((2, 160, 80), generator=torch.Generator().manual_seed(0)) * 4 - 9
    step, state = StreamingDigitsCtc(model), [torch.zeros((2, 2, 1, 192)) for _ in range(2)]
    seen, parts = torch.zeros(2, dtype=torch.int64), []

    with torch.inference_mode():
        for start in range(0, 160, 16):
            chunk = features[:, start : start + 16].transpose(1, 2)
            log_probs, count, *state, seen = step(chunk, torch.tensor([16, 16]), *state, seen)
            assert count.tolist() == [4, 4]
            parts.append(log_probs)
        whole = model.log_probs(features)

    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-4, rtol=1e-4)
    assert seen.tolist() == [10, 10]


def test_greedy_merges_repeats_unless_a_blank_is_between() -> None:
    path = [BLANK, 3, 3, BLANK, 3, 5, 5, BLANK]

    assert greedy(torch.nn.functional.one_hot(torch.tensor(path), 11).float()) == [3, 3, 5]


@pytest.mark.parametrize(
    ("got", "want", "distance"),
    [([], [], 0), ([1], [], 1), ([], [1, 2], 2), ([1, 2, 3], [1, 3], 1), ([3, 2, 1], [1, 2, 3], 2), ([4], [5], 1)],
)
def test_edit_distance(got: list[int], want: list[int], distance: int) -> None:
    assert edit_distance(got, want) == distance


def test_strings_are_the_same_for_the_same_seed_and_lie_where_they_say() -> None:
    first, again = (StringMaker(tones(), 5, hard=False).make() for _ in range(2))

    assert first.digits == again.digits
    np.testing.assert_array_equal(first.audio, again.audio)
    assert all(0 <= start < end <= len(first.audio) for start, end in first.spans)
    assert 1 <= len(first.digits) <= 8
    assert np.abs(first.audio).max() <= 1


def test_wild_strings_are_the_same_for_the_same_seed() -> None:
    first, again = (WildStringMaker(tones(), tones("espeak-f1"), 5) for _ in range(2))
    made, remade = ([maker.make() for _ in range(6)] for maker in (first, again))

    assert [string.digits for string in made] == [string.digits for string in remade]
    np.testing.assert_array_equal(made[-1].audio, remade[-1].audio)
    assert all(np.isfinite(string.audio).all() and np.abs(string.audio).max() <= 1 for string in made)


def test_half_of_the_wild_strings_are_synthetic_each_by_one_voice() -> None:
    spoken_by = {9: "recorded", 1: "espeak-f1", 2: "flite-awb", 3: "kokoro-3"}
    digits = {name: Digit(digit, name, 0, tone(digit)) for digit, name in spoken_by.items()}
    maker = WildStringMaker([digits.pop("recorded")], list(digits.values()), 0, max_digits=3)

    made = [string.digits for string in (maker.make() for _ in range(400)) if string.digits]

    assert all(len(set(string)) == 1 for string in made)
    shares = [sum(string[0] == digit for string in made) / len(made) for digit in spoken_by]
    np.testing.assert_allclose(shares, [0.5, 0.5 * 0.35, 0.25 * 0.65, 0.25 * 0.65], atol=0.08)


def test_digits_are_grouped_by_speaker() -> None:
    ann, ben = tones("ann"), tones("ben")

    assert by_speaker([ann[0], ben[0], ann[1]]) == [[ann[0], ann[1]], [ben[0]]]


def test_stretching_keeps_the_values_and_moves_them_in_time() -> None:
    ramp = torch.arange(40.0)[None, :, None].repeat(2, 1, 3)

    longer = stretched(ramp, torch.tensor([40, 20]), torch.tensor([1.25, 1.0]))

    assert longer.shape == (2, 50, 3)
    torch.testing.assert_close(longer[0, :45, 0], torch.arange(45) / 1.25)
    torch.testing.assert_close(longer[1, :20], ramp[1, :20])


def test_hiding_sets_whole_bands_and_gaps_to_the_mean_and_leaves_the_rest() -> None:
    hidden = hidden_spans(torch.ones((8, 100, 60)), 1.0)

    assert ((hidden == 0) | (hidden == 1)).all()
    assert hidden.mean().item() > 0.6
    for row in hidden:
        assert torch.equal(row, row.amax(1, keepdim=True) * row.amax(0, keepdim=True))


def test_the_middle_warped_bank_is_the_plain_one() -> None:
    banks = warped_banks()

    torch.testing.assert_close(banks[len(banks) // 2], mel_bank())


def test_every_synthetic_voice_has_its_own_name_that_an_archive_can_hold() -> None:
    names = [voice.name for voice in voices()]

    assert len(set(names)) == len(names)
    assert not any("_" in name or "/" in name for name in names)
    assert all(len(set(voice.takes)) == len(voice.takes) for voice in voices())


def test_silence_around_a_digit_is_trimmed_and_within_it_kept() -> None:
    spoken = np.concatenate([tone(3)[:800], np.zeros(400, np.float32), tone(3)[:800]])

    trim = trimmed(np.concatenate([np.zeros(1_600, np.float32), spoken, np.zeros(960, np.float32)]), 8_000)

    np.testing.assert_array_equal(trim, spoken)


def test_mixing_kokoro_voices_leaves_the_sum_of_their_weights_one() -> None:
    random = np.random.default_rng(0)

    weights = [kokoro._mixture(random, 5) for _ in range(20)]

    assert all(np.count_nonzero(mixed) == 2 for mixed in weights)
    np.testing.assert_allclose([mixed.sum() for mixed in weights], 1, rtol=1e-6)


def test_the_speaker_held_out_is_in_no_other_set() -> None:
    digits = [Digit(7, speaker, take, tone(7)) for speaker in ("ann", HELD_OUT_SPEAKER) for take in range(8)]

    train_set, dev, kept = split(digits)

    assert {digit.speaker for digit in kept} == {HELD_OUT_SPEAKER}
    assert {digit.speaker for digit in (*train_set, *dev)} == {"ann"}
    assert {digit.take for digit in train_set}.isdisjoint(digit.take for digit in dev)


def test_training_lowers_the_loss_and_resumes_where_it_stopped(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = argparse.Namespace(seed=0, rate=5e-3, batch=4, steps=100, out=tmp_path / "checkpoint.pt")
    training = train.Training(tones(), [], options)
    losses = [training.advance() for _ in range(12)]
    training.save()

    resumed = train.Training(tones(), [], options)
    resumed.load()

    assert min(losses[-3:]) < losses[0]
    assert resumed.step == 12
    assert load_checkpoint(tmp_path / "checkpoint.pt").outer.bias.tolist() == resumed.average.outer.bias.tolist()


def test_word_error_of_the_speaker_held_out_is_within_its_limit(held_out: list[Digit]) -> None:
    strings = fixed_strings(StringMaker(held_out, 20_000, hard=False), 40)
    model = load_checkpoint()

    assert word_error_rate(model, strings) <= WORD_ERROR_LIMIT
    assert word_error_rate(model, [telephone(made) for made in strings]) <= WORD_ERROR_LIMIT


@pytest.mark.slow
def test_the_export_has_tokens_beside_it_and_the_metadata_of_both_readers(exported: Path) -> None:
    described = {prop.key: prop.value for prop in onnx.load(exported / "model.onnx").metadata_props}
    tokens = dict(line.split(" ") for line in (exported / "tokens.txt").read_text(encoding="utf-8").splitlines())

    assert tokens == {**{f"\u2581{word}": str(index) for index, word in enumerate(WORDS)}, "<blk>": "10"}
    assert described["vocab_size"] == "10"
    assert (described["window_size"], described["chunk_shift"], described["subsampling_factor"]) == ("16", "16", "4")
    assert [described[f"cache_last_time_dim{index}"] for index in (1, 2, 3)] == ["2", "1", "192"]
    assert described["cuelight.task"] == "speech_recognition"
    assert described["cuelight.family"] == "nemo_ctc"


@pytest.mark.slow
def test_sherpa_onnx_hears_what_our_own_features_and_network_hear(exported: Path, held_out: list[Digit]) -> None:
    strings = fixed_strings(StringMaker(held_out, 20_000, hard=False), 20)
    recognizer = sherpa_onnx.OnlineRecognizer.from_nemo_ctc(
        tokens=str(exported / "tokens.txt"), model=str(exported / "model.onnx"), num_threads=1
    )

    heard = [sherpa_digits(recognizer, made) for made in strings]

    assert heard == [recognise(load_checkpoint(), with_silence(made)) for made in strings]
    assert sum(got == list(made.digits) for got, made in zip(heard, strings, strict=True)) >= 10


def native_features(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what sherpa-onnx's own front computes, with its settings for streaming NeMo CTC."""
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = 16_000
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = 80
    options.frame_opts.window_type = "hann"
    options.frame_opts.remove_dc_offset = False
    options.mel_opts.is_librosa = True
    options.mel_opts.low_freq = 0
    options.mel_opts.high_freq = 0
    fbank = knf.OnlineFbank(options)
    fbank.accept_waveform(16_000, audio.tolist())
    fbank.input_finished()
    return np.array([fbank.get_frame(index) for index in range(fbank.num_frames_ready)], np.float32)


def sherpa_digits(recognizer: sherpa_onnx.OnlineRecognizer, made: Utterance) -> list[int]:
    """Return what sherpa-onnx hears, fed 100 ms at a time and then half a second of silence."""
    stream = recognizer.create_stream()
    audio = with_silence(made).audio
    for start in range(0, len(audio), 1_600):
        stream.accept_waveform(16_000, audio[start : start + 1_600])
        while recognizer.is_ready(stream):
            recognizer.decode_stream(stream)
    return [WORDS.index(word) for word in recognizer.get_result(stream).split()]


def with_silence(made: Utterance) -> Utterance:
    return replace(made, audio=np.concatenate([made.audio, np.zeros(8_000, np.float32)]))


def tones(speaker: str = "whistler") -> list[Digit]:
    """Return ten digits that are tones, two takes each."""
    return [Digit(digit, speaker, take, tone(digit)) for digit in range(10) for take in range(2)]


def tone(digit: int) -> NDArray[np.float32]:
    return np.sin(2 * np.pi * (200 + 300 * digit) * np.arange(4_800) / 16_000).astype(np.float32)
