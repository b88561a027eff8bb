# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "safetensors==0.8.0", "tokenizers==0.23.2", "numpy==2.4.6", "gguf==0.19.0"]
# ///
"""Write testdata/models/llama-outlier: llama-tiny with a few hidden channels a thousand times larger, and the same answers.

In front of each group of projections one channel of every 32 has its norm weight multiplied by 1,024 (one of the eight by
16,384), and the columns that read it divided by the same. Powers of two change no mantissa, so float32 gives the same
bits. What cannot hold such a range loses: float16 activations overflow, 8-bit activations lose the 31 neighbours of the
channel, and 8-bit weights lose the channel itself. The script measures all of it and refuses a folder where it is not so.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import gguf
import numpy as np
import safetensors.torch
import torch
import transformers

import oracle_run
from oracle_run import Refusal

ROOT = Path(__file__).resolve().parent.parent
SOURCE, TARGET = (ROOT / "testdata" / "models" / name for name in ("llama-tiny", "llama-outlier"))
GOLDEN = ROOT / "golden" / "llama-tiny"
FILES = ("config.json", "generation_config.json", "tokenizer.json", "expected.txt")
# One channel of so many is enlarged: the length of a block of Q8_0.
BLOCK = 32
LARGE, LARGEST = 2.0**10, 2.0**14
CANARIES = ("arithmetic", "code", "completion", "greeting")


def consumers(n_layers: int) -> dict[str, list[str]]:
    """Each norm weight and the matrices whose columns read what it scales."""
    out = {"model.norm.weight": ["lm_head.weight"]}
    for i in range(n_layers):
        block = f"model.layers.{i}."
        out[block + "input_layernorm.weight"] = [f"{block}self_attn.{x}_proj.weight" for x in "qkv"]
        out[block + "post_attention_layernorm.weight"] = [f"{block}mlp.{x}_proj.weight" for x in ("gate", "up")]
    return out


class Measured:
    """llama-tiny and every sequence of its golden: what it answers with other weights or rounded activations."""

    def __init__(self):
        self.model = oracle_run.load(SOURCE)
        self.weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.goldens = {g["prompt"]["name"]: g for p in sorted(GOLDEN.glob("*.json")) if "greedy" in (g := json.loads(p.read_text()))}
        self.reference = self.answers()

    def answers(self) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return {n: self.model(input_ids=torch.tensor([g["prompt"]["ids"] + g["greedy"]["ids"]])).logits[0] for n, g in self.goldens.items()}

    def norm_outputs(self) -> dict[str, torch.Tensor]:
        """The output of every norm at every position: (n, hidden)."""
        seen, hooks = {}, []
        for name, module in self.model.named_modules():
            if type(module).__name__.endswith("RMSNorm"):
                hook = lambda _m, _i, output, key=name + ".weight": seen.setdefault(key, []).append(output.reshape(-1, output.shape[-1]))
                hooks.append(module.register_forward_hook(hook))
        self.answers()
        for hook in hooks:
            hook.remove()
        return {name: torch.cat(rows) for name, rows in seen.items()}

    def with_weights(self, change) -> dict[str, torch.Tensor]:
        self.model.load_state_dict({name: change(tensor) for name, tensor in self.weights.items()})
        out = self.answers()
        self.model.load_state_dict(self.weights)
        return out

    def with_activations(self, change) -> dict[str, torch.Tensor]:
        """Every input of a matrix product rounded first."""
        hooks = [m.register_forward_pre_hook(lambda _m, inputs: (change(inputs[0]),)) for m in self.model.modules() if isinstance(m, torch.nn.Linear)]
        out = self.answers()
        for hook in hooks:
            hook.remove()
        return out

    def effect(self, answers: dict[str, torch.Tensor]) -> dict:
        """How far the answers are from llama-tiny's own."""
        error = sum(float((answers[n] - r).double().square().sum()) for n, r in self.reference.items())
        norm = sum(float(r.double().square().sum()) for r in self.reference.values())
        canary = 0
        for name in CANARIES:
            prompt, greedy = self.goldens[name]["prompt"]["ids"], self.goldens[name]["greedy"]["ids"]
            canary += int((answers[name][len(prompt) - 1 : -1].argmax(-1) != torch.tensor(greedy)).sum())
        return {
            "relative_rms": (error / norm) ** 0.5, "positions": sum(len(r) for r in self.reference.values()),
            "flips": sum(int((answers[n].argmax(-1) != r.argmax(-1)).sum()) for n, r in self.reference.items()), "canary_flips": canary,
            "finite": all(bool(torch.isfinite(a).all()) for a in answers.values()),
        }


def enlarge(measured: Measured) -> tuple[dict[str, torch.Tensor], dict[str, dict[int, float]]]:
    """The rescaled weights, and per norm the channels with their factors.

    Of every block the channel that matters least, so that losing it does not decide an answer; in the block of the
    largest activation that channel, by a factor that takes it past 65,504, the largest float16.
    """
    outputs = measured.norm_outputs()
    weights, channels = {name: tensor.clone() for name, tensor in measured.weights.items()}, {}
    for norm, matrices in consumers(len(measured.model.model.layers)).items():
        square = outputs[norm].square().mean(0)
        shares = [measured.weights[m].square().sum(0) * square for m in matrices]
        importance = sum(share / share.sum() for share in shares)
        largest = int(outputs[norm].abs().amax(0).argmax())
        channels[norm] = {}
        for begin in range(0, len(square), BLOCK):
            least = begin + int(importance[begin : begin + BLOCK].argmin())
            channel, factor = (largest, LARGEST) if begin <= largest < begin + BLOCK else (least, LARGE)
            channels[norm][channel] = factor
            weights[norm][channel] *= factor
            for matrix in matrices:
                weights[matrix][:, channel] /= factor
    return weights, channels


def q8_0_activations(x: torch.Tensor) -> torch.Tensor:
    """What Q8_0 keeps of activations: one scale for 32."""
    blocks = x.reshape(-1, BLOCK)
    scale = (blocks.abs().amax(1, keepdim=True) / 127).half().float()
    return (torch.where(scale > 0, (blocks / scale.clamp(min=1e-30)).round(), 0.0 * blocks) * scale).reshape(x.shape)


def quantized(kind: gguf.GGMLQuantizationType):
    def change(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim < 2:
            return tensor
        return torch.from_numpy(np.array(gguf.quants.dequantize(gguf.quants.quantize(tensor.numpy(), kind), kind)).reshape(tensor.shape))

    return change


def apr_q8(tensor: torch.Tensor) -> torch.Tensor:
    """One scale for a whole tensor."""
    if tensor.ndim < 2:
        return tensor
    scale = tensor.abs().max() / 127
    return (tensor / scale).round() * scale


PATHS = {
    "f16 activations": lambda m: m.with_activations(lambda x: x.half().float()),
    "Q8_0 activations": lambda m: m.with_activations(q8_0_activations),
    "f16 weights": lambda m: m.with_weights(lambda t: t.half().float()),
    "bf16 weights": lambda m: m.with_weights(lambda t: t.bfloat16().float()),
    "Q8_0 weights": lambda m: m.with_weights(quantized(gguf.GGMLQuantizationType.Q8_0)),
    "AprQ8 weights": lambda m: m.with_weights(apr_q8),
    "Q4_0 weights": lambda m: m.with_weights(quantized(gguf.GGMLQuantizationType.Q4_0)),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=TARGET)
    out = parser.parse_args().out
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    measured = Measured()
    before = {path: measured.effect(run(measured)) for path, run in PATHS.items()}
    weights, channels = enlarge(measured)
    measured.weights = weights
    measured.model.load_state_dict(weights)
    if not all(torch.equal(answer, measured.reference[name]) for name, answer in measured.answers().items()):
        raise Refusal("float32 gives other bits than llama-tiny")
    after = {path: measured.effect(run(measured)) for path, run in PATHS.items()}
    for path in PATHS:
        print(f"{path:17}" + "".join(
            f" | {e['relative_rms']:8.2e} {e['flips']:4} of {e['positions']} flips, {e['canary_flips']:3} of 128 canary{'' if e['finite'] else ', not finite'}" for e in (before[path], after[path])
        ))
    for norm, factors in channels.items():
        print(f"{norm}: " + ", ".join(f"{channel} x {factor:.0f}" for channel, factor in factors.items()))
    if after["f16 activations"]["finite"] or after["Q8_0 activations"]["flips"] < after["Q8_0 activations"]["positions"] // 2:
        raise Refusal("a path that should break does not")
    if not after["Q8_0 weights"]["relative_rms"] >= 10 * before["Q8_0 weights"]["relative_rms"]:
        raise Refusal("8-bit weights do not lose enough")
    out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(SOURCE / name, out / name)
    with safetensors.safe_open(SOURCE / "model.safetensors", "pt") as file:
        names, metadata = list(file.keys()), file.metadata()
    safetensors.torch.save_file({name: weights[name].contiguous() for name in names}, out / "model.safetensors", metadata=metadata)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Refusal as refusal:
        print(f"outlier_model: {refusal}", file=sys.stderr)
        sys.exit(2)
