"""What a server can be told: one frozen dataclass per concern, each field with unit, default and check.

Values are read once (`config_file.py` for TOML and JSON, `cli.py` for flags) and passed down; nothing else reads
files or environment for settings. Sizes are in bytes, durations in seconds.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from cuelight.server.errors import ConfigError
from cuelight.server.rpc.tls import TlsFiles

__all__ = [
    "EngineConfig",
    "LimitsConfig",
    "LogConfig",
    "RepositoryConfig",
    "SequenceConfig",
    "ServeConfig",
    "ServerConfig",
    "SpeechConfig",
    "TextConfig",
    "VisionConfig",
    "available_cores",
]

Front = Literal["auto", "envoy", "grpcio"]
ControlMode = Literal["none", "explicit", "poll"]
Device = Literal["auto", "cpu", "cuda"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]

_MAX_PORT = 65_535
_CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_MIN_MESSAGE_BYTES = 1024
_MAX_MESSAGE_BYTES = 2**31 - 1
"""protobuf's own limit. Source: https://protobuf.dev/programming-guides/proto-limits/"""


def available_cores() -> int:
    """Return how many cores this process may use: its CPU affinity, cut to its container's CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota_us, period_us = _CGROUP_CPU_MAX.read_text().split()
        if quota_us != "max":
            cores = min(cores, max(1, int(quota_us) // int(period_us)))
    except (OSError, ValueError):
        pass  # not Linux, not cgroup v2, or no controller: affinity is all that is known
    return cores


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """Where to listen, through which front, and how long to take leave.

    The default host is every interface: a server in a container or on a fleet's machine that listens on loopback only
    looks dead from outside, which is also why other model servers choose so. Put 127.0.0.1 where only this machine may
    call.
    """

    host: str = "0.0.0.0"
    port: int = 8001
    """gRPC; 0 takes a free port."""
    metrics_port: int = 8002
    """HTTP: /metrics, /health/live, /health/ready; 0 takes a free port."""
    front: Front = "auto"
    """`auto` is envoy where it is installed and works, else grpcio."""
    grace_period_s: float = 30.0
    """From SIGTERM until calls that still run are cut."""

    def __post_init__(self) -> None:
        _check(bool(self.host), "server.host", self.host, "a host name or address")
        for name, port in (("server.port", self.port), ("server.metrics_port", self.metrics_port)):
            _check(0 <= port <= _MAX_PORT, name, port, f"0 (any free port) to {_MAX_PORT}")
        _check(
            self.port != self.metrics_port or not self.port,
            "server.metrics_port",
            self.metrics_port,
            "a port other than server.port",
        )
        _check_choice("server.front", self.front, Front)
        _check(self.grace_period_s >= 0, "server.grace_period_s", self.grace_period_s, "0 or more seconds")


@dataclass(frozen=True, slots=True)
class RepositoryConfig:
    """Which models are served and who may change that."""

    paths: tuple[Path, ...] = ()
    """Model repositories; a model's name must be in one of them only."""
    control_mode: ControlMode = "none"
    """`none`: all models at start, none later. `explicit`: by RPC. `poll`: the folders are watched."""
    load_models: tuple[str, ...] = ()
    """With `explicit`: the models loaded at start; `*` stands for all."""
    poll_interval_s: float = 15.0
    """With `poll`: how often the folders are looked at."""
    strict_readiness: bool = True
    """Whether one model that failed to load at the start keeps the whole server from being ready."""

    def __post_init__(self) -> None:
        _check(bool(self.paths), "repository.paths", "none", "at least one folder (--model-repository DIR)")
        for path in self.paths:
            if not path.is_dir():
                raise ConfigError(f"repository.paths: no such folder: {path}")
        _check_choice("repository.control_mode", self.control_mode, ControlMode)
        _check(
            not self.load_models or self.control_mode == "explicit",
            "repository.load_models",
            ", ".join(self.load_models),
            'nothing unless repository.control_mode is "explicit"',
        )
        _check(self.poll_interval_s > 0, "repository.poll_interval_s", self.poll_interval_s, "more than 0 seconds")


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """What models run on."""

    cores: int = field(default_factory=available_cores)
    """Cores divided among a model's instances; default: affinity and container quota."""
    device: Device = "auto"
    """`auto` is CUDA where onnxruntime offers it, else the CPU; a model's `instance_group` decides before this."""
    device_ids: tuple[int, ...] = (0,)
    """CUDA devices that instances are spread over."""

    def __post_init__(self) -> None:
        _check(self.cores >= 1, "engine.cores", self.cores, "1 or more")
        _check_choice("engine.device", self.device, Device)
        _check(
            bool(self.device_ids) and all(device_id >= 0 for device_id in self.device_ids),
            "engine.device_ids",
            list(self.device_ids),
            "one or more device numbers from 0 on",
        )


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """What is refused before it costs anything."""

    max_message_bytes: int = 64 * 1024 * 1024
    """The largest message taken or sent: images and offline audio do not fit gRPC's own 4 MiB."""
    max_calls_in_flight: int = 10_000
    """Calls and open streams inside the server; one more is RESOURCE_EXHAUSTED."""
    max_queue_size: int = 4096
    """Requests that wait for one model, where its configuration sets no limit of its own."""
    max_stream_in_flight: int = 64
    """Requests of one stream that are inside the server; more are left to the transport's flow control."""

    def __post_init__(self) -> None:
        allowed = f"{_MIN_MESSAGE_BYTES} to {_MAX_MESSAGE_BYTES} bytes"
        _check(
            _MIN_MESSAGE_BYTES <= self.max_message_bytes <= _MAX_MESSAGE_BYTES,
            "limits.max_message_bytes",
            self.max_message_bytes,
            allowed,
        )
        _check(self.max_calls_in_flight >= 1, "limits.max_calls_in_flight", self.max_calls_in_flight, "1 or more")
        _check(self.max_queue_size >= 1, "limits.max_queue_size", self.max_queue_size, "1 or more")
        _check(self.max_stream_in_flight >= 1, "limits.max_stream_in_flight", self.max_stream_in_flight, "1 or more")


@dataclass(frozen=True, slots=True)
class SequenceConfig:
    """How many sequences live how long, and how they travel between servers."""

    max_sequences: int = 10_000
    """Of one model on one engine; its configuration (`max_candidate_sequences`) may lower it."""
    state_memory_bytes: int = 256 * 1024 * 1024
    """For the states of one model on one engine; on the CPU memory is taken only as sequences come."""
    max_idle_s: float = 60.0
    """A sequence that takes no step for so long ends, where the model's configuration sets nothing of its own."""
    token_key_file: Path | None = None
    """TOML with the keys that seal resume tokens, the same on every server of a fleet; without it tokens open on the
    server that made them alone."""
    token_lifetime_s: float = 3600.0
    """From the making of a resume token until it is refused."""

    def __post_init__(self) -> None:
        _check(self.max_sequences >= 1, "sequences.max_sequences", self.max_sequences, "1 or more")
        _check(self.state_memory_bytes >= 1, "sequences.state_memory_bytes", self.state_memory_bytes, "1 or more")
        _check(self.max_idle_s > 0, "sequences.max_idle_s", self.max_idle_s, "more than 0 seconds")
        _check(self.token_lifetime_s > 0, "sequences.token_lifetime_s", self.token_lifetime_s, "more than 0 seconds")


@dataclass(frozen=True, slots=True)
class SpeechConfig:
    """How many voices are recognized at once, and which model does it where none is named."""

    default_model: str = ""
    """Empty takes the only one that recognizes open speech, else the only one that recognizes any."""
    max_voices: int = 10_000
    """Live voices; fewer are let in where fewer can be served in real time."""
    max_load: float = 0.9
    """The share of the cores, and of the event loop's one, up to which voices are let in."""
    max_idle_s: float = 60.0
    """A stream that sends neither audio nor a sign of life for so long ends."""

    def __post_init__(self) -> None:
        _check(self.max_voices >= 1, "speech.max_voices", self.max_voices, "1 or more")
        _check(self.max_load > 0, "speech.max_load", self.max_load, "more than 0; 1 is all of the cores")
        _check(self.max_idle_s > 0, "speech.max_idle_s", self.max_idle_s, "more than 0 seconds")


@dataclass(frozen=True, slots=True)
class TextConfig:
    """How much text a call may bring, and which models answer where none is named."""

    default_model: str = ""
    """Embeds text; empty takes the only one that does, without giving attention."""
    default_word_model: str = ""
    """Embeds words; empty takes the only one that does."""
    default_transduction_model: str = ""
    """Turns text into another sequence; empty takes the only one that does."""
    max_texts: int = 1024
    """Texts of one call."""
    max_text_bytes: int = 100_000
    """Of one text, in UTF-8: many times of what any model reads of it."""
    max_call_bytes: int = 2_000_000
    """Of all texts of one call."""

    def __post_init__(self) -> None:
        _check(self.max_texts >= 1, "text.max_texts", self.max_texts, "1 or more")
        _check(self.max_text_bytes >= 1, "text.max_text_bytes", self.max_text_bytes, "1 or more")
        _check(self.max_call_bytes >= 1, "text.max_call_bytes", self.max_call_bytes, "1 or more")


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """What images are taken, and which model names them where none is named."""

    default_model: str = ""
    """Empty takes the only one that classifies images, or for a vector the only one that gives it."""
    max_image_bytes: int = 16 * 1024 * 1024
    """The largest file taken."""
    max_pixels: int = 25_000_000
    """The largest picture decoded, or made by resizing: 4 (JPEG) to 24 (WebP) bytes of memory a pixel and thread."""
    max_images: int = 64
    """In one call."""
    threads: int = field(default_factory=available_cores)
    """That decode; default: affinity and container quota."""
    max_waiting_images: int = 256
    """Images that wait for one of them; one more is RESOURCE_EXHAUSTED."""
    max_waiting_explanations: int = 16
    """Explanations beyond one a thread; one more is RESOURCE_EXHAUSTED."""
    max_waiting_frame_bytes: int = 256 * 1024 * 1024
    """Of live frames, on all streams that let more than one wait; beyond it each keeps its newest alone."""
    max_masks: int = 4096
    """Of one explanation by RISE: so many runs of the model."""
    max_idle_s: float = 60.0
    """A stream of frames that sends none for so long ends."""

    def __post_init__(self) -> None:
        counts = ("max_image_bytes", "max_pixels", "max_images", "threads", "max_waiting_images", "max_masks")
        for name in (*counts, "max_waiting_explanations", "max_waiting_frame_bytes"):
            _check(getattr(self, name) >= 1, f"vision.{name}", getattr(self, name), "1 or more")
        _check(self.max_idle_s > 0, "vision.max_idle_s", self.max_idle_s, "more than 0 seconds")


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is logged and how; lines go to stderr."""

    level: LogLevel = "info"
    format: LogFormat = "text"
    """`text` for people, `json` (one object a line) for log collectors."""
    access_log: bool = False
    """A line for every call that ends, within `max_call_lines_per_s`: it costs throughput, so it must be asked for."""
    max_call_lines_per_s: int = 200
    """Lines about calls that failed by the caller's fault and of the access log, a second; the rest is counted."""
    trace_folder: Path = Path()
    """Where traces that clients ask for (RPC TraceSetting) are written."""

    def __post_init__(self) -> None:
        _check_choice("log.level", self.level, LogLevel)
        _check_choice("log.format", self.format, LogFormat)
        _check(self.max_call_lines_per_s >= 1, "log.max_call_lines_per_s", self.max_call_lines_per_s, "1 or more")


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """Everything `cuelight serve` needs to know."""

    repository: RepositoryConfig
    server: ServerConfig = field(default_factory=ServerConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    sequences: SequenceConfig = field(default_factory=SequenceConfig)
    speech: SpeechConfig = field(default_factory=SpeechConfig)
    text: TextConfig = field(default_factory=TextConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)
    log: LogConfig = field(default_factory=LogConfig)
    tls: TlsFiles | None = None


def _check(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise ConfigError(f"{name}: got {value}, expected {allowed}")


def _check_choice(name: str, value: str, choices: Any) -> None:
    allowed = get_args(choices)
    _check(value in allowed, name, repr(value), "one of " + ", ".join(allowed))
