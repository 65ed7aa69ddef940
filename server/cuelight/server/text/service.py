"""TextService as one method table: what embeds, compares and takes apart, and what transduces."""

from types import SimpleNamespace

from cuelight.server.rpc.methods import Service, service_from_descriptor
from cuelight.server.text.servicer import TextServicer
from cuelight.server.text.transduction.servicer import TransductionServicer
from cuelight.text.v1 import text_pb2 as pb

__all__ = ["text_service"]

_TRANSDUCES = ("Transduce",)


def text_service(text: TextServicer, transduction: TransductionServicer) -> Service:
    """Return the table that the fronts mount."""
    descriptor = pb.DESCRIPTOR.services_by_name["TextService"]
    handlers = {
        method.name: getattr(transduction if method.name in _TRANSDUCES else text, method.name)
        for method in descriptor.methods
    }
    return service_from_descriptor(descriptor, SimpleNamespace(**handlers))
