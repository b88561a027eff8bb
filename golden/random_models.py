# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "safetensors==0.8.0", "tokenizers==0.23.2", "numpy==2.4.6"]
# ///
"""Write small random Hugging Face folders: `uv run golden/random_models.py OUT_DIR [--seed S] [--count N]`.

Configurations are drawn from what llama, qwen2 and gpt2 allow, so that oracle and engine meet folders which nobody chose:

    uv run golden/random_models.py /tmp/random --count 12
    for m in /tmp/random/*; do uv run golden/oracle.py "$m" --out "/tmp/random-golden/${m##*/}"; done
    GROUND_TRUTH_MODELS=/tmp/random GROUND_TRUTH_GOLDEN=/tmp/random-golden cargo test
"""

import argparse
import json
import random
import shutil
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent
ROSTER = ROOT / "testdata" / "models"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ACTIVATIONS = ("silu", "silu", "silu", "gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "quick_gelu", "relu", "relu2", "tanh", "mish", "swish")
# Standard deviation of the logits: neither flat nor one-hot.
LOGIT_STD = (2.0, 4.0)


def rope(rng: random.Random, n_ctx: int) -> dict:
    """Parameters of one rotary embedding, in the spelling of transformers 5."""
    kind = rng.choice(("default", "default", "linear", "llama3", "yarn", "yarn"))
    out = {"rope_type": kind, "rope_theta": rng.choice((10000.0, 10000.0, 500000.0, 1000000.0, 25000.5))}
    if kind == "linear":
        out["factor"] = rng.choice((2.0, 4.0, 2.5))
    if kind == "llama3":
        out |= {"factor": rng.choice((4.0, 8.0)), "low_freq_factor": 1.0, "high_freq_factor": rng.choice((2.0, 4.0)), "original_max_position_embeddings": n_ctx // rng.choice((2, 4))}
    if kind == "yarn":
        factor = rng.choice((2, 4))
        out |= {"factor": float(factor)}
        if rng.random() < 0.8:
            out["original_max_position_embeddings"] = n_ctx // factor
        for field, values in (
            ("beta_fast", (16.0, 32, 8)), ("beta_slow", (1.0, 2)), ("truncate", (True, False, False)), ("attention_factor", (1.25, 0.9)),
        ):
            if rng.random() < 0.35:
                out[field] = rng.choice(values)
        if rng.random() < 0.4:
            out |= {"mscale": rng.choice((1.0, 0.707)), "mscale_all_dim": rng.choice((1.0, 0.5))}
    return out


def write_rope(config: dict, parameters: dict, rng: random.Random, old: bool) -> None:
    """The same parameters as transformers 4 or 5 writes them."""
    if not old:
        config["rope_parameters"] = parameters
        return
    theta, kind = parameters.pop("rope_theta"), parameters.pop("rope_type")
    if theta != 10000.0 or rng.random() < 0.5:
        config["rope_theta"] = theta
    config["rope_scaling"] = None if kind == "default" else {rng.choice(("type", "rope_type")): kind, **parameters}


def shared(rng: random.Random, vocab: int, dtype: str, old: bool) -> dict:
    config = {"vocab_size": vocab + rng.choice((0, 0, 5, 32)), "use_cache": True, "initializer_range": 0.02}
    config["torch_dtype" if old else "dtype"] = dtype
    config["transformers_version"] = "4.44.2" if old else "5.23.0"
    return config


def rotary_config(rng: random.Random, family: str, vocab: int, dtype: str, old: bool) -> dict:
    n_heads = rng.choice((1, 2, 3, 4, 6, 8))
    n_kv_heads = rng.choice([k for k in range(1, n_heads + 1) if n_heads % k == 0])
    head_dim = rng.choice((8, 16, 20, 32))
    free = rng.random() < 0.4
    hidden = rng.choice((48, 80, 96)) if free else n_heads * head_dim
    n_ctx, n_layers = rng.choice((32, 48, 64, 128, 200, 512)), rng.randint(1, 4)
    config = {
        "architectures": ["LlamaForCausalLM" if family == "llama" else "Qwen2ForCausalLM"], "model_type": family, "hidden_size": hidden,
        "intermediate_size": rng.choice((56, 96, 130)), "num_hidden_layers": n_layers, "num_attention_heads": n_heads,
        "max_position_embeddings": n_ctx, "rms_norm_eps": rng.choice((1e-5, 1e-6, 1e-3)), "hidden_act": rng.choice(ACTIVATIONS),
        "tie_word_embeddings": rng.random() < 0.5, "attention_dropout": 0.0, **shared(rng, vocab, dtype, old),
    }
    if n_kv_heads != n_heads or family == "qwen2" or rng.random() < 0.5:
        config["num_key_value_heads"] = n_kv_heads
    if free or rng.random() < 0.3:
        config["head_dim"] = head_dim
    write_rope(config, rope(rng, n_ctx), rng, old)
    if family == "llama":
        config |= {"attention_bias": rng.random() < 0.5, "mlp_bias": rng.random() < 0.4, "pretraining_tp": 1}
    elif rng.random() < 0.6:
        config |= {"use_sliding_window": True, "sliding_window": rng.choice((4, 9, 16)), "max_window_layers": rng.randint(0, n_layers)}
        if not old and rng.random() < 0.5:
            config["layer_types"] = [rng.choice(("full_attention", "sliding_attention")) for _ in range(n_layers)]
    else:  # a window that counts for nothing
        config |= {"use_sliding_window": False, "sliding_window": 4, "max_window_layers": 0}
    return config


def gpt2_config(rng: random.Random, vocab: int, dtype: str, old: bool) -> dict:
    n_head, head_dim = rng.choice((1, 2, 3, 4, 6)), rng.choice((8, 16, 20, 32))
    n_ctx = rng.choice((32, 48, 64, 128, 200, 512))
    config = {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": n_head * head_dim, "n_head": n_head, "n_layer": rng.randint(1, 4),
        "n_positions": n_ctx, "activation_function": rng.choice(("gelu_new", *ACTIVATIONS)), "layer_norm_epsilon": rng.choice((1e-5, 1e-6, 1e-3)),
        "attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1, **shared(rng, vocab, dtype, old),
    }
    for field, value, odds in (
        ("n_inner", rng.choice((None, 72, 200)), 0.7), ("scale_attn_weights", rng.random() < 0.6, 0.6), ("scale_attn_by_inverse_layer_idx", rng.random() < 0.7, 0.6),
        ("tie_word_embeddings", rng.random() < 0.6, 0.6), ("n_ctx", n_ctx, 0.5), ("summary_type", "cls_index", 0.3), ("reorder_and_upcast_attn", False, 0.3),
    ):
        if rng.random() < odds:
            config[field] = value
    return config


def sayable(config: dict) -> None:
    """Take out what GGUF has no key for, so that llama.cpp can be asked; the rest of the draw stays."""
    if config["model_type"] == "gpt2":
        config["activation_function"] = "gelu_new"
        for field in ("n_inner", "scale_attn_weights", "scale_attn_by_inverse_layer_idx"):
            config.pop(field, None)
        return
    config["hidden_act"] = "silu"
    config.pop("layer_types", None)
    if config["model_type"] == "qwen2":
        config |= {"use_sliding_window": False, "sliding_window": None}
    for field in ("rope_parameters", "rope_scaling"):
        if isinstance(config.get(field), dict):
            config[field].pop("truncate", None)


def end_of_text(rng: random.Random, config: dict, likely: list[int]) -> dict | None:
    """Ids that the model does produce as EOS, in config.json or generation_config.json or both; the latter's content, or None."""
    ids = rng.sample(likely, min(len(likely), 3)) if rng.random() < 0.5 else likely[:1]
    config |= {"bos_token_id": rng.randrange(config["vocab_size"]), "eos_token_id": ids[0] if rng.random() < 0.7 else ids}
    if rng.random() < 0.35:
        return None
    generation = {"bos_token_id": config["bos_token_id"], "transformers_version": "5.23.0"}
    if rng.random() < 0.3:
        generation["_from_model_config"] = True
    if rng.random() < 0.8:
        generation["eos_token_id"] = ids if len(ids) > 1 else ids[0]
    return generation


@torch.no_grad()
def produced(model: torch.nn.Module, rng: random.Random, vocab: int) -> list[int]:
    """Ids that greedy decoding comes to after a few steps."""
    out = []
    for _ in range(4):
        ids = [rng.randrange(vocab) for _ in range(8)]
        for _ in range(12):
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        out += ids[-6:]
    return sorted(set(out))


@torch.no_grad()
def randomise(model: torch.nn.Module, rng: random.Random, vocab: int) -> None:
    """Every tensor at a scale where it matters, then the last norm scaled so that the logits are neither flat nor one-hot."""
    for name, tensor in model.named_parameters():
        if tensor.ndim == 2 and "wpe" in name:
            tensor.normal_(0, 0.5)
        elif tensor.ndim == 2 and ("wte" in name or "embed_tokens" in name):
            tensor.normal_(0, 1)
        elif tensor.ndim == 2:
            fan_in = tensor.shape[0] if model.config.model_type == "gpt2" and "lm_head" not in name else tensor.shape[1]
            tensor.normal_(0, 1.2 / fan_in**0.5)
        elif name.endswith("bias"):
            tensor.normal_(0, 0.3)
        else:
            tensor.normal_(1, 0.25)
    n_ctx = model.config.max_position_embeddings
    ids = torch.tensor([[rng.randrange(vocab) for _ in range(min(n_ctx, 48))]])
    scale = rng.uniform(*LOGIT_STD) / model.double()(input_ids=ids).logits.std().item()
    last = model.transformer.ln_f if model.config.model_type == "gpt2" else model.model.norm
    for tensor in last.parameters():
        tensor.mul_(scale)
    model.float()


def write_weights(folder: Path, model: torch.nn.Module, config: dict, dtype: str, rng: random.Random) -> None:
    tied = model.config.tie_word_embeddings
    tensors = {n: t.detach().to(DTYPES[dtype]).contiguous() for n, t in model.state_dict().items() if not (tied and n == "lm_head.weight")}
    if config["model_type"] == "gpt2" and tied and rng.random() < 0.5:
        # The oldest spelling: no prefix, and the causal mask stored as a tensor that is no parameter.
        tensors = {n.removeprefix("transformer."): t for n, t in tensors.items()}
        n_ctx = config["n_positions"]
        tensors |= {f"h.{i}.attn.bias": torch.ones(n_ctx, n_ctx).tril()[None, None].to(DTYPES[dtype]) for i in range(config["n_layer"])}
    if rng.random() < 0.5:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"} if rng.random() < 0.8 else None)
        return
    count = rng.randint(1, 3)
    shards = [f"model-{i + 1:05d}-of-{count:05d}.safetensors" for i in range(count)]
    weight_map = {name: rng.choice(shards) for name in tensors}
    for shard in shards:
        save_file({n: t for n, t in tensors.items() if weight_map[n] == shard}, folder / shard, metadata={"format": "pt"})
    total = sum(t.nbytes for t in tensors.values())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2) + "\n")


def write_model(folder: Path, seed: int, number: int, gguf: bool) -> str:
    rng = random.Random(f"{seed}/{number}")
    torch.manual_seed(rng.randrange(2**31))
    family = ("llama", "qwen2", "gpt2")[number % 3]
    old, dtype = rng.random() < 0.5, rng.choice(list(DTYPES))
    source = ROSTER / rng.choice(sorted(p.name for p in ROSTER.iterdir() if (p / "tokenizer.json").is_file()))
    vocab = json.loads((source / "tokenizer.json").read_text())
    vocab = 1 + max([*vocab["model"]["vocab"].values(), *(t["id"] for t in vocab["added_tokens"])])
    config = gpt2_config(rng, vocab, dtype, old) if family == "gpt2" else rotary_config(rng, family, vocab, dtype, old)
    if gguf:
        sayable(config)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(folder), dtype=torch.float32, attn_implementation="eager").eval()
    randomise(model, rng, vocab)
    generation = end_of_text(rng, config, produced(model, rng, vocab))
    if gguf:  # BOS is the one that the roster's SentencePiece-style tokenizer adds
        config["bos_token_id"] = 1
        if generation is not None:
            generation["bos_token_id"] = 1
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    write_weights(folder, model, config, dtype, rng)
    return f"{family}, {dtype}, transformers {config['transformers_version']} spelling, tokenizer of {source.name}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=9)
    parser.add_argument("--gguf", action="store_true", help="draw nothing that GGUF cannot say")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    for number in range(arguments.count):
        folder = arguments.out / f"random-{arguments.seed}-{number:02d}"
        if folder.exists():
            shutil.rmtree(folder)
        print(f"{folder}: {write_model(folder, arguments.seed, number, arguments.gguf)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
