"""The model under transformers: float32 as the reference, float64 to measure the reference's own rounding.

transformers rounds norms, softmax and the rotary tables to float32 even when the weights are float64. For the
float64 run those three are replaced here, and a dispatch mode refuses any operation that still yields float32.
"""

import sys
from contextlib import contextmanager

import numpy as np
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

FAMILIES = ("llama", "qwen2", "gpt2")
# Logits of so many positions x vocabulary are made at once.
LOGITS_AT_ONCE = 2**24


class Refusal(Exception):
    """A folder that the oracle will not speak for; the message says why."""


def load(folder) -> torch.nn.Module:
    """The model in float32 with eager attention, every tensor of it found in the files."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    config = transformers.AutoConfig.from_pretrained(folder)
    if config.model_type not in FAMILIES:
        raise Refusal(f"config.json: model_type {config.model_type!r} is none of {', '.join(FAMILIES)}")
    for field in ("reorder_and_upcast_attn", "add_cross_attention"):
        if getattr(config, field, False):
            raise Refusal(f"config.json: {field} = true is not supported")
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loading.get(problem):
            raise Refusal(f"transformers reports {problem}: {sorted(map(str, loading[problem]))}")
    wrong = [name for name, p in model.named_parameters() if p.dtype != torch.float32]
    if wrong:
        raise Refusal(f"parameters that are not float32 after loading: {wrong}")
    if not any(torch.is_nonzero(p.abs().sum()) for p in model.parameters()):
        raise Refusal("every parameter is zero")
    return model.eval()


def attention_float64(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **_):
    """Eager attention whose softmax stays in float64."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = scores.softmax(-1)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def rms_norm_float64(self, hidden_states):
    """RMSNorm without the detour through float32."""
    variance = hidden_states.pow(2).mean(-1, keepdim=True)
    return self.weight * (hidden_states * torch.rsqrt(variance + self.variance_epsilon))


def rotary_float64(self, x, position_ids):
    """cos and sin in float64 of position x inv_freq; inv_freq is transformers' float32 value, widened with the model."""
    angle = position_ids[..., None].double() * self.inv_freq
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos() * self.attention_scaling, angle.sin() * self.attention_scaling


class NoFloat32(TorchDispatchMode):
    """Refuses every operation that yields a float32 tensor."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point() and tensor.dtype != torch.float64:
                raise AssertionError(f"{function} yields {tensor.dtype} in the float64 run")
        return out


class Runner:
    """One loaded model, in float32 until `to_float64` is called."""

    def __init__(self, model: torch.nn.Module):
        self.model, self.config = model, model.config
        self.family = model.config.model_type
        self.module = sys.modules[type(model).__module__]
        self.base = model.get_decoder() if self.family != "gpt2" else model.transformer
        self.blocks = self.base.layers if self.family != "gpt2" else self.base.h
        self.double = False
        self._attention = self.module.eager_attention_forward
        self._recorded = None
        self.module.eager_attention_forward = self._attend

    def _attend(self, module, query, key, value, attention_mask, **kwargs):
        if self._recorded is not None:
            block = module.layer_idx
            self._recorded[f"blk.{block}.attn.q"] = query[0, :, -1]
            self._recorded[f"blk.{block}.attn.k"] = key[0, :, -1]
        attention = attention_float64 if self.double else self._attention
        return attention(module, query, key, value, attention_mask, **kwargs)

    def to_float64(self) -> None:
        """Every later run computes in float64 throughout."""
        self.model.to(torch.float64)
        self.double = True
        for norm in {type(m) for m in self.model.modules() if type(m).__name__.endswith("RMSNorm")}:
            norm.forward = rms_norm_float64
        if self.family != "gpt2":
            type(self.base.rotary_emb).forward = rotary_float64

    @contextmanager
    def _guard(self):
        if self.double:
            with torch.no_grad(), NoFloat32():
                yield
        else:
            with torch.no_grad():
                yield

    def logits(self, ids: list[int]) -> np.ndarray:
        """Logits at every position from one whole forward pass: (n, vocab)."""
        with self._guard():
            hidden = self.base(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]
            step = max(1, LOGITS_AT_ONCE // self.config.vocab_size)
            return np.concatenate([self.model.lm_head(rows).numpy() for rows in hidden.split(step)])

    def greedy(self, ids: list[int], max_new_tokens: int, eos: list[int]) -> list[int]:
        """Greedy ids from cached decoding, first-wins argmax, the stopping id included."""
        out, feed, cache = [], ids, transformers.DynamicCache(config=self.config)
        with self._guard():
            while len(out) < max_new_tokens:
                answer = self.model(input_ids=torch.tensor([feed]), past_key_values=cache, use_cache=True, logits_to_keep=1)
                row = answer.logits[0, -1].numpy()
                if not np.isfinite(row).all():
                    raise Refusal(f"a logit is not finite at step {len(out)}")
                out.append(int(np.argmax(row)))
                feed = out[-1:]
                if out[-1] in eos:
                    break
        return out

    def generate(self, ids: list[int], max_new_tokens: int) -> list[int]:
        """The same by transformers' own generate."""
        tensor = torch.tensor([ids])
        with torch.no_grad():
            out = self.model.generate(
                tensor, attention_mask=torch.ones_like(tensor), do_sample=False, num_beams=1, max_new_tokens=max_new_tokens,
                repetition_penalty=1.0, top_k=None, top_p=None, temperature=None,
            )
        return out[0, len(ids) :].tolist()

    def eos(self) -> list[int]:
        """The ids at which transformers' generate stops."""
        eos = self.model.generation_config.eos_token_id
        return sorted({eos} if isinstance(eos, int) else set(eos or ()))

    def stages(self) -> list[str]:
        """Stage names in sketch order."""
        names = ["embedding"]
        for i in range(len(self.blocks)):
            names += [f"blk.{i}.{part}" for part in ("attn_norm", "attn.q", "attn.k", "attn_out", "mlp_out", "out")]
        return [*names, "final_norm", "logits"]

    def sketch(self, ids: list[int], decode: bool) -> np.ndarray:
        """(stages, 6) at the last position: rms, mean, four projections. With `decode` the last id is one cached step."""
        recorded, hooks = {}, []

        def watch(module, name):
            def hook(_module, _inputs, output):
                recorded[name] = (output[0] if isinstance(output, tuple) else output)[0, -1]

            hooks.append(module.register_forward_hook(hook))

        gpt2 = self.family == "gpt2"
        watch(self.base.drop if gpt2 else self.base.embed_tokens, "embedding")
        for i, block in enumerate(self.blocks):
            watch(block.ln_1 if gpt2 else block.input_layernorm, f"blk.{i}.attn_norm")
            watch(block.attn.c_proj if gpt2 else block.self_attn.o_proj, f"blk.{i}.attn_out")
            watch(block.mlp, f"blk.{i}.mlp_out")
            watch(block, f"blk.{i}.out")
        watch(self.base.ln_f if gpt2 else self.base.norm, "final_norm")
        watch(self.model.lm_head, "logits")
        self._recorded = None if decode else recorded
        try:
            with self._guard():
                if decode:
                    cache = transformers.DynamicCache(config=self.config)
                    self.model(input_ids=torch.tensor([ids[:-1]]), past_key_values=cache, use_cache=True, logits_to_keep=1)
                    recorded.clear()
                    self._recorded = recorded
                    self.model(input_ids=torch.tensor([ids[-1:]]), past_key_values=cache, use_cache=True, logits_to_keep=1)
                else:
                    self.model(input_ids=torch.tensor([ids]), use_cache=False, logits_to_keep=1)
        finally:
            self._recorded = None
            for hook in hooks:
                hook.remove()
        return np.stack([sketch_of(i, recorded[name].double().numpy().ravel()) for i, name in enumerate(self.stages())])


def splitmix64(v: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64, wrapping at 64 bits."""
    z = v + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def sketch_of(stage: int, x: np.ndarray) -> np.ndarray:
    """rms, mean and the projections 0..3 of one vector, in float64."""
    i = np.arange(len(x), dtype=np.uint64)
    projections = []
    for j in range(4):
        bit = splitmix64(np.uint64(stage << 40 | j << 32) | i) >> np.uint64(63)
        projections.append(float(np.sum(np.where(bit == 1, -x, x)) / np.sqrt(len(x))))
    return np.array([np.sqrt(np.mean(x * x)), np.mean(x), *projections], dtype=np.float64)


def log_sum_exp(logits: np.ndarray) -> np.ndarray:
    """Of each row, in float64."""
    out = np.empty(len(logits))
    for i, row in enumerate(logits):
        wide = row.astype(np.float64)
        top = wide.max()
        out[i] = top + np.log(np.exp(wide - top).sum())
    return out


def relative_rms(logits: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """|logits - reference| / |reference|, and the rms of the logits; row by row, for large vocabularies."""
    error = norm = square = 0.0
    for row, wide in zip(logits, reference, strict=True):
        error += float(np.square(row - wide).sum())
        norm += float(np.square(wide).sum())
        square += float(np.square(row, dtype=np.float64).sum())
    return float(np.sqrt(error / norm)), float(np.sqrt(square / logits.size))


def token_nll(runner: Runner, ids: list[int], window: int, stride: int) -> np.ndarray:
    """-log p of every id but the first, each scored once, with at least window - stride ids before it where there are so many."""
    scores, scored = [], 1
    for begin in range(0, len(ids), stride):
        end = min(begin + window, len(ids))
        first = max(scored, begin + 1)
        logits = runner.logits(ids[begin:end])[first - 1 - begin : end - 1 - begin]
        scores.append(log_sum_exp(logits) - logits[np.arange(end - first), ids[first:end]].astype(np.float64))
        scored = end
        if end == len(ids):
            break
    return np.concatenate(scores)


# Published vector of the generator: state 0 and one step on.
assert int(splitmix64(np.array([0], dtype=np.uint64))[0]) == 0xE220A8397B1DCDAF
