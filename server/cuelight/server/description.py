"""What a repository serves, as JSON values: it travels from the process that serves to the one that prints."""

import math
from typing import Any

from cuelight.server.inference.model_version import ModelVersion
from cuelight.server.inference.repository import ModelRepository

__all__ = ["describe_repository"]


def describe_repository(repository: ModelRepository) -> dict[str, Any]:
    """Return the versions that serve, what should serve and does not, and whether the repository is ready."""
    return {
        "models": [_describe(version) for version in repository.serving()],
        "failures": [
            f"{entry.name} {entry.version}: {entry.reason}".replace(" :", ":") for entry in repository.failures()
        ],
        "ready": repository.ready,
    }


def _describe(version: ModelVersion) -> dict[str, Any]:
    signature = version.signature
    return {
        "name": version.name,
        "version": version.version,
        "inputs": {name: spec.describe() for name, spec in signature.inputs.items()},
        "outputs": {name: spec.describe() for name, spec in signature.outputs.items()},
        "max_batch_size": signature.max_batch_size,
        "provider": version.provider,
        "instances": version.instances,
        "sequences": version.sequences.capacity if version.sequences else 0,
        "inline_rows": version.inline_rows,
        "step_s": step_s if math.isfinite(step_s := version.steps.by_rows[1]) else None,
        "golden_cases": version.golden_cases,
    }
