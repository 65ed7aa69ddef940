"""From a model's folder to versions that are proven: configuration, sessions, warm-up, golden vectors.

Everything here but `PreparedVersion.serve` is slow and runs on the repository's loader thread.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cuelight.server.config import EngineConfig
from cuelight.server.inference.config_text import ConfigText
from cuelight.server.inference.direct_session import DirectSession, open_direct_session
from cuelight.server.inference.golden import GoldenVectors, example_of, read_golden, replay
from cuelight.server.inference.loader import LoadedEngines, ModelLoadError, file_digest, load_engines, open_for_facts
from cuelight.server.inference.model_config import ResolvedModel, check_identity, resolve
from cuelight.server.inference.model_version import ModelVersion, inline_rows_of
from cuelight.server.inference.onnx_facts import read_facts
from cuelight.server.inference.signature import ModelSignature
from cuelight.server.inference.tensors import rows_of

__all__ = ["PreparedVersion", "VersionLoader"]

_GOLDEN_FILE = "golden.npz"

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class PreparedVersion:
    """A version that is proven and has not served yet."""

    name: str
    version: int
    directory: Path
    resolved: ResolvedModel
    loaded: LoadedEngines
    direct: DirectSession | None
    digest: str
    golden_cases: int

    def summary(self) -> str:
        """Return provider and proof as the log and the startup lines show them."""
        proof = f"{self.golden_cases} golden cases agree" if self.golden_cases else "unproven, it has no golden.npz"
        return f"{self.loaded.engines[0].provider}, {proof}"

    def serve(self) -> ModelVersion:
        """Return the version, ready for requests; call on the event loop."""
        return ModelVersion(
            self.name,
            self.version,
            self.resolved.config,
            self.resolved.signature,
            self.resolved.batching,
            self.loaded.engines,
            self.loaded.steps,
            digest=self.digest,
            golden_cases=self.golden_cases,
            directory=self.directory,
            direct=self.direct,
        )


class VersionLoader:
    """Builds versions with the server's engine settings. Stateless; `prepare` runs on the loader thread."""

    def __init__(self, engine: EngineConfig, max_queue_size: int) -> None:
        self._engine = engine
        self._max_queue_size = max_queue_size

    def prepare(self, name: str, version: int, folder: Path, text: ConfigText) -> PreparedVersion:
        """Build one version of the model in `folder`, warm it up and prove it.

        Raises: ModelLoadError naming the file, and the cause.
        """
        directory = folder / str(version)
        model = directory / check_identity(name, text)
        if not model.is_file():
            raise ModelLoadError(f"{directory}: holds no {model.name}")
        golden = read_golden(directory / _GOLDEN_FILE)
        digest = file_digest(model)
        session = open_for_facts(model, self._engine.cores)
        resolved = resolve(name, text, read_facts(session), folder, self._engine, self._max_queue_size)
        where = f'model "{name}" version {version}, {directory / _GOLDEN_FILE}'
        example = example_of(golden, resolved.signature, where) if golden is not None else None
        loaded = load_engines(model, resolved.signature, resolved.instances, self._engine.cores, session, example)
        direct = _direct_session(model, resolved, loaded)
        cases = 0
        if golden is not None:
            cases = len(golden.cases)
            _prove(golden, resolved.signature, loaded, direct, where)
        return PreparedVersion(name, version, directory, resolved, loaded, direct, digest, cases)


def _direct_session(model: Path, resolved: ResolvedModel, loaded: LoadedEngines) -> DirectSession | None:
    """Return the session for runs on the event loop, where the version is small enough for them."""
    if not inline_rows_of(resolved.signature, resolved.batching, loaded.engines, loaded.steps):
        return None
    return open_direct_session(model, resolved.signature)


def _prove(
    golden: GoldenVectors, signature: ModelSignature, loaded: LoadedEngines, direct: DirectSession | None, where: str
) -> None:
    """Replay the golden vectors on everything that will answer requests; free it all where one disagrees."""

    def run_directly(feeds: Arrays) -> list[NDArray[Any]]:
        assert direct is not None
        return list(direct.run(feeds, rows_of(feeds, signature)).values())

    try:
        for engine in loaded.engines:
            replay(golden, engine.run, signature, where)
        if direct is not None:
            replay(golden, run_directly, signature, where)
    except ModelLoadError:
        for engine in loaded.engines:
            engine.close()
        if direct is not None:
            direct.close()
        raise
