# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy==2.4.6", "safetensors==0.8.0", "tokenizers==0.23.2"]
# ///
"""The example of docs/adapter.md: a forward pass of llama and qwen2 in numpy, put on trial over stdio."""
import base64, json, pathlib, sys
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

F = np.float32
HELLO = {"runtime": "numpy", "version": np.__version__, "formats": ["safetensors"], "quantizations": ["f32"],
         "architectures": ["llama", "qwen2"], "arithmetic": "f32", "ops": ["tokenize", "logits", "generate"]}

class Model:
    def __init__(self, path, threads):
        folder = pathlib.Path(path)
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = load_file(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def tokenize(self, text, add_special):
        return {"ids": self.tokenizer.encode(text, add_special_tokens=add_special).ids}

    def logits(self, ids, positions):
        rows = self.forward(ids)[-1:] if positions == "last" else self.forward(ids)
        return {"shape": rows.shape, "f32": base64.b64encode(rows.astype("<f4").tobytes()).decode()}

    def generate(self, ids, max_new_tokens, stop_at_eos):
        new, eos, room = [], np.atleast_1d(self.config["eos_token_id"]), self.config["max_position_embeddings"] - len(ids)
        if room < 0:
            raise ValueError(f"{len(ids)} ids, {-room} more than the context holds")
        for _ in range(min(max_new_tokens, room)):
            new.append(int(self.forward(ids + new)[-1].argmax()))
            if stop_at_eos and new[-1] in eos:
                return {"ids": new, "stop": "eos"}
        return {"ids": new, "stop": "length"}

    def forward(self, ids):  # logits (n, vocab) after each of n ids
        c, w, n = self.config, self.weights, len(ids)
        if not 0 < n <= c["max_position_embeddings"] or max(ids) >= c["vocab_size"]:
            raise ValueError(f"{n} ids, the largest {max(ids, default=None)}: no sequence of this model")
        heads, kv, theta = c["num_attention_heads"], c["num_key_value_heads"], (c.get("rope_parameters") or c)["rope_theta"]
        dim = c.get("head_dim") or c["hidden_size"] // heads
        norm = lambda x, name: x / np.sqrt((x * x).mean(-1, keepdims=True) + F(c["rms_norm_eps"])) * w[name + ".weight"]
        linear = lambda x, name: x @ w[name + ".weight"].T + w.get(name + ".bias", F(0))
        angle = np.outer(np.arange(n), theta ** (-np.arange(0, dim, 2) / dim))
        cos, sin = (np.tile(f(angle), 2).astype(F)[:, None] for f in (np.cos, np.sin))  # (n, 1, dim)
        rope = lambda x: x * cos + np.concatenate((-x[..., dim // 2:], x[..., :dim // 2]), -1) * sin
        hidden = w["model.embed_tokens.weight"][ids]
        for i in range(c["num_hidden_layers"]):
            x, attn, mlp = norm(hidden, f"model.layers.{i}.input_layernorm"), f"model.layers.{i}.self_attn.", f"model.layers.{i}.mlp."
            q, k, v = (linear(x, f"{attn}{s}_proj").reshape(n, -1, dim) for s in "qkv")  # (n, heads, dim)
            q, k, v = rope(q), np.repeat(rope(k), heads // kv, 1), np.repeat(v, heads // kv, 1)
            scores = np.einsum("ihd,jhd->hij", q, k) / F(dim ** 0.5) + np.triu(np.full((n, n), -np.inf, F), 1)
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = np.einsum("hij,jhd->ihd", scores / scores.sum(-1, keepdims=True), v)
            hidden = hidden + linear(mixed.reshape(n, -1), attn + "o_proj")
            x = norm(hidden, f"model.layers.{i}.post_attention_layernorm")
            gate = linear(x, mlp + "gate_proj")
            hidden = hidden + linear(gate / (1 + np.exp(-gate)) * linear(x, mlp + "up_proj"), mlp + "down_proj")
        return norm(hidden, "model.norm") @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T

model = None
for line in sys.stdin:
    request = json.loads(line)
    id, op = request.pop("id"), request.pop("op")
    try:
        if op == "hello":
            answer = HELLO
        elif op == "load":
            model, answer = Model(**request), {"ok": True}
        else:
            answer = getattr(model, op)(**request)
    except Exception as error:
        answer = {"error": {"kind": type(error).__name__, "message": str(error)}}
    print(json.dumps({"id": id, **answer}), flush=True)
