"""A text transduced alone and among many others, by the trained models: the same numbers to the last bit."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from cuelight.server.companions import accompanied
from cuelight.server.config import EngineConfig, TextConfig
from cuelight.server.inference.version_loader import Extensions, VersionLoader
from cuelight.server.text.models import TextModels
from cuelight.server.text.transduction.companion import TransductionCompanion
from cuelight.server.text.transduction.servicer import TransductionServicer
from cuelight.text.v1 import text_pb2 as pb
from tests.running_repository import run, running

pytestmark = pytest.mark.slow

TEXT = "a nightingale sang in berkeley square and the moon that lingered over london town poor puzzled moon"
WIDTHS = (0, 2, 5)


class Context:
    """A call without a deadline."""

    def deadline(self) -> None:
        return None


async def result(servicer: TransductionServicer, request: pb.TransduceRequest) -> pb.TransductionResult:
    responses = [response async for response in servicer.Transduce(request, Context())]  # type: ignore[arg-type]
    return responses[-1].result


@pytest.mark.parametrize("model", ["g2p_en", "attention_decoder"])
def test_company_changes_no_bit_of_an_output(model: str, repository_of: Callable[..., Path]) -> None:
    requests = [
        pb.TransduceRequest(
            model=model, text=word, beam_width=width, max_alternatives=width, attention=model == "attention_decoder"
        )
        for word in TEXT.split()
        for width in WIDTHS
    ]

    async def scenario() -> None:
        loader = VersionLoader(EngineConfig(cores=1, device="cpu"), 4096, extensions=Extensions(accompany=accompanied))
        async with running(repository_of(model), loader=loader) as repository:
            servicer = TransductionServicer(TextModels(repository, TextConfig()), Counter())
            alone = [await result(servicer, request) for request in requests]
            together = await asyncio.gather(*(result(servicer, request) for request in requests))

            assert together == alone
            companion = repository.get(model).companion
            assert isinstance(companion, TransductionCompanion)
            assert companion.engine().stepped_rows > 2 * companion.engine().steps

    run(scenario)
