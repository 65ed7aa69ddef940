"""How a model batches and on how many instances, from its configuration and the server's own settings."""

from typing import Literal

import onnxruntime as ort

from cuelight.inference.v2 import model_config_pb2
from cuelight.server.config import EngineConfig
from cuelight.server.inference.batch_queue import BatchingConfig, QueuePolicy
from cuelight.server.inference.engine import CUDA_PROVIDER
from cuelight.server.inference.loader import InstanceConfig, ModelLoadError

__all__ = ["batching_of", "instances_of"]

_MAX_PRIORITY_LEVELS = 256
"""Each level costs a queue; more than this is a typing error."""
_MAX_INSTANCES = 64
"""Each instance is a session with its own copy of the weights."""

_Group = model_config_pb2.ModelInstanceGroup


def batching_of(config: model_config_pb2.ModelConfig, source: str, max_queue_size: int) -> BatchingConfig:
    """Return the batcher's settings; `max_queue_size` is the server's limit for all levels together.

    Raises: ModelLoadError naming the field, what came and what is allowed.
    """
    batching = config.dynamic_batching
    max_batch_size = max(config.max_batch_size, 1)
    for size in batching.preferred_batch_size:
        _check(source, "preferred_batch_size", size, 1, max_batch_size, "max_batch_size")
    levels = batching.priority_levels
    _check(source, "priority_levels", levels, 0, _MAX_PRIORITY_LEVELS)
    if levels:
        _check(source, "default_priority_level", batching.default_priority_level, 1, levels, "priority_levels")
    for level in batching.priority_queue_policy:
        _check(source, "priority_queue_policy", level, 1, levels, "priority_levels")
    return BatchingConfig(
        max_batch_size=max_batch_size,
        preferred_batch_sizes=tuple(sorted(set(batching.preferred_batch_size))),
        max_queue_delay_s=batching.max_queue_delay_microseconds / 1e6,
        priority_levels=max(levels, 1),
        default_priority_level=max(batching.default_priority_level, 1) if levels else 1,
        default_policy=_policy(batching.default_queue_policy),
        priority_policies={level: _policy(policy) for level, policy in batching.priority_queue_policy.items()},
        max_queue_size=max_queue_size,
    )


def instances_of(config: model_config_pb2.ModelConfig, source: str, engine: EngineConfig) -> InstanceConfig:
    """Return device and number of instances. `count` is per GPU, as in Triton; without `gpus` the server's are used.

    Without an instance group there is one instance on each CUDA device the server uses; on the CPU, what measures best.

    Raises: ModelLoadError naming the field, what came and what is allowed.
    """
    groups = config.instance_group or [_Group()]
    devices = [_device(group, engine) for group in groups]
    if len(set(devices)) > 1:
        raise ModelLoadError(
            f'{source}: field "instance_group": groups on {" and ".join(devices)}; all must be of one kind'
        )
    placed: list[int] = []
    for index, group in enumerate(groups):
        _check_count(source, f"instance_group[{index}].count", group.count)
        device_ids = tuple(group.gpus) or engine.device_ids
        if devices[index] == "cpu":
            if group.gpus:
                raise ModelLoadError(f'{source}: field "instance_group[{index}].gpus": the group runs on the CPU')
            device_ids = (0,)
        placed.extend(device_id for device_id in device_ids for _ in range(max(group.count, 1)))
    _check_count(source, "instance_group", len(placed))
    return InstanceConfig(devices[0], len(placed), tuple(placed), stated=bool(config.instance_group))


def _device(group: _Group, engine: EngineConfig) -> Literal["cpu", "cuda"]:
    if group.kind == _Group.KIND_CPU:
        return "cpu"
    if group.kind == _Group.KIND_GPU or group.gpus or engine.device == "cuda":
        return "cuda"
    if engine.device == "cpu":
        return "cpu"
    return "cuda" if CUDA_PROVIDER in ort.get_available_providers() else "cpu"


def _policy(policy: model_config_pb2.ModelQueuePolicy) -> QueuePolicy:
    delays = policy.timeout_action == model_config_pb2.ModelQueuePolicy.DELAY
    return QueuePolicy(
        max_queue_size=policy.max_queue_size,
        timeout_s=policy.default_timeout_microseconds / 1e6,
        timeout_action="delay" if delays else "reject",
        allow_timeout_override=policy.allow_timeout_override,
    )


def _check(source: str, name: str, value: int, least: int, most: int, most_name: str = "") -> None:
    if not least <= value <= most:
        bound = f"{most} ({most_name})" if most_name else str(most)
        raise ModelLoadError(f'{source}: field "dynamic_batching.{name}": got {value}, expected {least} to {bound}')


def _check_count(source: str, where: str, count: int) -> None:
    if not 0 <= count <= _MAX_INSTANCES:
        raise ModelLoadError(f'{source}: field "{where}": got {count} instances, expected 1 to {_MAX_INSTANCES}')
