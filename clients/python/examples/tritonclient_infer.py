"""The voice model through NVIDIA's tritonclient, unmodified: `python tritonclient_infer.py [--url 127.0.0.1:8001]`.

Needs `pip install tritonclient[grpc]`.
"""

import argparse

import numpy as np
import tritonclient.grpc as triton

STEPS = 5


def main() -> None:
    """Ask the server what it is and run a few steps of silence through the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="127.0.0.1:8001")
    options = parser.parse_args()
    client = triton.InferenceServerClient(options.url)
    server = client.get_server_metadata()
    print(f"  tritonclient sees: {server.name} {server.version}")
    audio = triton.InferInput("audio", [1, 512], "FP32")
    audio.set_data_from_numpy(np.zeros((1, 512), np.float32))
    for step in range(STEPS):
        # The server keeps the model's state from the sequence's first step to its last.
        place = {"sequence_id": 7, "sequence_start": step == 0, "sequence_end": step == STEPS - 1}
        result = client.infer("silero_vad", [audio], **place)
    print(f"  after {STEPS} steps silence is speech with a probability of {result.as_numpy('probability').item():.1%}")
    for model in client.get_inference_statistics().model_stats:
        mean_ms = model.inference_stats.success.ns / max(model.inference_stats.success.count, 1) / 1e6
        print(f"  {model.name:<20}{model.inference_stats.success.count:>6} requests, {mean_ms:.2f} ms each")


if __name__ == "__main__":
    main()
