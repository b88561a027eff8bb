# /// script
# requires-python = "==3.11.*"
# dependencies = ["gguf==0.19.0", "numpy==2.4.6", "safetensors==0.8.0"]
# ///
"""Write golden/vectors/quant*: `uv run golden/quant_vectors.py [DATA]`.

quant.json: what gguf-py makes of blocks, and which blocks it makes of numbers. With DATA, the folder that holds ref256 and
recipe-types.json: quant-ref256.json (every tensor of every file that llama.cpp's quantizer wrote, as gguf-py reads it, with its
distance from the source) and quant-recipes.json (llama.cpp's choice of type per tensor, run-length coded).

Imports nothing of this project. Bytes are hex digits in file order, floats are the bytes of little-endian float32, every NaN of
them written as 0000c07f. Where only a hash of floats is kept, it is the sha256 of those bytes.
"""

import hashlib
import itertools
import json
import sys
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parent
VERSIONS = {"gguf": "0.19.0", "numpy": np.__version__}
# dtype: the fields of its header, (offset, bytes); two-byte fields are binary16 and are swept over all 65,536 patterns.
HEADERS = {
    "Q8_0": [(0, 2)], "Q4_0": [(0, 2)], "Q4_1": [(0, 2), (2, 2)], "Q5_0": [(0, 2), *((i, 1) for i in range(2, 6))],
    "Q5_1": [(0, 2), (2, 2), *((i, 1) for i in range(4, 8))], "Q2_K": [(80, 2), (82, 2), *((i, 1) for i in range(16))],
    "Q3_K": [(108, 2), *((i, 1) for i in range(96, 108))], "Q4_K": [(0, 2), (2, 2), *((i, 1) for i in range(4, 16))],
    "Q5_K": [(0, 2), (2, 2), *((i, 1) for i in range(4, 16))], "Q6_K": [(208, 2), *((i, 1) for i in range(192, 208))],
    "IQ4_NL": [(0, 2)], "IQ4_XS": [(0, 2), *((i, 1) for i in range(2, 8))], "MXFP4": [(0, 1)],
}
ENCODED = ("F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")


def splitmix64(seed: int, n: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def random_bytes(seed: int, n: int) -> np.ndarray:
    return (splitmix64(seed, n) >> np.uint64(56)).astype(np.uint8)


def uniform(seed: int, n: int) -> np.ndarray:
    """Multiples of 2^-23 in [-1, 1)."""
    return ((splitmix64(seed, n) >> np.uint64(40)).astype(np.int64) - (1 << 23)).astype(np.float32) * np.float32(2.0**-23)


def canonical(values: np.ndarray) -> bytes:
    bits = values.astype(np.float32).view(np.uint32).copy()
    bits[np.isnan(values)] = 0x7FC00000
    return bits.astype("<u4").tobytes()


def hexes(values: np.ndarray) -> str:
    return canonical(values).hex()


def decode(name: str, blocks: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return gguf.dequantize(blocks, T[name])


def encode(name: str, values: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(gguf.quantize(values, T[name])).view(np.uint8)


def swept(base: np.ndarray, at: int, width: int) -> np.ndarray:
    """Every pattern of a field of one block, one block each."""
    patterns = np.arange(256**width, dtype="<u4").view(np.uint8).reshape(-1, 4)[:, :width]
    blocks = np.tile(base, (len(patterns), 1))
    blocks[:, at : at + width] = patterns
    return blocks


def dequantize_cases() -> dict:
    out = {}
    for i, (name, fields) in enumerate(HEADERS.items()):
        n, size = gguf.GGML_QUANT_SIZES[T[name]]
        random = random_bytes(1000 + i, 12 * size).reshape(12, size)
        base = random_bytes(2000 + i, size)
        # A base whose scales are ordinary numbers, so that a swept field is what decides.
        for at, width in fields:
            if width == 2:
                base[at : at + 2] = (0x00, 0x2C + at % 3)
        sweeps = []
        for at, width in fields:
            values = decode(name, swept(base, at, width))
            if width == 2:  # 32 numbers of each block do: those that block number mod (numbers / 32) names
                values = values.reshape(len(values), -1, 32)
                values = values[np.arange(len(values)), np.arange(len(values)) % values.shape[1]]
            sweeps.append({"at": at, "width": width, "sha256": hashlib.sha256(canonical(values)).hexdigest()})
        out[name] = {"blocks": random.tobytes().hex(), "values": hexes(decode(name, random)), "base": base.tobytes().hex(), "sweeps": sweeps}
    return out


def groups() -> np.ndarray:
    """Groups of 32 numbers that have something to go wrong with."""
    rng = np.random.default_rng(20261121)
    out = [np.zeros(32), -np.zeros(32), np.ones(32), -np.ones(32), np.full(32, 1.5e-3), np.arange(32) - 16, np.arange(32), -np.arange(32)]
    out.append(np.where(np.arange(32) % 2, 0.0, -0.0))
    # Ties: halves of a step for every type, both signs, with the extremes in both orders.
    for top, halves in ((127, 127), (8, 8), (16, 16), (15, 15), (31, 31)):
        for sign in (1, -1):
            steps = (np.arange(32) % halves + 0.5) * np.where(np.arange(32) % 3 == 0, -1, 1)
            for first in (top, -top):
                group = np.clip(steps, -top, top)
                group[3], group[20] = sign * first, -sign * first
                out += [group, group / 64, group * np.float32(0.1)]
    # The same magnitude with both signs: the first one decides.
    for first in (1, -1):
        group = rng.uniform(-0.9, 0.9, 32)
        group[5], group[6] = first, -first
        out.append(group)
    # One number alone, at every kind of place, of every size: subnormal, a scale that binary16 makes subnormal or zero or infinite.
    for size in (1e-45, 1e-40, 1e-38, 2e-38, 1e-30, 1e-8, 3e-8, 4.7e-7, 1e-6, 3e-6, 1e-5, 1e-4, 1e-3, 0.1, 1.0, 6e4, 65504, 65520, 1e5, 5e5, 9e5, 1e6, 2.2e6, 8.3e6, 8.4e6, 1e7, 1e30, 3e38):
        group = np.zeros(32)
        group[17] = size
        out += [group, -group, size * rng.uniform(-1, 1, 32), size * rng.uniform(0, 1, 32), size * rng.uniform(-1, 0, 32)]
    # Nearly constant: the minimum is large against the step.
    for ratio in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7):
        out += [1 + ratio * rng.uniform(-1, 1, 32), -3 + ratio * rng.uniform(-1, 1, 32)]
    for size in (0.02, 1.0, 30.0):
        out += [*rng.normal(0, size, (24, 32)), *rng.laplace(0, size, (8, 32)), *rng.standard_t(2, (8, 32)) * size]
    return np.array(out).astype(np.float32)


def quantize_cases() -> dict:
    values = groups()
    # Four million numbers by rule; the hash of what becomes of them.
    bulk = uniform(77, 1 << 22)
    bulk[1 << 21 :] *= bulk[1 << 21 :] * bulk[1 << 21 :]  # heavy tails
    bulk = bulk.reshape(-1, 32)
    out = {"values": [hexes(group) for group in values], "bulk": {"seed": 77, "n": 1 << 22}, "types": {}}
    for name in ENCODED:
        # The code of a number that is not finite is undefined in C and in numpy: `finite` says which groups never meet one.
        with np.errstate(all="ignore"):
            largest = np.abs(values).max(axis=1)
            small = {"Q8_0": 127, "Q4_0": 8, "Q5_0": 16, "Q4_1": 15, "Q5_1": 31}.get(name)
            spread = largest if name in ("Q8_0", "Q4_0", "Q5_0") else values.max(axis=1) - values.min(axis=1)
            defined = np.ones(len(values), bool) if small is None else np.isfinite(spread) & ((spread == 0) | np.isfinite(1 / (spread / np.float32(small))))
        if name in ("Q4_0", "Q5_0"):  # of zeros that begin with -0, ggml makes the scale -0 and gguf-py 0; what ggml does is idempotent
            defined &= ~((largest == 0) & np.signbit(values[:, 0]))
        if name in ("Q4_1", "Q5_1"):  # of zeros of both signs, numpy's minimum is one or the other; ggml takes the first
            zeros = (values == 0) & (values.min(axis=1, keepdims=True) == 0)
            defined &= ~((zeros & np.signbit(values)).any(axis=1) & (zeros & ~np.signbit(values)).any(axis=1))
        blocks = encode(name, values)
        out["types"][name] = {
            "blocks": [block.tobytes().hex() if ok else None for block, ok in zip(blocks, defined, strict=True)],
            "bulk": hashlib.sha256(encode(name, bulk).tobytes()).hexdigest(),
        }
    return out


def ref256(data: Path) -> dict:
    folder = data / "ref256" / "gguf"
    exact = {tensor.name: tensor for tensor in gguf.GGUFReader(folder / "ref256-f32.gguf").tensors}
    published = load_file(data / "ref256" / "model.safetensors")
    names = {
        "token_embd": "model.embed_tokens", "output_norm": "model.norm", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    }
    for name, tensor in exact.items():  # the f32 file is the source, q and k rows of each head in the order of a rotary embedding of neighbours
        parts = name.removesuffix(".weight").split(".")
        source = published[(f"model.layers.{parts[1]}." if parts[0] == "blk" else "") + names[parts[-1]] + ".weight"]
        if parts[-1] in ("attn_q", "attn_k"):
            source = source.reshape(-1, 2, 32, source.shape[1]).swapaxes(1, 2).reshape(source.shape)
        assert np.array_equal(np.asarray(tensor.data).view(np.float32).reshape(source.shape), source), name
    files = []
    for path in sorted(folder.iterdir()):
        tensors = []
        for tensor in gguf.GGUFReader(path).tensors:
            values = decode(tensor.tensor_type.name, tensor.data).astype(np.float32).reshape(-1)
            source = np.asarray(exact[tensor.name].data).view(np.float32).reshape(-1).astype(np.float64)
            error = np.sqrt(((values - source) ** 2).sum() / (source**2).sum())
            tensors.append({
                "name": tensor.name, "dtype": tensor.tensor_type.name, "shape": [int(n) for n in reversed(tensor.shape)], "offset": int(tensor.data_offset), "bytes": int(tensor.n_bytes),
                "sha256": hashlib.sha256(canonical(values)).hexdigest(), "relative_rms": float(error),
            })
        files.append({"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "tensors": tensors})
    return {"schema": "ground-truth/vectors/quant-ref256/1", "versions": VERSIONS, "files": files}


def recipes(data: Path) -> dict:
    """One string a case and kind of tensor: the types of its layers, `type` or `type*count`."""
    cases = []
    for case in json.loads((data / "recipe-types.json").read_text())["cases"]:
        kinds = {}
        for name, dtype in case["except"].items():
            parts = name.split(".")
            kinds.setdefault(parts[2] if parts[0] == "blk" else parts[0], {})[int(parts[1]) if parts[0] == "blk" else 0] = dtype
        coded = {}
        for kind, layers in kinds.items():
            n = 1 if kind in ("token_embd", "output") else case["layers"]
            runs = [(dtype, len(list(run))) for dtype, run in itertools.groupby(layers.get(i, case["default"]) for i in range(n))]
            coded[kind] = " ".join(dtype if n == 1 else f"{dtype}*{n}" for dtype, n in runs)
        cases.append([case["recipe"], case["layers"], case["heads"], case["kv_heads"], case["tied"], case["default"], coded])
    return {"schema": "ground-truth/vectors/quant-recipes/1", "columns": ["recipe", "layers", "heads", "kv_heads", "tied", "default", "except"], "cases": cases}


def lines(value, depth: int = 3) -> str:
    """JSON with a line for each of the outer values."""
    if depth and isinstance(value, dict) and value:
        return "{\n" + ",\n".join(f"{json.dumps(k)}: {lines(v, depth - 1)}" for k, v in value.items()) + "\n}"
    if depth and isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        return "[\n" + ",\n".join(lines(v, depth - 2 if depth > 2 else 0) for v in value) + "\n]"
    return json.dumps(value)


def main() -> int:
    folder = HERE / "vectors"
    written = {"quant.json": {"schema": "ground-truth/vectors/quant/1", "versions": VERSIONS, "dequantize": dequantize_cases(), "quantize": quantize_cases()}}
    if len(sys.argv) > 1:
        written["quant-ref256.json"] = ref256(Path(sys.argv[1]))
        written["quant-recipes.json"] = recipes(Path(sys.argv[1]))
    for name, content in written.items():
        (folder / name).write_text(lines(content) + "\n")
    names = sorted(path.name for path in folder.glob("quant*.json"))
    (folder / "quant.sha256").write_text("".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
