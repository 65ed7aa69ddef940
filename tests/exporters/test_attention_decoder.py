"""The network with attention: what it was kept from, what it makes of it, and where it looks."""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from cuelight.exporters.attention_decoder.data import DICTIONARY, LETTERS, PHONEMES, Words, read_words, split
from cuelight.exporters.attention_decoder.evaluate import evaluate, greedy, score
from cuelight.exporters.attention_decoder.model import DecoderStep, Network, load_checkpoint
from cuelight.exporters.attention_decoder.train import Training
from cuelight.exporters.export import Export
from cuelight.exporters.weights import WeightsError
from tests.exporters.stepped import attentive

UNSEEN_EXACT, UNSEEN_SOUNDS, UNSEEN_PHONEME_ERROR = 0.62, 0.675, 0.103
"""Limits a little wider than what `evaluate` measured: see exporters/README.md."""


@pytest.fixture(scope="module")
def words(cache_dir: Path) -> Words:
    """CMUdict."""
    try:
        return read_words(DICTIONARY.fetch(cache_dir))
    except WeightsError as error:
        pytest.skip(f"CMUdict cannot be had: {error}")


@pytest.fixture(scope="module")
def network() -> Network:
    """The committed checkpoint."""
    return load_checkpoint()


def test_the_dictionary_is_read_whole(words: Words) -> None:
    assert len(words) > 120_000
    assert words["tomato"] == [["T", "AH0", "M", "EY1", "T", "OW2"], ["T", "AH0", "M", "AA1", "T", "OW2"]]
    assert {phoneme for ways in words.values() for way in ways for phoneme in way} == set(PHONEMES[4:])
    assert {letter for word in words for letter in word} == set(LETTERS[4:])


def test_a_word_and_its_possessive_are_kept_from_training_together(words: Words) -> None:
    parts = split(words)

    assert sum(map(len, parts)) == len(words)
    assert 0.015 < len(parts[2]) / len(words) < 0.025
    place = {word: number for number, part in enumerate(parts) for word in part}
    assert all(place[word] == place[word.removesuffix("'s")] for word in words if word.removesuffix("'s") in place)


@pytest.mark.slow
def test_unseen_words_are_said_as_well_as_is_claimed(words: Words, network: Network) -> None:
    torch.set_num_threads(1)
    unseen = split(words)[2]

    found = evaluate(network, unseen)

    print(f"{found.words} words: {found.exact:.2%} exact, phoneme error {found.phoneme_error:.2%}")
    assert found.exact >= UNSEEN_EXACT
    assert found.exact_sounds >= UNSEEN_SOUNDS
    assert found.phoneme_error <= UNSEEN_PHONEME_ERROR


def test_the_score_counts_what_must_be_changed() -> None:
    said = {"a": ["AH0"], "cat": ["K", "AE1", "T", "S"], "dog": ["D", "G"], "to": ["T", "UW0"]}
    known = {"a": [["EY1"], ["AH0"]], "cat": [["K", "AE1", "T"]], "dog": [["D", "AO1", "G"]], "to": [["T", "UW1"]]}

    found = score(said, known)

    assert found.words == 4
    assert found.exact == pytest.approx(1 / 4)
    assert found.exact_sounds == pytest.approx(2 / 4)
    assert found.phoneme_error == pytest.approx(3 / 9)


def test_training_and_the_served_step_are_the_same_network(network: Network) -> None:
    source = torch.tensor([[8, 5, 20, 3], [4, 3, 0, 0]])
    length = torch.tensor([4, 2])
    tokens = torch.tensor([[2, 60, 9, 70], [2, 30, 3, 0]])

    with torch.inference_mode():
        wanted = network(source, length, tokens)
        memory, h = network.encoder(source, length)
        step = DecoderStep(network.decoder)
        for place in range(tokens.shape[1]):
            log_probs, h, attention = step(tokens[:, place], h, memory, length)
            torch.testing.assert_close(log_probs, wanted[:, place], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(attention.sum(1), torch.ones(2))
            assert attention[1, 2:].abs().max() == 0


def test_padding_changes_nothing_of_a_word(network: Network) -> None:
    alone = greedy(network, ["sphinx"])
    beside = greedy(network, ["sphinx", "antidisestablishmentarianism"])

    assert beside[0] == alone[0]


SAME_SOUND: Words = {
    word: [["W", "AH1", "N"]] for word in ("won", "wun", "wunn", "whun", "wuhn", "wwun", "wun'", "wu-n", "wuun")
}


def training(**options: float) -> Training:
    """A training of few words, six steps an epoch."""
    torch.manual_seed(0)
    chosen = {"epochs": 4, "batch": 2, "rate": 2e-3, "dropout": 0.2, "seed": 0, **options}
    return Training({"cat": [["K", "AE1", "T"]], "a": [["AH0"], ["EY1"]], **SAME_SOUND}, argparse.Namespace(**chosen))


def advance(one: Training, epochs: int) -> list[float]:
    """Train on and return the loss of each step."""
    return [one.advance(batch) for epoch in range(one.epochs_done, epochs) for batch in one.batches(epoch)]


def test_a_training_that_was_broken_off_goes_on_to_the_same_end() -> None:
    whole = training()
    losses = advance(whole, 4)
    half = training()
    advance(half, 2)
    left = half.state()

    resumed = training()
    resumed.restore(left)
    rest = advance(resumed, 4)

    assert rest == losses[len(losses) // 2 :]
    for mine, theirs in zip(resumed.average.parameters(), whole.average.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_best_epoch_is_remembered() -> None:
    one = training()

    assert [one.is_best(exact) for exact in (0.0, 0.5, 0.4, 0.5, 0.6)] == [True, True, False, False, True]
    other = training()
    other.restore(one.state())
    assert not other.is_best(0.55)


def test_more_epochs_begin_as_fewer_do() -> None:
    short, long = (advance(training(epochs=epochs), 4) for epochs in (4, 40))

    level = len(short) // 2
    assert short[: level + 1] == long[: level + 1]
    assert short[-1] != long[-1]


def test_a_few_words_are_learned_by_heart() -> None:
    one = training(epochs=60)
    advance(one, 60)

    assert greedy(one.average, ["cat", "won"]) == [["K", "AE1", "T"], ["W", "AH1", "N"]]


@pytest.mark.slow
def test_attention_goes_from_the_first_letter_to_the_last(export_of: Callable[[str], Export]) -> None:
    folder = export_of("attention_decoder").path

    for word in ("nightingale", "blackbird", "elephant", "watermelon"):
        tokens, attention = attentive(folder, word)

        looked = (attention @ np.arange(attention.shape[1])).tolist()
        assert len(tokens) > 3
        assert np.corrcoef(looked, np.arange(len(looked)))[0, 1] > 0.9, f"{word}: {looked}"
