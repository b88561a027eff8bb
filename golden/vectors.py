# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "numpy==2.4.6"]
# ///
"""Write golden/vectors: `uv run golden/vectors.py`.

rope.json: inverse frequencies (float32 bits) and attention factor as transformers computes them, one case per set of
parameters, each with the config fields that a reader is given. activations.json: every activation by its Hugging Face
name at the same inputs, in float64 (16 hex digits of the bits).
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers.activations import ACT2FN
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

HERE = Path(__file__).resolve().parent
VERSIONS = {"transformers": transformers.__version__, "torch": torch.__version__, "numpy": np.__version__}
ACTIVATIONS = (
    "silu", "swish", "gelu", "gelu_python", "gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate", "gelu_10", "quick_gelu", "relu",
    "relu2", "relu6", "leaky_relu", "tanh", "sigmoid", "mish", "hardswish", "linear", "laplace", "sqrtsoftplus",
)


def f32(value) -> str:
    return f"{np.float32(value).view(np.uint32):08x}"


def f64(value: float) -> str:
    return struct.pack(">d", value).hex()


def rope_cases() -> list[dict]:
    """Config fields, as config.json spells them: head_dim, max_position_embeddings, and rope in either generation."""
    def new(**parameters) -> dict:
        return {"rope_parameters": parameters}

    def old(theta: float | None, **scaling) -> dict:
        return ({} if theta is None else {"rope_theta": theta}) | ({"rope_scaling": scaling} if scaling else {})

    default = [(dim, theta) for dim in (8, 16, 32, 64, 128) for theta in (10000.0,)]
    default += [(64, 500000.0), (64, 1000000.0), (128, 1000000.0), (20, 25000.5), (80, 10000.0), (96, 8000000.0)]
    cases = [(dim, 256, new(rope_type="default", rope_theta=theta)) for dim, theta in default]
    cases += [(64, 2048, {}), (64, 2048, old(500000.0)), (16, 256, old(None, type="default"))]
    cases += [
        (64, 4096, new(rope_type="linear", rope_theta=10000.0, factor=4.0)), (20, 512, new(rope_type="linear", rope_theta=25000.5, factor=2.5)),
        (128, 4096, old(None, type="linear", factor=8.0)), (32, 256, old(1000000.0, rope_type="linear", factor=1.5)),
    ]
    llama3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    cases += [
        (64, 131072, new(**llama3, rope_theta=500000.0, factor=8.0, original_max_position_embeddings=8192)),
        (128, 131072, old(500000.0, **llama3, factor=32.0, original_max_position_embeddings=8192)),
        (32, 256, new(**llama3, rope_theta=10000.0, factor=4.0, original_max_position_embeddings=64)),
        (16, 512, new(**{**llama3, "high_freq_factor": 2.0}, rope_theta=10000.0, factor=8.0)),
    ]
    yarn = {"rope_type": "yarn", "rope_theta": 10000.0}
    cases += [
        (64, 8192, new(**yarn, factor=4.0, original_max_position_embeddings=2048)),
        (128, 131072, old(1000000.0, type="yarn", factor=4.0, original_max_position_embeddings=32768)),
        (64, 8192, new(**yarn, factor=4.0)),
        (64, 8192, new(**yarn, factor=4.0, original_max_position_embeddings=2048, truncate=False)),
        (32, 128, new(**yarn, factor=2.0, original_max_position_embeddings=64, truncate=False)),
        (8, 128, new(**yarn, factor=2.0, original_max_position_embeddings=64)),
        (20, 200, new(**{**yarn, "rope_theta": 25000.5}, factor=4.0, original_max_position_embeddings=50, beta_fast=16.0, beta_slow=2)),
        (64, 163840, new(**yarn, factor=40, original_max_position_embeddings=4096, mscale=1.0, mscale_all_dim=1.0, beta_fast=32, beta_slow=1)),
        (64, 163840, new(**yarn, factor=40, original_max_position_embeddings=4096, mscale=0.707, mscale_all_dim=1.0)),
        (64, 8192, new(**yarn, factor=4.0, original_max_position_embeddings=2048, mscale=0.707)),
        (64, 8192, new(**yarn, factor=4.0, original_max_position_embeddings=2048, mscale_all_dim=0.5)),
        (64, 8192, new(**yarn, factor=4.0, original_max_position_embeddings=2048, attention_factor=1.25)),
        (64, 8192, new(**yarn, factor=4.0, original_max_position_embeddings=2048, attention_factor=0.9, mscale=0.5, mscale_all_dim=0.25)),
        (64, 4096, new(**yarn, factor=1.0, original_max_position_embeddings=4096)),
        (64, 131072, new(rope_type="yarn", rope_theta=150000.0, factor=32.0, original_max_position_embeddings=4096, beta_fast=32.0, beta_slow=1.0, truncate=False)),
        (16, 64, new(**yarn, factor=2.0, original_max_position_embeddings=32, beta_fast=1, beta_slow=1)),
        (64, 8192, {"original_max_position_embeddings": 1024, **new(**yarn, factor=4.0)}),
    ]
    out = []
    for dim, n_ctx, fields in cases:
        given = {"head_dim": dim, "hidden_size": 4 * dim, "num_attention_heads": 4, "max_position_embeddings": n_ctx, **fields}
        rotary = LlamaRotaryEmbedding(transformers.LlamaConfig.from_dict(json.loads(json.dumps(given))))
        assert rotary.inv_freq.dtype == torch.float32
        out.append({"config": given, "inv_freq": [f32(v) for v in rotary.inv_freq.tolist()], "attention_factor": f64(float(rotary.attention_scaling))})
    return out


def activation_cases() -> dict:
    inputs = [0.0, -0.0, 1e-300, -1e-300, 1e-30, -1e-30, 1e-8, -1e-8, 1e-3, -1e-3, 0.044715, -0.044715]
    inputs += [s * v for v in (0.1, 0.25, 0.5, 0.7071067811865476, 0.75, 1.0, 1.25, 1.5, 1.702, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.5, 9.0, 10.0, 12.0, 15.0, 20.0, 40.0, 100.0) for s in (1, -1)]
    tensor = torch.tensor(inputs, dtype=torch.float64)
    out = {}
    for name in ACTIVATIONS:
        values = ACT2FN[name](tensor)
        assert values.dtype == torch.float64, name
        out[name] = [f64(v) for v in values.tolist()]
    return {"inputs": [f64(v) for v in inputs], "activations": out}


def main() -> int:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    folder = HERE / "vectors"
    folder.mkdir(exist_ok=True)
    cases = ",\n".join("  " + json.dumps(case) for case in rope_cases())
    (folder / "rope.json").write_text(f'{{\n "schema": "ground-truth/vectors/rope/1",\n "versions": {json.dumps(VERSIONS)},\n "cases": [\n{cases}\n ]\n}}\n')
    activations = activation_cases()
    rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in activations["activations"].items())
    (folder / "activations.json").write_text(
        f'{{\n "schema": "ground-truth/vectors/activations/1",\n "versions": {json.dumps(VERSIONS)},\n "inputs": {json.dumps(activations["inputs"])},\n "activations": {{\n{rows}\n }}\n}}\n'
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
