"""BeatNet rebuilt: its features are what their definition says, and its steps are the network run over whole music."""

from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from cuelight.exporters import beatnet
from cuelight.exporters.samples import MUSIC, MUSIC_RATE_HZ, music_as_wav
from tests.clients.clicks import click_track

HOP, WINDOW = 441, 1411


def published_lstm(cache_dir: Path) -> torch.nn.LSTM:
    """Return the LSTM as PyTorch's own two-layer module with the published weights."""
    weights = torch.load(beatnet.WEIGHTS.fetch(cache_dir), weights_only=True)
    lstm = torch.nn.LSTM(150, 150, 2, batch_first=True)
    lstm.load_state_dict({name[5:]: tensor for name, tensor in weights.items() if name.startswith("lstm.")})
    return lstm


def features_of(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (frames, 272): log magnitudes in bands and their rise, whole music at once, frames centred on each hop."""
    frames = len(samples) // HOP
    padded = np.concatenate([np.zeros(WINDOW // 2), samples, np.zeros(WINDOW)])
    windows = np.stack([padded[frame * HOP : frame * HOP + WINDOW] for frame in range(frames)])
    magnitude = np.abs(np.fft.fft(windows * np.hanning(WINDOW))[:, : WINDOW // 2])
    spectrum = np.log10(magnitude @ beatnet.filterbank() + 1)
    rise = np.maximum(np.diff(spectrum, axis=0, prepend=spectrum[:1]), 0)
    return np.concatenate([spectrum, rise], 1)


def stepped(module: torch.nn.Module, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities (frames, 3) of the module run step by step, its delay taken out."""
    state = [tensor for name, tensor in beatnet.example(torch.Generator(), 1).items() if name != "audio"]
    frames = len(samples) // HOP
    whole = np.concatenate([samples, np.zeros(2 * HOP, np.float32)])
    outputs = []
    with torch.no_grad():
        for step in range(frames + 1):
            audio = torch.from_numpy(whole[step * HOP : (step + 1) * HOP][np.newaxis].copy())
            probabilities, *state = module(audio, *state)
            outputs.append(probabilities[0].numpy())
    return np.array(outputs[1:])


def test_the_filters_are_136_triangles_of_sum_one() -> None:
    bands = beatnet.filterbank()

    assert bands.shape == (705, 136)
    assert np.allclose(bands.sum(0), 1)
    assert (np.diff(bands.argmax(0)) > 0).all()


def test_steps_equal_the_network_over_whole_music(tmp_path: Path, cache_dir: Path) -> None:
    drum, rate_hz = soundfile.read(music_as_wav(MUSIC.fetch(cache_dir), tmp_path / "m.wav"), dtype="float32")
    assert rate_hz == MUSIC_RATE_HZ
    module, lstm = beatnet.build(cache_dir), published_lstm(cache_dir)
    for samples in (drum, click_track(100)[0]):
        features = torch.from_numpy(features_of(samples).astype(np.float32))
        with torch.no_grad():
            hidden = torch.nn.functional.max_pool1d(module.conv1(features.unsqueeze(1)).relu(), 2).flatten(1)
            states, _ = lstm(module.linear0(hidden).unsqueeze(0))
            want = module.linear(states[0]).softmax(1).numpy()

        assert np.abs(stepped(module, samples) - want).max() < 1e-4
