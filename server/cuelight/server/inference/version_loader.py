"""From a model's folder to versions that are proven: configuration, sessions, warm-up, golden vectors.

Everything here but `PreparedVersion.serve` is slow and runs on the repository's loader thread.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from cuelight.server.config import EngineConfig
from cuelight.server.inference.config_text import ConfigText, parse_pbtxt
from cuelight.server.inference.golden import read_golden, replay
from cuelight.server.inference.loader import LoadedEngines, ModelLoadError, file_digest, load_engines, open_for_facts
from cuelight.server.inference.model_config import ResolvedModel, check_identity, resolve
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.onnx_facts import read_facts

__all__ = ["PreparedVersion", "VersionLoader", "read_config"]

_CONFIG_FILE = "config.pbtxt"
_GOLDEN_FILE = "golden.npz"

_log = logging.getLogger("cuelight.repository")


@dataclass(frozen=True, slots=True)
class PreparedVersion:
    """A version that is proven and has not served yet."""

    name: str
    version: int
    directory: Path
    resolved: ResolvedModel
    loaded: LoadedEngines
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
        )


def read_config(folder: Path) -> ConfigText:
    """Return a model's configuration, empty where it has no config.pbtxt.

    Raises: ModelLoadError naming the file and what is wrong with it.
    """
    path = folder / _CONFIG_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ConfigText(source=str(folder))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelLoadError(f"{path}: cannot be read: {error}") from error
    return parse_pbtxt(text, str(path))


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
        loaded = load_engines(model, resolved.signature, resolved.instances, self._engine.cores, session)
        try:
            if golden is not None:
                for engine in loaded.engines:
                    where = f'model "{name}" version {version}, {directory / _GOLDEN_FILE}'
                    replay(golden, engine.run, resolved.signature, where)
        except ModelLoadError:
            for engine in loaded.engines:
                engine.close()
            raise
        cases = len(golden.cases) if golden is not None else 0
        _log.debug("model %s version %d: built and warmed up, %d golden cases agree", name, version, cases)
        return PreparedVersion(name, version, directory, resolved, loaded, digest, cases)
