"""Which versions serve, and how every other one stands: the repository's tables, without files, threads or tasks.

States of a version, as RepositoryIndex shows them:

    LOADING ──> READY ──> UNLOADING ──> UNAVAILABLE ("unloaded")
       └──────> UNAVAILABLE (the reason of the failure) ──> LOADING ...

A version that serves stays READY while its successor is built, and when that fails: `reason` then tells of the failure.
Owned by the event loop; `get` is on the path of every request and does dict lookups only.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum

from cuelight.server.errors import InvalidRequest, ModelNotFound, ModelNotReady
from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.repository_scan import Fingerprint, ModelFolder
from cuelight.server.inference.sequences import SequenceId

__all__ = ["UNLOADED", "Catalog", "IndexEntry", "VersionState"]

UNLOADED = "unloaded"

_LATEST = "-1"
"""As clients of Triton may spell an empty version."""


class VersionState(Enum):
    """How a version stands; the value is the wire's word."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One line of the index; `version` is empty for a model none of whose versions was ever looked at."""

    name: str
    version: str
    state: VersionState
    reason: str = ""


@dataclass(slots=True)
class _VersionRecord:
    state: VersionState
    reason: str = ""
    serving: ModelVersion | None = None
    fingerprint: Fingerprint | None = None
    """The files it was made of, or failed to be made of."""


@dataclass(slots=True)
class _ModelRecord:
    wanted: bool = True
    failure: str = ""
    """Why no version could even be chosen: a broken configuration, an empty folder."""
    seen: ModelFolder | None = None
    versions: dict[int, _VersionRecord] = field(default_factory=dict)

    def reason(self, record: _VersionRecord) -> str:
        if record.serving is None:
            return record.reason
        failure = record.reason or self.failure
        return f"a reload failed, the version loaded before serves on: {failure}" if failure else ""

    def serving(self) -> dict[int, ModelVersion]:
        return {number: record.serving for number, record in sorted(self.versions.items()) if record.serving}


class Catalog:
    """The tables. Owned by the event loop; only the repository's task changes them."""

    def __init__(self) -> None:
        self._models: dict[str, _ModelRecord] = {}
        self._latest: dict[str, ModelVersion] = {}
        self._numbered: dict[tuple[str, str], ModelVersion] = {}
        self.leaving: dict[str, list[ModelVersion]] = {}
        """Versions off the tables that still hold sequences, by model."""

    def get(self, name: str, version: str = "") -> ModelVersion:
        """Return a version that serves: the named one, or the highest.

        Raises: ModelNotFound; ModelNotReady when the model is known but does not serve; InvalidRequest when `version`
        is no whole number.
        """
        found = self._numbered.get((name, version)) if version else self._latest.get(name)
        return found if found is not None else self._slow_get(name, version)

    def holding(self, name: str, version: str, sequence_id: SequenceId) -> ModelVersion | None:
        """Return a version off the tables that still holds this sequence; None for nearly every request."""
        for leaving in self.leaving.get(name, ()):
            of_version = version in ("", _LATEST, str(leaving.version))
            if of_version and leaving.sequences is not None and leaving.sequences.holds(sequence_id):
                return leaving
        return None

    def maker(self, name: str, digest: str) -> ModelVersion | None:
        """Return the version that serves and runs the file of this digest."""
        return next((version for version in self.serving(name) if version.digest == digest), None)

    def leave(self, version: ModelVersion) -> None:
        """Note that a version off the tables still holds sequences."""
        self.leaving.setdefault(version.name, []).append(version)

    def left(self, version: ModelVersion) -> None:
        """Note that it holds none any more."""
        self.leaving[version.name].remove(version)
        if not self.leaving[version.name]:
            del self.leaving[version.name]

    def serving(self, name: str = "") -> list[ModelVersion]:
        """Return the versions that serve, of one model or of all, by name and number."""
        names = [name] if name else sorted(self._models)
        return [version for each in names if each in self._models for version in self._models[each].serving().values()]

    def index(self) -> list[IndexEntry]:
        """Return the state of every version that was ever looked at."""
        entries: list[IndexEntry] = []
        for name, model in sorted(self._models.items()):
            for number, record in sorted(model.versions.items()):
                entries.append(IndexEntry(name, str(number), record.state, model.reason(record)))
            if model.failure and not model.serving():
                entries.append(IndexEntry(name, "", VersionState.UNAVAILABLE, model.failure))
        return entries

    def names(self) -> list[str]:
        """Return the models that were ever looked at."""
        return sorted(self._models)

    def is_wanted(self, name: str) -> bool:
        """Whether the model should serve: it was loaded, and not unloaded since."""
        return self._models[name].wanted

    def not_serving(self) -> list[str]:
        """Return the models that should serve and do not."""
        return [name for name, model in sorted(self._models.items()) if model.wanted and not model.serving()]

    def seen(self, name: str) -> ModelFolder | None:
        """Return the folder as it was when the model was last loaded, None after an unload."""
        model = self._models.get(name)
        return model.seen if model else None

    def begin_model(self, name: str, seen: ModelFolder | None) -> None:
        """Note that a model is about to be loaded from this folder."""
        model = self._models.setdefault(name, _ModelRecord())
        model.wanted, model.seen, model.failure = True, seen, ""

    def fail_model(self, name: str, reason: str) -> None:
        """Note that no version of it can be chosen; what serves goes on."""
        self._models[name].failure = reason

    def is_settled(self, name: str, version: int, fingerprint: Fingerprint) -> bool:
        """Whether these very files serve already, or failed already."""
        record = self._models[name].versions.get(version)
        return record is not None and record.fingerprint == fingerprint and record.reason != UNLOADED

    def begin_version(self, name: str, version: int) -> None:
        """Note that a version is being built."""
        record = self._models[name].versions.setdefault(version, _VersionRecord(VersionState.LOADING))
        if not record.serving:
            record.state, record.reason = VersionState.LOADING, ""

    def fail_version(self, name: str, version: int, fingerprint: Fingerprint, reason: str) -> None:
        """Note that a version could not be built or proven; one of that number that serves goes on."""
        record = self._models[name].versions[version]
        record.fingerprint = fingerprint
        record.reason = reason
        record.state = VersionState.READY if record.serving else VersionState.UNAVAILABLE

    def install(self, version: ModelVersion, fingerprint: Fingerprint) -> ModelVersion | None:
        """Let a proven version serve from now on, and return the one of the same number that it replaces."""
        record = self._models[version.name].versions[version.version]
        replaced = record.serving
        record.state, record.reason, record.serving, record.fingerprint = VersionState.READY, "", version, fingerprint
        self._publish(version.name)
        return replaced

    def failures(self, name: str, versions: Collection[int]) -> list[str]:
        """Return why those of these versions that failed did."""
        records = self._models[name].versions
        return [records[version].reason for version in versions if records[version].reason]

    def retire(self, name: str, keep: Collection[int] = ()) -> list[ModelVersion]:
        """Take the versions that are not in `keep` off the tables and return those that served.

        They are UNLOADING until `retired` is told of their end; versions that never served are forgotten.
        """
        model = self._models[name]
        going = [version for number, version in model.serving().items() if number not in keep]
        for number in [number for number in model.versions if number not in keep]:
            record = model.versions[number]
            if record.serving:
                record.state, record.reason, record.serving = VersionState.UNLOADING, UNLOADED, None
            elif record.state is not VersionState.UNLOADING:
                del model.versions[number]
        self._publish(name)
        return going

    def unwant(self, name: str) -> list[ModelVersion]:
        """Retire the whole model: it is no longer missed when it does not serve."""
        model = self._models[name]
        model.wanted, model.failure, model.seen = False, "", None
        return self.retire(name)

    def retired(self, version: ModelVersion) -> None:
        """Note that a version has answered its last request; one that others replaced is forgotten."""
        model = self._models[version.name]
        record = model.versions.get(version.version)
        if record is None or record.state is not VersionState.UNLOADING:
            return
        if model.wanted:
            del model.versions[version.version]
        else:
            record.state = VersionState.UNAVAILABLE

    def _publish(self, name: str) -> None:
        serving = self._models[name].serving()
        for key in [key for key in self._numbered if key[0] == name]:
            del self._numbered[key]
        self._numbered.update({(name, str(number)): version for number, version in serving.items()})
        if serving:
            self._latest[name] = serving[max(serving)]
        else:
            self._latest.pop(name, None)

    def _slow_get(self, name: str, version: str) -> ModelVersion:
        """Find a version that is spelled unusually, or raise what there is to say."""
        number = _number(version)
        if version and str(number or "") != version:
            return self.get(name, str(number or ""))
        model = self._models.get(name)
        if model is None:
            raise ModelNotFound(f'model "{name}": not in the repository; models: {", ".join(self._models) or "none"}')
        record = model.versions.get(number) if number is not None else None
        if number is not None and (record is None or (model.wanted and record.state is VersionState.UNLOADING)):
            there = ", ".join(str(known) for known in model.serving()) or "none"
            raise ModelNotFound(f'model "{name}": no version {number}; versions that serve: {there}')
        if record is not None:
            raise ModelNotReady(f'model "{name}" version {number}: {record.state.value}: {record.reason}'.rstrip(": "))
        raise ModelNotReady(_why_no_version(name, model))


def _number(version: str) -> int | None:
    if version in ("", _LATEST):
        return None
    if not version.isascii() or not version.isdigit():
        raise InvalidRequest(f'model_version "{version}": expected a whole number, or nothing for the highest')
    return int(version)


def _why_no_version(name: str, model: _ModelRecord) -> str:
    reasons = [
        f"version {number} is {record.state.value} {record.reason}".rstrip()
        for number, record in model.versions.items()
    ]
    return f'model "{name}" does not serve: {model.failure or "; ".join(reasons) or "it has no version"}'
