# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "safetensors==0.8.0", "tokenizers==0.23.2", "numpy==2.4.6", "gguf==0.19.0", "xllamacpp==2026.10.11549"]
# ///
"""Random folders through `convert` to a float32 GGUF into llama.cpp, held against transformers on the folder itself.

    uv run golden/random_models.py /tmp/random --count 18
    uv run golden/random_llama_cpp.py /tmp/random/*

Each must load, tokenize every string as tokenizer.json does, and take transformers' next token at each step (fed transformers'
tokens, so that one tie decides nothing) unless the two are closer than TIE. A folder that `convert` refuses is listed with
the reason. Nothing is written.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import transformers
from tokenizers import Tokenizer

import artifact
import dequantized
import oracle_prompts
import oracle_run
from artifact import Artifact
from llama_cpp import LlamaCpp
from oracle_run import Refusal, Runner, log_sum_exp

PROMPTS = ("arithmetic", "completion", "median-door", "unicode-emoji")
STEPS = 16
# Nats: float32 on both sides, in another order.
TIE, FAR = 0.01, 0.01


def one(folder: Path, binary: Path, quantization: str) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        try:
            path = dequantized.converted(binary, folder, Path(scratch), "gguf", quantization)
        except Refusal as refusal:
            print(f"{folder.name}: {str(refusal).splitlines()[0]}")
            return 0
        config = transformers.AutoConfig.from_pretrained(folder)
        values = artifact.parameters(Artifact(path), bool(config.tie_word_embeddings))
        # The model of the folder (without a prefix in the oldest GPT-2 spelling), with the values of the file.
        runner = Runner(dequantized.with_values(folder, values) if quantization != "f32" else oracle_run.load(folder))
        if quantization == "f32":
            own = {name: p.detach().numpy() for name, p in runner.model.named_parameters()}
            wrong = [name for name in own if name not in values or not np.array_equal(own[name], values[name])]
            if wrong or len(own) != len(values):
                raise Refusal(f"{folder.name}: other values in the file: {wrong}, {sorted(set(values) - set(own))}")
        runtime = LlamaCpp(path, config.max_position_embeddings)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        different = []
        for text in oracle_prompts.tokenizer_cases():
            for special in (True, False):
                ids, theirs = tokenizer.encode(text, add_special_tokens=special).ids, runtime.tokenize(text, special)
                if ids != theirs:
                    different.append((text, special, ids, theirs))
        identical, ties, diverged, largest = 0, 0, [], 0.0
        for prompt in oracle_prompts.PROMPTS:
            if prompt.name not in PROMPTS:
                continue
            ids = tokenizer.encode(prompt.text).ids[: config.max_position_embeddings - STEPS]
            greedy = runner.greedy(ids, STEPS, [])
            logits = runner.logits(ids + greedy)[len(ids) - 1 : -1]
            logprobs = logits - log_sum_exp(logits)[:, None]
            for step, chosen in enumerate(greedy):
                top, theirs = runtime.step(ids + greedy[:step])
                largest = max([largest, *(abs(float(logprobs[step, i]) - p) for i, p in list(zip(top, theirs))[:5])])
                if top[0] == chosen:
                    identical += 1
                elif logprobs[step, chosen] - logprobs[step, top[0]] < TIE:
                    ties += 1
                else:
                    diverged.append((prompt.name, step))
    rope = getattr(config, "rope_parameters", None) or {}
    about = f"{config.model_type} {rope.get('rope_type', '')}".strip()
    print(f"{folder.name} ({about}): loads; {len(different)} texts tokenized otherwise; {identical} steps identical, {ties} ties, {len(diverged)} diverged; within {largest:.5f} nats", flush=True)
    for text, special, ids, theirs in different[:4]:
        print(f"    {text!r} special={special}: {ids} is {theirs} in llama.cpp")
    return int(bool(different or diverged or not largest <= FAR))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--binary", type=Path, default=dequantized.BINARY, help="the ground-truth command")
    parser.add_argument("--quant", default="f32")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    failed = 0
    for folder in arguments.folders:
        status = dequantized.in_child(lambda: one(folder, arguments.binary, arguments.quant))
        if status:
            print(f"{folder.name}: failed with status {status}", flush=True)
        failed |= int(status != 0)
    return failed


if __name__ == "__main__":
    sys.exit(main())
