"""The models that can be exported, by name."""

from cuelight.exporters import (
    beatnet,
    efficientnet_lite0,
    g2p_en,
    glove_6b_50d,
    minilm_l6_v2,
    moonshine_tiny_en,
    silero_vad,
)
from cuelight.exporters.attention_decoder import spec as attention_decoder
from cuelight.exporters.digits_ctc import spec as digits_ctc
from cuelight.exporters.files_spec import FilesSpec
from cuelight.exporters.spec import ExportSpec

__all__ = ["ALL_SPECS", "FILES_SPECS", "SPECS"]

SPECS: dict[str, ExportSpec] = {
    spec.name: spec
    for spec in (
        efficientnet_lite0.SPEC,
        silero_vad.SPEC,
        beatnet.SPEC,
        digits_ctc.SPEC,
        minilm_l6_v2.SPEC,
        minilm_l6_v2.ATTENTION_SPEC,
        glove_6b_50d.SPEC,
        g2p_en.SPEC,
        attention_decoder.SPEC,
    )
}
"""Traced from a PyTorch module."""
FILES_SPECS: dict[str, FilesSpec] = {spec.name: spec for spec in (moonshine_tiny_en.SPEC,)}
"""Published as files."""
ALL_SPECS: dict[str, ExportSpec | FilesSpec] = {**SPECS, **FILES_SPECS}
