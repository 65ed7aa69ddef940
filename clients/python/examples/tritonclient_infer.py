"""The voice model through NVIDIA's tritonclient, unmodified: `python tritonclient_infer.py [--url 127.0.0.1:8001]`.

Needs `pip install tritonclient[grpc]`.
"""

import argparse

import numpy as np
import tritonclient.grpc as triton


def main() -> None:
    """Ask the server what it is and run one step of silence through the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="127.0.0.1:8001")
    options = parser.parse_args()
    client = triton.InferenceServerClient(options.url)
    server = client.get_server_metadata()
    print(f"  tritonclient sees: {server.name} {server.version}")
    inputs = []
    for name, size in (("audio", 512), ("context", 64), ("h", 128), ("c", 128)):
        tensor = triton.InferInput(name, [1, size], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, size), np.float32))
        inputs.append(tensor)
    result = client.infer("silero_vad", inputs)
    print(f"  silence is speech with a probability of {result.as_numpy('probability').item():.1%}")
    for model in client.get_inference_statistics().model_stats:
        mean_ms = model.inference_stats.success.ns / max(model.inference_stats.success.count, 1) / 1e6
        print(f"  {model.name:<20}{model.inference_stats.success.count:>6} requests, {mean_ms:.2f} ms each")


if __name__ == "__main__":
    main()
