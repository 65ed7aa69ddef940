"""NeMo's filter bank is what kaldi-native-fbank computes with sherpa-onnx's settings for NeMo's models."""

import numpy as np
import pytest

from cuelight.server.speech.features import FilterBank, FrameWindows
from tests.server.speech.plain_pipeline import features
from tests.server.speech.sherpa_reference import speech_like


@pytest.mark.parametrize("nemo", [False, True])
def test_features_equal_the_library_s(nemo: bool) -> None:
    audio = speech_like(2.0, 0)
    windows = FrameWindows()
    windows.push(audio)
    windows.finish()

    ours = FilterBank(nemo=nemo).log_mel(windows.peek(windows.ready))

    np.testing.assert_allclose(ours, features(audio, nemo), atol=2e-3)


def test_the_two_filter_banks_differ() -> None:
    audio = speech_like(1.0, 0)

    assert np.abs(features(audio, nemo=True) - features(audio, nemo=False)).mean() > 1.0
