"""What becomes stable, and that it stays. Tokens from 100 on begin a word."""

import pytest

from cuelight.server.speech.segmented.agreement import Agreement, common_prefix


def begins_word(token: int) -> bool:
    return token >= 100


@pytest.mark.parametrize(
    ("hypotheses", "stable"),
    [
        ([], ()),
        ([(100, 101, 102)], ()),
        ([(100, 101, 102), (100, 101, 103)], (100, 101)),
        ([(100, 101), (100, 101)], (100,)),
        ([(100, 1, 101), (100, 1, 2)], ()),
        ([(100, 1, 101, 5), (100, 1, 101, 6)], (100, 1)),
        ([(100, 101, 102), (100, 101, 103), (100, 101, 103, 104)], (100, 101)),
        ([(100, 101, 102), (100, 101, 103), (100, 101, 103, 104), (100, 101, 103, 105)], (100, 101, 103)),
        ([(100, 101, 102), (100, 101, 103), (100, 101)], (100, 101)),
        ([(100,), (200,)], ()),
    ],
)
def test_whole_words_that_two_hypotheses_begin_with_are_stable(
    hypotheses: list[tuple[int, ...]], stable: tuple[int, ...]
) -> None:
    agreement = Agreement(begins_word, held_back=0)

    for hypothesis in hypotheses:
        agreement.push(hypothesis)

    assert agreement.stable == stable


def test_a_hypothesis_that_takes_back_what_is_stable_is_an_error() -> None:
    agreement = Agreement(begins_word, held_back=0)
    agreement.push((100, 101, 102))
    agreement.push((100, 101, 103))

    with pytest.raises(ValueError, match="does not begin with the stable tokens"):
        agreement.push((100, 102))


@pytest.mark.parametrize(
    ("first", "second", "length"), [((), (), 0), ((1, 2), (1, 3), 1), ((1, 2), (1, 2, 3), 2), ((1,), (2,), 0)]
)
def test_the_common_prefix_ends_at_the_first_difference(
    first: tuple[int, ...], second: tuple[int, ...], length: int
) -> None:
    assert common_prefix(first, second) == length


@pytest.mark.parametrize(("held_back", "stable"), [(0, (100, 1, 101, 102)), (1, (100, 1, 101)), (2, (100, 1)), (3, ())])
def test_the_last_words_agreed_upon_are_held_back(held_back: int, stable: tuple[int, ...]) -> None:
    agreement = Agreement(begins_word, held_back)

    agreement.push((100, 1, 101, 102, 103))
    agreement.push((100, 1, 101, 102, 104))

    assert agreement.stable == stable
