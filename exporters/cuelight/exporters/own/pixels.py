"""`--pixels MEAN STD`: the user's network behind pixels as they are."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cuelight.exporters.errors import ExportError
from cuelight.exporters.pixel_input import PixelInput
from cuelight.exporters.sizes import describe

__all__ = ["behind_pixels", "check_pixels"]

_EXPECTED = "expected MEAN and STD in pixel values, such as 127 128 or 123.7,116.3,103.5 58.4,57.1,57.4"
_AXES = 4

Said = tuple[str, str]


def behind_pixels(said: Said | None, network: nn.Module) -> nn.Module:
    """Return the network behind what makes its input of pixels, or the network itself where nothing was said.

    Raises: ExportError for what are no numbers, too large or too small for FP32, or do not go together.
    """
    if said is None:
        return network
    mean, std = (_numbers(text) for text in said)
    if not torch.tensor(std).all() or (len(mean) != len(std) and 1 not in (len(mean), len(std))):
        raise ExportError(f"--pixels {' '.join(said)}: {_EXPECTED}: as many of each, and no STD of 0")
    return PixelInput(network, mean, std).eval()


def check_pixels(said: Said | None, inputs: Mapping[str, Tensor]) -> None:
    """Raise ExportError where the inputs are other than pixels for as many channels as were said."""
    if said is None:
        return
    tensors = list(inputs.values())
    if len(tensors) != 1 or tensors[0].dim() != _AXES or not describe(tensors[0]).startswith("UINT8 "):
        came = ", ".join(f"{name} {describe(tensor)}" for name, tensor in inputs.items())
        raise ExportError(
            f"--pixels: expected one input of pixels, such as --input image=UINT8[batch,224,224,3], got {came}"
        )
    channels = tensors[0].shape[-1]
    for text in said:
        if len(_numbers(text)) not in (1, channels):
            raise ExportError(f"--pixels {text}: {len(_numbers(text))} numbers for {channels} channels")


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not torch.tensor(numbers).isfinite().all():
        raise ExportError(f"--pixels {text}: {_EXPECTED}")
    return numbers
