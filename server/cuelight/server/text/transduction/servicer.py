"""The RPC `Transduce`: one text into another sequence, token by token."""

from collections.abc import AsyncGenerator

from cuelight.server.errors import Unsupported
from cuelight.server.rpc.context import RpcContext
from cuelight.text.v1 import text_pb2 as pb

__all__ = ["TransductionServicer"]


class TransductionServicer:
    """Answers that this server offers it not: it has no kind of model that transduces."""

    async def Transduce(
        self, request: pb.TransduceRequest, context: RpcContext
    ) -> AsyncGenerator[pb.TransduceResponse, None]:
        """Raise Unsupported; see the proto."""
        raise Unsupported("Transduce: no model of this server turns text into another sequence")
        yield pb.TransduceResponse()
