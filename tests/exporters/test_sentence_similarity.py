"""The order of similarities: ranks as SciPy has them, pairs of every length, and batches that change no answer."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from tokenizers import Tokenizer

from cuelight.exporters import minilm_l6_v2
from cuelight.exporters.reviews import Review, pairs_of, read_reviews
from cuelight.exporters.sentence_similarity import rank_correlation, similarities
from cuelight.exporters.spec import Arrays
from tests.server.text.text_models import WORDS, tiny_tokenizer, vectors

REVIEWS = [Review(f"title {row}", (f"first {row}.", f"second {row}."), "AB"[row % 2]) for row in range(20)]


@pytest.mark.parametrize("values", [5, 1000], ids=["ties", "none alike"])
def test_ranks_are_those_of_scipy(values: int) -> None:
    rng = np.random.default_rng(2)
    got, wanted = rng.integers(0, values, 300) / 7, rng.integers(0, values, 300) / 7 + rng.integers(0, 2, 300)

    assert rank_correlation(got, wanted) == pytest.approx(spearmanr(got, wanted).statistic, abs=1e-12)


def test_the_order_alone_counts() -> None:
    wanted = np.array([0.1, 0.4, 0.2, 0.9])

    assert rank_correlation(wanted**3, wanted) == pytest.approx(1)
    assert rank_correlation(-wanted, wanted) == pytest.approx(-1)


def test_what_is_no_number_or_always_the_same_keeps_nothing() -> None:
    wanted = np.array([0.1, 0.4, 0.2])

    assert rank_correlation(np.array([0.1, np.nan, 0.2]), wanted) == -1
    assert rank_correlation(np.ones(3), wanted) == 0


def test_each_pair_is_that_of_its_own_texts_whatever_shares_its_batch(tmp_path: Path) -> None:
    tiny_tokenizer().save(str(tmp_path / "tokenizer.json"))
    rng = np.random.default_rng(4)
    pairs = [(words(rng), words(rng)) for _ in range(30)]

    got = similarities(mean_of_vectors, tmp_path / "tokenizer.json", 8, pairs)

    wanted = [cosine(alone(tmp_path, first), alone(tmp_path, second)) for first, second in pairs]
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def words(rng: np.random.Generator) -> str:
    return " ".join(rng.choice(WORDS[4:], rng.integers(1, 12)))


def mean_of_vectors(inputs: Arrays) -> Arrays:
    """Be an encoder: the mean of the tokens that the mask leaves."""
    mask = inputs["attention_mask"][:, :, np.newaxis]
    return {"embedding": (vectors()[inputs["input_ids"]] * mask).sum(1) / mask.sum(1)}


def alone(folder: Path, text: str) -> np.ndarray:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(8)
    mean: np.ndarray = vectors()[tokenizer.encode(text).ids].mean(0)
    return mean


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_pairs_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    assert pairs_of(REVIEWS, 23) == pairs_of(REVIEWS, 23)
    assert len(pairs_of(REVIEWS, 23)) == 23
    assert pairs_of(REVIEWS, 23) != pairs_of(REVIEWS, 23, seed=1)


@pytest.mark.slow
def test_the_pairs_of_real_reviews_are_of_every_length(cache_dir: Path) -> None:
    pairs = pairs_of(read_reviews(cache_dir), 500)

    tokenizer = Tokenizer.from_file(str(minilm_l6_v2.TOKENIZER.fetch(cache_dir)))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    lengths = [len(tokenizer.encode(text).ids) for pair in pairs for text in pair]
    assert len(set(pairs)) == 500
    assert min(lengths) <= 4
    assert max(lengths) >= minilm_l6_v2.MAX_TOKENS
    shares = np.histogram(lengths, [0, 8, 16, 32, 64, 128, 10_000])[0] / len(lengths)
    assert shares.min() > 0.04


@pytest.mark.slow
def test_an_encoder_that_knows_words_alone_keeps_less_than_eight_bits_may(cache_dir: Path) -> None:
    embeddings = minilm_l6_v2.build(cache_dir).embeddings.word_embeddings.weight.detach().numpy()

    def bag_of_words(inputs: Arrays) -> Arrays:
        mask = inputs["attention_mask"][:, :, np.newaxis]
        return {"embedding": (embeddings[inputs["input_ids"]] * mask).sum(1) / mask.sum(1)}

    kept = minilm_l6_v2.order_of_similarities(bag_of_words, cache_dir)

    assert 0.3 < kept < 0.95
