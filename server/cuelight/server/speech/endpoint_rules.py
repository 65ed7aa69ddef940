"""When an utterance ends, as settings: sherpa-onnx's three rules, or Riva's windows. Seconds and shares."""

from dataclasses import dataclass

__all__ = ["EndpointRules"]


@dataclass(frozen=True, slots=True)
class EndpointRules:
    """Silence ends an utterance after `silence_s` where nothing was recognized, `trailing_silence_s` where something
    was, and its length ends it at `max_utterance_s`. Source: sherpa-onnx, endpoint.h (rule 1, 2, 3).

    `stop_history_s` replaces the two silences by a window of which the share `stop_threshold` must be silent;
    `stop_history_eou_s` and its threshold announce an end earlier; `start_history_s` and `start_threshold` say when
    speech starts. Source: NVIDIA Riva, EndpointingConfig. `disabled` leaves `max_utterance_s` alone in force.
    """

    silence_s: float = 2.4
    trailing_silence_s: float = 1.2
    max_utterance_s: float = 20.0
    start_history_s: float | None = None
    start_threshold: float = 0.2
    stop_history_s: float | None = None
    stop_threshold: float = 0.98
    stop_history_eou_s: float | None = None
    stop_threshold_eou: float = 0.98
    disabled: bool = False
