"""Envoy's configuration: what pyvoy generates, with the limits and time-outs that a gRPC server wants."""

from pathlib import Path
from typing import Any

from cuelight.server.rpc.front_config import FrontConfig

__all__ = ["envoy_config"]

_APP = "cuelight.server.rpc.envoy_worker:app"
_MAX_CONCURRENT_STREAMS = 100_000
"""Streams a connection; how many calls run at once is the ledger's to limit, with a status the caller understands."""
_STREAM_WINDOW_BYTES = 1 << 20
"""What a stream may send ahead of its handler, and what Envoy holds for a caller that reads slowly."""
_CONNECTION_WINDOW_BYTES = 64 << 20
"""Well above a stream's, so that a few held streams do not hold up the others on their connection."""
_MAX_WINDOW_UPDATES = 1_000_000
"""Window updates for each frame of data sent. gRPC's clients send one for every message or two that they read, and many
answers share a frame here; beyond Envoy's own limit, 10, it closes the connection (seen with grpcio on a busy
machine)."""
_MAX_CONNECTIONS = 50_000
_FREED_BYTES_A_SECOND = 16 << 20
"""Envoy's allocator, which is Python's and the models' too in this process, keeps what was freed unless told to give it
back; the largest message of empty fields leaves a gigabyte."""
_RUNTIME = {
    # A backend calls for all its players over one connection, and calls end early all the time: by deadline, by a
    # player who leaves. Envoy takes that for an attack and cuts the connection, every other call on it included.
    "overload.premature_reset_total_stream_count": 4_000_000_000,
}


def envoy_config(front: FrontConfig, admin_socket: Path) -> dict[str, Any]:
    """Return the configuration for one listener on `front`, with the admin interface on a private socket."""
    from pyvoy import PyvoyServer  # noqa: PLC0415  optional dependency, needed by this front only

    tls = front.tls
    server = PyvoyServer(
        _APP,
        address=front.ip_address(),
        port=front.port,
        tls_key=None if tls is None else tls.private_key_file,
        tls_cert=None if tls is None else tls.certificate_file,
        tls_ca_cert=None if tls is None else tls.client_ca_file,
        tls_enable_http3=False,
        interface="asgi",
        lifespan=True,
    )
    config: dict[str, Any] = server.get_envoy_config()
    config["admin"] = {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}}
    config["overload_manager"] = _overload_manager()
    config["memory_allocator_manager"] = {"bytes_to_release": _FREED_BYTES_A_SECOND, "memory_release_interval": "1s"}
    config["layered_runtime"] = {"layers": [{"name": "cuelight", "static_layer": _RUNTIME}]}
    (listener,) = config["static_resources"]["listeners"]
    # With SO_REUSEPORT a second server would start on the same port and take half of the calls.
    listener["enable_reuse_port"] = False
    listener["per_connection_buffer_limit_bytes"] = 1 << 20
    for filter_chain in listener["filter_chains"]:
        filter_chain["filters"][-1]["typed_config"].update(_connection_manager())
    return config


def _connection_manager() -> dict[str, Any]:
    return {
        "codec_type": "HTTP2",
        "server_header_transformation": "PASS_THROUGH",
        # A live stream may be silent for hours; Envoy would cut it after five minutes.
        "stream_idle_timeout": "0s",
        "request_timeout": "0s",
        "common_http_protocol_options": {"idle_timeout": "0s"},
        "http2_protocol_options": {
            "max_concurrent_streams": _MAX_CONCURRENT_STREAMS,
            "initial_stream_window_size": _STREAM_WINDOW_BYTES,
            "initial_connection_window_size": _CONNECTION_WINDOW_BYTES,
            "max_inbound_window_update_frames_per_data_frame_sent": _MAX_WINDOW_UPDATES,
            # Finds connections whose other end vanished without a word.
            "connection_keepalive": {"interval": "60s", "timeout": "20s"},
            "override_stream_error_on_invalid_http_message": True,
            # The other codec, nghttp2, ends a connection after 1,000 calls cancelled in short time (33 a second).
            "use_oghttp2_codec": True,
        },
    }


def _overload_manager() -> dict[str, Any]:
    return {
        "resource_monitors": [
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors."
                    "downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": _MAX_CONNECTIONS,
                },
            }
        ]
    }
