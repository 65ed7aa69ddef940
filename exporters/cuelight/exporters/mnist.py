"""Twenty digits of MNIST's test part, as foolbox ships them for its tests: 28 x 28 pixels, a margin about each digit.

They are too few to train on and are never trained on: they say how a model fares that was trained on other people's
digits. Decoding needs Pillow. Each is fetched by whoever wants it and no part of this project.

Source: LeCun, Cortes and Burges, The MNIST Database of Handwritten Digits, 1998; CC BY-SA 3.0.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cuelight.exporters.weights import WheelFile, fetch_together

__all__ = ["MNIST", "read_mnist"]

_FILES = {
    "mnist_00_7.png": "4765a6a3323bab81763ab13ad5f0370ddc653ba00dc3f817f1e7f7a0ae8f2d9d",
    "mnist_01_2.png": "72363b408e0f318c0d2db8c663a49efff6358d2e770eb3201e298d9f7b5b0d48",
    "mnist_02_1.png": "33bf13128fd13c23190fa297e80abc6e5bc3e4c7bb291fa1fd31894aeea185ae",
    "mnist_03_0.png": "d7e589381b51c3aee74517724f3d8e40cec0b5c810567703736f5ddb7ea2ca3d",
    "mnist_04_4.png": "9c4ef669be5ea4172faca47eb7352f6da4dc750635a477bb4dec8c42b8e74a24",
    "mnist_05_1.png": "1bc798f3d591d142dc454460f1d88020ac97f8278267e17da91a99da194aa330",
    "mnist_06_4.png": "69e11b8a1e79ae9a112c3df407b75429d160f20b2a3db659aa9cc701e18b8b8b",
    "mnist_07_9.png": "958ece5dc38620a377090eb5a57fbae68b1cd2beee5e9eea3995cbfed694566c",
    "mnist_08_5.png": "1ee6fbc49ce07d63fa8830574c3505c456ee000168708a66b65020a83b32a0f9",
    "mnist_09_9.png": "a573740fba4eeae1cae2bfd92dfc81bba8a0cbf28c4c6ded4de86b66aa9a032d",
    "mnist_10_0.png": "24ae4056b797e805c6ad6fa04502664f6529f9f6c15f8fa4e674c23ee9cf94cb",
    "mnist_11_6.png": "de821203aac9ecd8f9c551ae1999dd08b206828dc2a432838faafeae346bb1b0",
    "mnist_12_9.png": "f6124535db9080cc271c87820ec32ee08a79cd133818304e1e05019b6e367f19",
    "mnist_13_0.png": "00eae173a7bc2e7c8907f72b98962a81c7c86ab03fd58d22be06dc9adb2a0072",
    "mnist_14_1.png": "32f3333eedfaa391c301e82a2c79d7fce0f1dedcde63ba1c50aa80980f8b89f1",
    "mnist_15_5.png": "0a3e6179730690269a6ad1262a1c0c696def8cf3d23ddd62020f752f523e3953",
    "mnist_16_9.png": "c6f064e150351eb3bd2ca06479e7ca9013b9a03072a8b43b75cbf1d8b1287c14",
    "mnist_17_7.png": "216b1ffeabad94955a44688d9ab16d48fda90da65c5a4dd8ebf58ced101292be",
    "mnist_18_3.png": "b64608b54865acecbe635c4ebf8e7efb60c83ff611d5a889fdd9ebe42b24eb30",
    "mnist_19_4.png": "0d95e3eb12c55a84768e832f0bc3273a444b6b4aba5c02db66839ca8e64ea2f5",
}
"""File -> its digest. The number before the suffix is the digit."""

MNIST = tuple(WheelFile("foolbox==3.3.4", f"foolbox/data/{name}", digest) for name, digest in _FILES.items())


def read_mnist(cache_dir: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return images (20, 1, 28, 28), 0 (paper) to 1 (ink), and what each shows, (20,).

    Raises: WeightsError when they cannot be had.
    """
    from PIL import Image  # noqa: PLC0415 (an export does without)

    paths = fetch_together(MNIST, cache_dir)
    images = [np.asarray(Image.open(path).convert("L"), np.float32) for path in paths]
    labels = [int(path.stem.rpartition("_")[2]) for path in paths]
    return (np.stack(images)[:, np.newaxis] * np.float32(1 / 255)).astype(np.float32), np.array(labels)
