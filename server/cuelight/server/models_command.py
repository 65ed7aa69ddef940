"""`cuelight models`: what a running server serves, as a table. Needs the base install alone."""

import sys
from pathlib import Path

import grpc

from cuelight.inference.v2 import open_inference_pb2 as pb
from cuelight.inference.v2 import open_inference_pb2_grpc as pb_grpc
from cuelight.server.errors import ConfigError
from cuelight.server.table import format_table

__all__ = ["list_served"]

_TIMEOUT_S = 10.0
_HEADER = ("model", "version", "state", "platform", "max batch", "reason")
_NOTHING = "-"


def list_served(url: str, ca_file: Path | None = None, identity: tuple[Path, Path] | None = None) -> int:
    """Print the models of the server at `url` (`host:port`).

    `ca_file` (PEM) turns TLS on and is what the server's certificate is checked against; `identity` is this client's
    certificate and private key.

    Returns the exit code: 0, or 1 if a model is not ready or no server answers there. Raises: ConfigError when a file
    cannot be read.
    """
    with _channel(url, ca_file, identity) as channel:
        stub = pb_grpc.GRPCInferenceServiceStub(channel)
        try:
            index = stub.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=_TIMEOUT_S)
            rows = [_row(stub, model) for model in index.models]
        except grpc.RpcError as error:
            print(f"cuelight: error: {url}: {error.code().name}: {error.details()}", file=sys.stderr)
            return 1
    print(format_table(_HEADER, rows) if rows else f"{url}: no models")
    return 0 if all(model.state == "READY" for model in index.models) else 1


def _channel(url: str, ca_file: Path | None, identity: tuple[Path, Path] | None) -> grpc.Channel:
    if ca_file is None:
        return grpc.insecure_channel(url)
    try:
        certificate, key = (path.read_bytes() for path in identity) if identity is not None else (None, None)
        credentials = grpc.ssl_channel_credentials(ca_file.read_bytes(), key, certificate)
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot read it: {error.strerror}") from error
    return grpc.secure_channel(url, credentials)


def _row(stub: pb_grpc.GRPCInferenceServiceStub, model: pb.RepositoryIndexResponse.ModelIndex) -> tuple[str, ...]:
    platform = max_batch = _NOTHING
    if model.state == "READY":
        request = pb.ModelConfigRequest(name=model.name, version=model.version)
        config = stub.ModelConfig(request, timeout=_TIMEOUT_S).config
        platform, max_batch = config.platform, str(config.max_batch_size)
    return (model.name, model.version or _NOTHING, model.state or _NOTHING, platform, max_batch, model.reason)
