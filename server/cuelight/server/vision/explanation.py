"""Why a model says so: the ways to an explanation, each run in the model's own batches beside everybody's images.

An explanation by many runs has a few of them in the queue at a time, and whatever takes long is done in its turn: see
`explanation_turns`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cuelight.server.errors import InvalidRequest, Unsupported
from cuelight.server.vision.classification import Numbers, probabilities_of, top_classes
from cuelight.server.vision.explanation_turns import ExplanationTurns
from cuelight.server.vision.image_calls import ImageCall
from cuelight.server.vision.occlusion import occlusion_grid
from cuelight.server.vision.overlay import Overlay, overlay_png
from cuelight.server.vision.preprocessing import Pixels
from cuelight.server.vision.rise import RiseMap, RiseMasks, masked
from cuelight.vision.v1 import vision_pb2 as pb

__all__ = ["Explainer", "check_options"]

_GRID, _GRID_RANGE = 7, (2, 32)
_MASKS = 512
_OVERLAY, _OVERLAY_RANGE = 640, (16, 2048)
_ROWS_AT_ONCE = 8
"""Rows of one explanation in the queue at a time."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Found:
    """A map, how it came about, and from which value on it speaks for the class."""

    method: Any
    values: NDArray[np.float32]
    runs: int
    bias: float = 0.0
    zero: float = 0.0


def check_options(request: pb.ExplainRequest, max_masks: int) -> None:
    """Raise InvalidRequest for an option that is out of range, naming it."""
    ranges = (
        ("occlusion_grid", request.occlusion_grid, *_GRID_RANGE, _GRID),
        ("masks", request.masks, 1, max_masks, min(_MASKS, max_masks)),
        ("overlay_size", request.overlay_size, *_OVERLAY_RANGE, _OVERLAY),
    )
    for name, got, lowest, highest, default in ranges:
        if got and not lowest <= got <= highest:
            raise InvalidRequest(f"{name}: got {got}, expected {lowest} to {highest}, or 0 for {default}")
    if request.method not in pb.ExplanationMethod.values():
        raise InvalidRequest(f"method: got {request.method}, expected {', '.join(pb.ExplanationMethod.keys())}")


class Explainer:
    """One explanation, of the one image of a call."""

    def __init__(
        self,
        call: ImageCall,
        turns: ExplanationTurns,
        request: pb.ExplainRequest,
        max_masks: int,
        deadline_s: float | None,
    ) -> None:
        self._call = call
        self._turns = turns
        self._model = model = call.model
        self._request = request
        self._masks = request.masks or min(_MASKS, max_masks)
        self._deadline_s = deadline_s
        self._first = model.facts.preprocessing.layout == "NCHW"

    async def explain(self) -> pb.ExplainResponse:
        """Return the explanation. Raises: InvalidRequest, Unsupported; as `ModelVersion.infer`."""
        facts, version = self._model.facts, self._model.version
        asked = self._target()
        size = self._request.overlay_size or _OVERLAY if self._request.overlay else 0
        async with self._turns.turn():
            prepared = await self._call.prepare(self._request.image, size)
        (probabilities,) = await self._probabilities(prepared.pixels[None])
        index = top_classes(probabilities, 1)[0] if asked is None else asked
        found = await self._found(prepared.pixels, index, float(probabilities[index]))
        region = facts.preprocessing.region(*prepared.size)
        rows, columns = found.values.shape
        response = pb.ExplainResponse(
            model=version.name,
            model_version=version.version,
            label=pb.Label(name=facts.labels[index], index=index, score=probabilities[index]),
            method=found.method,
            rows=rows,
            columns=columns,
            values=found.values.ravel(),
            bias=found.bias,
            region=pb.Region(left=region.left, top=region.top, width=region.width, height=region.height),
            info=prepared.info,
            runs=found.runs,
        )
        if prepared.small is not None:
            overlay = Overlay(found.values, found.zero, region, prepared.size)
            response.overlay_png = await self._make(overlay_png, prepared.small, overlay)
        return response

    def _target(self) -> int | None:
        """Return the class asked for; None for the most probable one."""
        labels = self._model.facts.labels
        kind = self._request.WhichOneof("target")
        if kind is None:
            return None
        if kind == "class_index":
            index = self._request.class_index
            if not 0 <= index < len(labels):
                raise InvalidRequest(f"class_index: got {index}, expected 0 to {len(labels) - 1}")
            return index
        name = self._request.class_name
        if name not in labels:
            raise InvalidRequest(f'class_name: "{name}" is none of the {len(labels)} labels of the model')
        return labels.index(name)

    async def _found(self, pixels: Pixels, index: int, whole: float) -> _Found:
        method = self._request.method
        if method == pb.OCCLUSION:
            return await self._by_occlusion(pixels, index, whole)
        if method == pb.RISE:
            return await self._by_masks(pixels, index)
        activation = await self._model.companion.activation(self._model.version)
        if activation is not None:
            async with self._turns.turn():
                found = await activation.map_of(pixels, index, self._deadline_s)
            return _Found(pb.CLASS_ACTIVATION, found.values, 2, found.bias)
        if method == pb.CLASS_ACTIVATION:
            raise Unsupported(
                f'model "{self._model.version.name}" gives no class activation map: '
                f"{self._model.companion.why_no_activation}; ask for OCCLUSION or RISE"
            )
        return await self._by_occlusion(pixels, index, whole)

    async def _by_occlusion(self, pixels: Pixels, index: int, whole: float) -> _Found:
        how = self._model.facts.preprocessing
        grid = occlusion_grid(how.height, how.width, self._request.occlusion_grid or _GRID, self._first)
        covered: list[float] = []
        for start in range(0, len(grid), self._at_once):
            places = range(start, min(start + self._at_once, len(grid)))
            images = await self._make(grid.covered, pixels, places)
            covered += (await self._probabilities(images))[:, index].tolist()
        return _Found(pb.OCCLUSION, grid.values(whole, covered), 1 + len(grid))

    async def _by_masks(self, pixels: Pixels, index: int) -> _Found:
        how = self._model.facts.preprocessing
        masks, found = RiseMasks(how.height, how.width, self._request.seed), RiseMap(how.height, how.width)
        for start in range(0, self._masks, self._at_once):
            drawn = await self._make(masks.draw, min(self._at_once, self._masks - start))
            images = await self._make(masked, pixels, drawn, self._first)
            probabilities = await self._probabilities(images)
            await self._make(found.add, drawn, probabilities[:, index])
        values = found.values()
        return _Found(pb.RISE, values, 1 + self._masks, zero=float(values.min()))

    async def _make(self, make: Callable[..., T], *of: Any) -> T:
        """Compute something on a thread."""
        async with self._turns.turn():
            return await self._call.make(make, *of)

    async def _probabilities(self, images: Pixels) -> Numbers:
        """Return the probabilities, (images, classes)."""
        facts = self._model.facts
        async with self._turns.turn():
            outputs = await self._call.run(images)
        return probabilities_of(outputs[facts.scores], facts.scores_are_logits)

    @property
    def _at_once(self) -> int:
        """How many images one request to the model holds."""
        return max(1, min(_ROWS_AT_ONCE, self._model.version.signature.max_batch_size))
