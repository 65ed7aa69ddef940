"""A detector's steps go together, and fail together."""

import asyncio
import gc
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cuelight.server.errors import InferenceFailed
from cuelight.server.speech.vad import ServedVad
from tests.sequence_models import running_sum
from tests.server.inference.stateful import serving


def test_a_step_that_fails_leaves_no_errors_that_nobody_asks_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "cuelight.sequences")  # a record of the failure would hold its batch for long
    untold: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: untold.append(context))
        async with serving(tmp_path, running_sum()) as version:
            parameters = version.config.parameters
            parameters["cuelight.sample_rate_hz"].string_value = "16000"
            parameters["cuelight.chunk_samples"].string_value = "3"
            vad = ServedVad(version)
            with pytest.raises(InferenceFailed):
                await vad.probabilities(np.zeros((8, 3), np.float32))
            vad.close()

    asyncio.run(main())
    gc.collect()
    assert untold == []
