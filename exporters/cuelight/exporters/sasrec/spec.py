"""The export of a trained network: doubles, so that a score does not depend on who else is in the batch."""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cuelight.exporters.sasrec.model import START
from cuelight.exporters.sasrec.train import Trained
from cuelight.exporters.spec import ExportSpec

__all__ = ["export_spec"]


def export_spec(trained: Trained, name: str, assets: Mapping[str, bytes], source: str) -> ExportSpec:
    """Return how a trained network is exported: beside `assets` come the items' vectors, `item_vectors.npy`.

    `tokens` (batch, length) INT64: START (0), then items oldest first as number + 1; behind the end of a row anything.
    `states` (batch, length, width) FP64: the state at place k ranks what comes after k items, by its products with the
    items' vectors (items, width) FP64; their softmax is the chance of each item to be the next.
    """
    network = trained.network.double()
    vectors = io.BytesIO()
    np.save(vectors, network.vectors().detach().numpy())
    shape = network.shape

    def example(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
        length = int(torch.randint(1, shape.length + 1, (1,), generator=generator))
        tokens = torch.randint(1, shape.n_items + 1, (batch, 1 + length), generator=generator)
        tokens[:, 0] = START
        return {"tokens": tokens}

    def build(cache_dir: Path) -> nn.Module:
        return network

    def metadata(cache_dir: Path) -> dict[str, str]:
        return {
            "cuelight.family": "sasrec",
            "cuelight.items": str(shape.n_items),
            "cuelight.length": str(shape.length),
            "cuelight.settings": json.dumps(trained.settings.as_dict()),
        }

    return ExportSpec(
        name=name,
        summary="causal Transformer over what somebody liked",
        build=build,
        example=example,
        outputs=("states",),
        task="recommendation",
        max_batch_size=256,
        parity_batches=(1, 2, 7, 32),
        golden_batches=(1, 4),
        atol=1e-12,
        rtol=1e-12,
        source=source,
        license="that of the data it was trained on",
        axes={"tokens": {1: "length"}, "states": {1: "length"}},
        metadata=metadata,
        assets=lambda cache_dir: {**assets, "item_vectors.npy": vectors.getvalue()},
    )
