"""The values in a GGUF, APR or safetensors file, by readers that are not ours: gguf-py, safetensors, and a few lines of numpy for APR.

`values` gives float32 arrays by Hugging Face name in their logical layout: llama's query and key rows half-split again,
GPT-2's Conv1D weights as (in, out) again. `values_digest` is the container-independent name of such a set.
"""

import hashlib
import json
import struct
from pathlib import Path

import gguf
import numpy as np
import safetensors.numpy
from gguf import GGMLQuantizationType as Type

from oracle_run import Refusal

# GGUF's tensor names and transformers'.
ROTARY = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}
GPT2 = {
    "token_embd": "transformer.wte", "position_embd": "transformer.wpe", "output_norm": "transformer.ln_f", "output": "lm_head", "attn_norm": "ln_1", "ffn_norm": "ln_2",
    "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj",
}
FAMILIES = {"llama": (ROTARY, "model.layers"), "qwen2": (ROTARY, "model.layers"), "gpt2": (GPT2, "transformer.h")}
CONV1D = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
APR_MAGIC = b"APR\0"


def dequantize(kind: Type, data: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """float32 values of raw blocks, by gguf-py."""
    if kind == Type.F32:
        return data.view("<f4").reshape(shape).astype(np.float32)
    if kind == Type.F16:
        return data.view("<f2").reshape(shape).astype(np.float32)
    block, size = gguf.GGML_QUANT_SIZES[kind]
    rows = np.ascontiguousarray(data).view(np.uint8).reshape(*shape[:-1], shape[-1] // block * size)
    return gguf.quants.dequantize(rows, kind).reshape(shape)


def half_split(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of llama's query or key as transformers has them: GGUF keeps the two halves of each head interleaved."""
    return rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


class Artifact:
    """One file: `values` by Hugging Face name, `types` by Hugging Face name as the file names them."""

    def __init__(self, path: Path):
        self.path, self.values, self.types = path, {}, {}
        with path.open("rb") as file:
            magic = file.read(4)
        if magic == b"GGUF":
            self.format = "gguf"
            self._gguf()
        elif magic == APR_MAGIC:
            self.format = "apr"
            self._apr()
        else:
            self.format = "safetensors"
            self._safetensors()

    def _gguf(self) -> None:
        reader = gguf.GGUFReader(self.path)
        field = lambda key: reader.get_field(key).contents()
        self.architecture = field("general.architecture")
        if self.architecture not in FAMILIES:
            raise Refusal(f"{self.path}: general.architecture is {self.architecture!r}")
        names, layers = FAMILIES[self.architecture]
        heads = {}
        if self.architecture == "llama":
            heads["self_attn.q_proj"] = field("llama.attention.head_count")
            key = reader.get_field("llama.attention.head_count_kv")
            heads["self_attn.k_proj"] = key.contents() if key else heads["self_attn.q_proj"]
        for tensor in reader.tensors:
            parts = tensor.name.split(".")
            if parts[0] == "rope_freqs":  # not a parameter: llama3's factors, which the config says
                continue
            if parts[0] == "blk":
                name = f"{layers}.{parts[1]}.{names[parts[2]]}.{parts[3]}"
            else:
                name = f"{names[parts[0]]}.{parts[1]}"
            shape = tuple(int(n) for n in tensor.shape[::-1])
            values = dequantize(tensor.tensor_type, np.ascontiguousarray(tensor.data), shape)
            for part, count in heads.items():
                if f".{part}." in name:
                    values = half_split(values, count)
            self._put(name, values, tensor.tensor_type.name)

    def _apr(self) -> None:
        data = self.path.read_bytes()
        count, metadata_at, metadata_size, index_at, data_at = struct.unpack_from("<IQIQQ", data, 8)
        metadata = json.loads(data[metadata_at : metadata_at + metadata_size])
        self.architecture = metadata["architecture"]
        at = index_at
        for _ in range(count):
            (length,) = struct.unpack_from("<H", data, at)
            name = data[at + 2 : at + 2 + length].decode()
            at += 2 + length
            kind, rank = data[at], data[at + 1]
            shape = struct.unpack_from(f"<{rank}Q", data, at + 2)
            offset, size = struct.unpack_from("<QQ", data, at + 2 + 8 * rank)
            at += 2 + 8 * rank + 16
            raw = np.frombuffer(data, np.uint8, size, data_at + offset)
            self._put(name, *apr_values(kind, raw, shape))

    def _safetensors(self) -> None:
        folder = self.path if self.path.is_dir() else self.path.parent
        self.architecture = json.loads((folder / "config.json").read_text())["model_type"]
        with safetensors.safe_open(self.path, "np") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}
        header = struct.unpack("<Q", self.path.open("rb").read(8))[0]
        data = self.path.read_bytes()
        entries = json.loads(data[8 : 8 + header])
        for name, kind in kinds.items():
            begin, end = entries[name]["data_offsets"]
            raw, shape = np.frombuffer(data, np.uint8, end - begin, 8 + header + begin), tuple(entries[name]["shape"])
            if kind == "BF16":
                values = (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
            elif kind in ("F16", "F32"):
                values = raw.view("<f2" if kind == "F16" else "<f4").astype(np.float32).reshape(shape)
            else:
                raise Refusal(f"{self.path}: {name} is {kind}")
            self.values[name], self.types[name] = values, kind

    def _put(self, name: str, values: np.ndarray, kind: str) -> None:
        """Of GGUF and APR, which store Conv1D weights as (out, in)."""
        if self.architecture == "gpt2" and name.endswith(CONV1D):
            values = values.T
        self.values[name], self.types[name] = np.ascontiguousarray(values, dtype=np.float32), kind


def apr_values(kind: int, raw: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    """float32 values of an APR tensor and the name of its type."""
    ggml = {0: Type.F32, 1: Type.F16, 30: Type.BF16, 12: Type.Q4_K, 14: Type.Q6_K}
    if kind in ggml:
        return dequantize(ggml[kind], raw, shape), ggml[kind].name
    count = int(np.prod(shape, dtype=np.int64))
    if kind in (9, 129):  # one float32 scale, then a signed byte for each value
        return (raw[4:].view(np.int8)[:count].astype(np.float32) * raw[:4].view("<f4")[0]).reshape(shape), "AprQ8"
    if kind in (8, 128):  # blocks of 32: a float16 scale, then 16 bytes with value 2i in the low and 2i + 1 in the high half
        blocks = raw.reshape(-1, 18)
        scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
        scale = np.where(np.isfinite(scale) & (np.abs(scale) >= 2.0**-14), scale, np.float32(0))
        halves = np.stack([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=-1).reshape(len(blocks), 32).astype(np.float32) - 8
        return (halves * scale).reshape(-1)[:count].reshape(shape), "AprQ4"
    raise Refusal(f"APR type {kind} is not known")


def parameters(artifact: Artifact, tied: bool) -> dict[str, np.ndarray]:
    """What of a file is a parameter: no causal mask, no rotary buffer, no head that repeats the embedding."""
    out = {}
    for name, values in artifact.values.items():
        if name.endswith(("rotary_emb.inv_freq", ".attn.masked_bias")) or name.endswith(".attn.bias") and values.ndim == 4:
            continue
        if tied and name == "lm_head.weight":
            embedding = artifact.values["transformer.wte.weight" if artifact.architecture == "gpt2" else "model.embed_tokens.weight"]
            if not np.array_equal(values, embedding):
                raise Refusal(f"{artifact.path}: lm_head.weight is not the embedding it is tied to")
            continue
        out[name] = values
    return out


def values_digest(values: dict[str, np.ndarray]) -> str:
    """SHA-256 over name, 0, rank as u32, sides as u64, values as float32, all little endian, by name in byte order."""
    digest = hashlib.sha256()
    for name in sorted(values, key=str.encode):
        array = values[name]
        digest.update(name.encode() + b"\0" + struct.pack(f"<I{array.ndim}Q", array.ndim, *array.shape))
        digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()
