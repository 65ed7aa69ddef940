"""The messages of the Open Inference Protocol, in a descriptor pool of their own.

tritonclient registers the same full names in the process-wide pool, and a name can be there only once. So this package
never imports the generated modules: it reads the same descriptors from `open_inference.binpb` into a private pool, and
both clients live in one process.
"""

from functools import cache
from importlib import resources
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

__all__ = ["SERVICE", "message"]

SERVICE = "inference.GRPCInferenceService"


@cache
def message(name: str) -> Any:
    """Return the class of a message of the package `inference`, such as `ModelInferRequest`."""
    return GetMessageClass(_pool().FindMessageTypeByName(f"inference.{name}"))


@cache
def _pool() -> DescriptorPool:
    data = resources.files("cuelight.client").joinpath("open_inference.binpb").read_bytes()
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(data).file:
        pool.Add(file)
    return pool
