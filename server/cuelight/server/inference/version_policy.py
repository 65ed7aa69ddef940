"""Which versions of a model are served: the rule of Triton's `version_policy`, without files or tasks."""

from collections.abc import Collection

from cuelight.inference.v2 import model_config_pb2
from cuelight.server.inference.loader import ModelLoadError

__all__ = ["select_versions"]


def select_versions(policy: model_config_pb2.ModelVersionPolicy, available: Collection[int], source: str) -> list[int]:
    """Return the versions to serve, ascending. Without a policy that is the highest one.

    Raises: ModelLoadError naming `source` and the number of versions or the version that cannot be served.
    """
    if not available:
        raise ModelLoadError("no version to serve: expected folders named 1, 2, ... that hold a model file")
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return sorted(available)
    if choice == "specific":
        return _specific(policy.specific.versions, available, source)
    count = policy.latest.num_versions if choice == "latest" else 1
    if count < 1:
        raise ModelLoadError(f'{source}: field "version_policy.latest.num_versions": got {count}, expected 1 or more')
    return sorted(available)[-count:]


def _specific(versions: Collection[int], available: Collection[int], source: str) -> list[int]:
    where = f'{source}: field "version_policy.specific.versions"'
    if not versions:
        raise ModelLoadError(f"{where}: names no version")
    for version in versions:
        if version not in available:
            there = ", ".join(str(number) for number in sorted(available))
            raise ModelLoadError(f"{where}: no version {version} is in the model's folder; there are {there}")
    return sorted(set(versions))
