"""The models that can be exported, by name."""

from cuelight.exporters import beatnet, efficientnet_lite0, silero_vad
from cuelight.exporters.digits_ctc import spec as digits_ctc
from cuelight.exporters.spec import ExportSpec

__all__ = ["SPECS"]

SPECS: dict[str, ExportSpec] = {
    spec.name: spec for spec in (efficientnet_lite0.SPEC, silero_vad.SPEC, beatnet.SPEC, digits_ctc.SPEC)
}
