"""GRPCInferenceService as one method table: the RPCs that run models and those that manage them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.server.inference.management import ManagementServicer
from cuelight.server.inference.servicer import InferenceServicer
from cuelight.server.rpc.methods import Service, service_from_descriptor

__all__ = ["inference_service"]

_RUNS_MODELS = ("ModelInfer", "ModelStreamInfer")
_WHILE_DRAINING = ("ServerLive", "ServerReady", "ModelReady")
"""What load balancers ask until the very end."""


def inference_service(inference: InferenceServicer, management: ManagementServicer) -> Service:
    """Return the table that the fronts mount."""
    descriptor = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    handlers = {
        method.name: getattr(inference if method.name in _RUNS_MODELS else management, method.name)
        for method in descriptor.methods
    }
    service = service_from_descriptor(descriptor, SimpleNamespace(**handlers), while_draining=_WHILE_DRAINING)
    ways: dict[str, dict[str, Any]] = {
        "ModelInfer": {"shortcut": inference.short_way(streamed=False)},
        "ModelStreamInfer": {"stream_shortcut": inference.stream_way},
    }
    methods = (replace(method, **ways.get(method.name, {})) for method in service.methods)
    return Service(service.name, tuple(methods))
