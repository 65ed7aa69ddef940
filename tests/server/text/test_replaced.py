"""A model of text that is replaced while calls of many texts are under way: each is answered whole."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from cuelight.server.companions import accompanied
from cuelight.server.config import EngineConfig, TextConfig
from cuelight.server.inference.repository import ModelRepository
from cuelight.server.inference.version_loader import Extensions, VersionLoader
from cuelight.server.text.counts import TextCounts
from cuelight.server.text.models import TextModels
from cuelight.server.text.servicer import TextServicer
from cuelight.server.text.work_pool import WorkPool
from cuelight.text.v1 import text_pb2 as pb
from tests.running_repository import run, running
from tests.server.text.text_models import WORDS, embedding_of, write_encoder

TEXTS = [" ".join(WORDS[4 : 5 + index % 6]) for index in range(1000)]
CONTEXT: Any = SimpleNamespace(deadline=lambda: None)


async def answered(servicer: TextServicer, versions: list[int]) -> None:
    response = await servicer.Embed(pb.EmbedRequest(texts=TEXTS), CONTEXT)
    got = np.array([embedding.values for embedding in response.embeddings])
    np.testing.assert_allclose(got, [embedding_of(text) for text in TEXTS], atol=1e-5)
    versions.append(response.model_version)


async def replaced(repository: ModelRepository, folder: Path, servicer: TextServicer) -> list[int]:
    versions: list[int] = []
    calls = []
    for version in range(2, 6):
        calls += [asyncio.ensure_future(answered(servicer, versions)) for _ in range(4)]
        await asyncio.sleep(0)  # they have looked the model up, and hold part of their texts back
        write_encoder(folder / "encoder" / str(version))
        await repository.load("encoder")
    await asyncio.gather(*calls)
    await answered(servicer, versions)
    return versions


def test_calls_that_are_under_way_are_answered_by_the_version_they_began_with(tmp_path: Path) -> None:
    async def scenario() -> None:
        write_encoder(tmp_path / "encoder" / "1")
        loader = VersionLoader(EngineConfig(cores=1, device="cpu"), 10_000, None, Extensions(accompany=accompanied))
        pool = WorkPool(1)
        options: dict[str, Any] = {"mode": "explicit", "load_models": ("encoder",), "loader": loader}
        async with running(tmp_path, **options) as repository:
            servicer = TextServicer(TextModels(repository, TextConfig()), pool, TextConfig(), TextCounts())

            versions = await replaced(repository, tmp_path, servicer)

            assert versions[-1] == 5
            assert set(versions) == {1, 2, 3, 4, 5}
        pool.close()

    run(scenario)
