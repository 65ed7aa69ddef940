"""What is kept beside a version that classifies images: what it says of itself, who uses it, and its explanations.

Made when the version is loaded. A model whose metadata cannot be used still serves tensors: the reason is kept, and
told to whoever asks for images. A version that is replaced lives on until the calls that began with it have ended.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cuelight.server.errors import Unsupported
from cuelight.server.inference.model_config import ResolvedModel
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.vision.class_activation import ClassActivation, NoActivation, Opened, open_activation
from cuelight.server.vision.image_facts import ImageFacts, image_facts
from cuelight.server.vision.preprocessing import MetadataUnusable

__all__ = ["TASK", "TASK_KEY", "VisionCompanion", "accompany"]

TASK = "image_classification"
TASK_KEY = "cuelight.task"

_log = logging.getLogger("cuelight.vision")


class VisionCompanion:
    """Made on the loader's thread, then owned by the event loop."""

    def __init__(self, facts: ImageFacts | None, unusable: str, model: Path) -> None:
        self._facts = facts
        self.unusable = unusable
        """Why it cannot be used for images; empty where it can."""
        self._model = model
        self._calls = 0
        self._left = asyncio.Event()
        self._left.set()
        self._closed = False
        self._opening: asyncio.Future[Opened] | None = None
        self._activation: ClassActivation | None = None
        self._no_activation = ""

    def facts(self, name: str) -> ImageFacts:
        """Return the facts. Raises: Unsupported naming what the metadata lacks."""
        if self._facts is None:
            raise Unsupported(f'model "{name}" cannot be used for images: {self.unusable}')
        return self._facts

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the version for as long as a call goes on with it."""
        self._calls += 1
        self._left.clear()
        try:
            yield
        finally:
            self._calls -= 1
            if not self._calls:
                self._left.set()

    async def activation(self, version: ModelVersion) -> ClassActivation | None:
        """Return what gives class activation maps, opened where it is not yet; None where the graph does not allow it.

        `why_no_activation` then says why. Whoever comes while it is opened waits for the same one.
        """
        if self._activation is None and not self._no_activation:
            if self._opening is None:
                loop = asyncio.get_running_loop()
                self._opening = loop.run_in_executor(None, _opened, self._model, self.facts(version.name), version)
                self._opening.add_done_callback(lambda opening: self._take(version.name, opening))
            await asyncio.wait([self._opening])
        return self._activation

    @property
    def why_no_activation(self) -> str:
        """Why the graph gives no class activation map; empty while that is not known."""
        return self._no_activation

    async def outlive(self) -> None:
        """Return once no call uses the version, or it is closed."""
        await self._left.wait()

    def close(self) -> None:
        """Free what was opened, and wait for nobody any more."""
        self._closed = True
        self._left.set()
        if self._activation is not None:
            self._activation.close()

    def _take(self, name: str, opening: "asyncio.Future[Opened]") -> None:
        if opening.cancelled():
            self._opening = None
            return
        error = opening.exception()
        if isinstance(error, NoActivation):
            self._no_activation = str(error)
            return
        if error is not None:
            # Whatever one model's file brings about, its tensors and labels are served on.
            self._no_activation = f"its graph could not be rewritten: {error}"
            _log.warning("model %s gives no class activation map", name, exc_info=error)
            return
        opened = opening.result()
        if self._closed:
            opened.engine.close()
            return
        self._activation = ClassActivation(name, opened, self.facts(name))


def accompany(directory: Path, resolved: ResolvedModel) -> VisionCompanion | None:
    """Return what goes beside the version in `directory`; None for a model that does something else."""
    metadata = {key: value.string_value for key, value in resolved.config.parameters.items()}
    if metadata.get(TASK_KEY) != TASK:
        return None
    model = directory / resolved.config.default_model_filename
    if resolved.sequences is not None:
        return VisionCompanion(None, "it keeps sequences, one image has none", model)
    try:
        return VisionCompanion(image_facts(metadata, resolved.signature), "", model)
    except MetadataUnusable as error:
        _log.warning("model %s serves tensors, but no images: %s", directory.parent.name, error)
        return VisionCompanion(None, str(error), model)


def _opened(model: Path, facts: ImageFacts, version: ModelVersion) -> Opened:
    """Open what gives the maps, on the device that the version runs on; off the event loop."""
    # onnx is needed for this alone.
    from cuelight.server.vision.activation_graph import with_class_activation  # noqa: PLC0415

    return open_activation(model, facts, version.signature, version.engines[0].config, with_class_activation)
