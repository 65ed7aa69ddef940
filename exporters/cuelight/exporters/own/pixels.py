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
_MOST_CHANNELS = 4
"""Of a usual picture: more behind, and no more in front, is a picture with its channels first."""

Said = tuple[str, str]


def behind_pixels(said: Said | None, network: nn.Module) -> nn.Module:
    """Return the network behind what makes its input of pixels, or the network itself where nothing was said.

    Raises: ExportError for what are no numbers of FP32, do not go together, or are not in pixel values.
    """
    if said is None:
        return network
    mean, std = (_numbers(text) for text in said)
    if not torch.tensor(std).all() or (len(mean) != len(std) and 1 not in (len(mean), len(std))):
        raise ExportError(f"--pixels {' '.join(said)}: {_EXPECTED}: as many of each, and no STD of 0")
    try:
        return PixelInput(network, mean, std).eval()
    except ExportError as error:
        raise ExportError(f"--pixels {' '.join(said)}: {error}") from None


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
    ((name, pixels),) = inputs.items()
    channels = pixels.shape[-1]
    wrong = [text for text in said if len(_numbers(text)) not in (1, channels)]
    if wrong or (channels > _MOST_CHANNELS and pixels.shape[1] <= _MOST_CHANNELS):
        numbers = f"{wrong[0]}: {len(_numbers(wrong[0]))} numbers for" if wrong else f"{' '.join(said)}:"
        raise ExportError(
            f"--pixels {numbers} {channels} channels: {name} is {describe(pixels)}, and channels come last"
        )


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not torch.tensor(numbers).isfinite().all():
        raise ExportError(f"--pixels {text}: {_EXPECTED}")
    return numbers
