"""From a model's folder to versions that are proven: configuration, sessions, warm-up, golden vectors.

Everything here but `PreparedVersion.serve` is slow and runs on the repository's loader thread.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cuelight.server.config import EngineConfig, SequenceConfig
from cuelight.server.inference.config_text import ConfigText
from cuelight.server.inference.direct_session import DirectSession, open_direct_session
from cuelight.server.inference.golden import GoldenVectors, example_of, read_golden, replay
from cuelight.server.inference.loader import LoadedEngines, ModelLoadError, file_digest, load_engines, open_for_facts
from cuelight.server.inference.model_config import ResolvedModel, check_identity, resolve
from cuelight.server.inference.model_version import Companion, ModelVersion, Sequencing, inline_rows_of
from cuelight.server.inference.onnx_facts import OnnxFacts, read_facts
from cuelight.server.inference.signature import ModelSignature
from cuelight.server.inference.slot_engine import SlotEngine
from cuelight.server.inference.slot_loader import LoadedSlots, load_slot_engines, run_golden_case
from cuelight.server.inference.tensors import rows_of

__all__ = ["Extensions", "PreparedVersion", "VersionLoader"]

_GOLDEN_FILE = "golden.npz"

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Extensions:
    """What services add to loading.

    `adapt` completes what a file (the path) says of itself where it says it in another system's words. `accompany`
    opens what a service keeps beside the version, out of its folder; it raises ModelLoadError, and then the version is
    not served.
    """

    adapt: Callable[[OnnxFacts, Path], OnnxFacts] = lambda facts, model: facts
    accompany: Callable[[Path, ResolvedModel], Companion | None] = lambda directory, resolved: None


@dataclass(frozen=True, slots=True)
class PreparedVersion:
    """A version that is proven and has not served yet."""

    name: str
    version: int
    directory: Path
    resolved: ResolvedModel
    loaded: LoadedEngines | LoadedSlots
    direct: DirectSession | None
    digest: str
    golden_cases: int
    companion: Companion | None = None

    def summary(self) -> str:
        """Return provider and proof as the log and the startup lines show them."""
        proof = f"{self.golden_cases} golden cases agree" if self.golden_cases else "unproven, it has no golden.npz"
        return f"{self.loaded.engines[0].provider}, {proof}{self._cores_summary()}{self._sequences_summary()}"

    def _cores_summary(self) -> str:
        if not isinstance(self.loaded, LoadedEngines) or self.loaded.plan.paying_rows is None:
            return ""
        plan = self.loaded.plan
        alone = f", {plan.wide.config.threads} cores for a lone request" if plan.wide else ""
        return f"{alone}, {len(plan.engines)} runs at a time of {plan.paying_rows} rows where many wait"

    def _sequences_summary(self) -> str:
        if not isinstance(self.loaded, LoadedSlots) or self.resolved.sequences is None:
            return ""
        spec, difference = self.resolved.sequences, self.loaded.batch_difference
        alike = "the same bits in any batch" if not difference else f"company in a batch changes it by {difference:.1e}"
        return f", holds {spec.max_sequences} sequences of {spec.row_bytes} bytes, {alike}"

    def serve(self) -> ModelVersion:
        """Return the version, ready for requests; call on the event loop."""
        return ModelVersion(
            self.name,
            self.version,
            self.resolved.config,
            self.resolved.signature,
            self.resolved.batching,
            self.loaded.plan if isinstance(self.loaded, LoadedEngines) else None,
            self.loaded.steps,
            digest=self.digest,
            golden_cases=self.golden_cases,
            directory=self.directory,
            direct=self.direct,
            sequencing=self._sequencing(),
            companion=self.companion,
        )

    def _sequencing(self) -> Sequencing | None:
        if not isinstance(self.loaded, LoadedSlots) or self.resolved.sequences is None:
            return None
        return Sequencing(self.resolved.sequences, self.loaded.engines, self.loaded.batch_difference)


class VersionLoader:
    """Builds versions with the server's engine settings. Stateless; `prepare` runs on the loader thread."""

    def __init__(
        self,
        engine: EngineConfig,
        max_queue_size: int,
        sequences: SequenceConfig | None = None,
        extensions: Extensions | None = None,
    ) -> None:
        self._engine = engine
        self._max_queue_size = max_queue_size
        self._sequences = sequences or SequenceConfig()
        self._extensions = extensions or Extensions()

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
        facts = self._extensions.adapt(read_facts(session), model)
        resolved = resolve(name, text, facts, folder, self._engine, self._max_queue_size, self._sequences)
        where = f'model "{name}" version {version}, {directory / _GOLDEN_FILE}'
        example = example_of(golden, resolved.file_signature, where) if golden is not None else None
        cases = len(golden.cases) if golden is not None else 0
        companion = self._extensions.accompany(directory, resolved)
        if resolved.sequences is not None:
            del session
            slots = self._with_slots(model, resolved, golden, example, where)
            return PreparedVersion(name, version, directory, resolved, slots, None, digest, cases, companion)
        batching = resolved.batching
        chosen = resolved.instances.stated or batching.max_queue_delay_s > 0 or bool(batching.preferred_batch_sizes)
        loaded = load_engines(
            model, resolved.signature, resolved.instances, self._engine.cores, session, example, measured=not chosen
        )
        direct = _direct_session(model, resolved, loaded)
        if golden is not None:
            _prove(golden, resolved.signature, loaded, direct, where)
        return PreparedVersion(name, version, directory, resolved, loaded, direct, digest, cases, companion)

    def _with_slots(
        self, model: Path, resolved: ResolvedModel, golden: GoldenVectors | None, example: Arrays | None, where: str
    ) -> LoadedSlots:
        """Build the engines of a stateful model and prove them."""
        assert resolved.sequences is not None
        spec, signature = resolved.sequences, resolved.signature
        visible = None
        if example is not None:
            visible = {name: array for name, array in example.items() if name in signature.inputs}
        loaded = load_slot_engines(model, signature, spec, resolved.instances, self._engine.cores, visible)
        if golden is not None:
            try:
                for engine in loaded.engines:
                    replay(golden, _golden_run(engine, resolved), resolved.file_signature, where)
            except ModelLoadError:
                for engine in loaded.engines:
                    engine.close()
                raise
        return loaded


def _golden_run(engine: SlotEngine, resolved: ResolvedModel) -> Callable[[Arrays], list[NDArray[Any]]]:
    names = tuple(resolved.file_signature.outputs)
    return lambda feeds: run_golden_case(engine, feeds, names)


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
        for engine in {id(engine.session): engine for engine in loaded.engines}.values():
            replay(golden, engine.run, signature, where)
        if direct is not None:
            replay(golden, run_directly, signature, where)
    except ModelLoadError:
        for engine in loaded.engines:
            engine.close()
        if direct is not None:
            direct.close()
        raise
