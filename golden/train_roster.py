# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "safetensors==0.8.0", "tokenizers==0.23.2", "numpy==2.4.6"]
# ///
"""Train the roster: `uv run golden/train_roster.py [MODEL ...]` writes testdata/models and testdata/texts.

Seeded and on the CPU. The same machine writes the same bytes again; another CPU may round differently in training,
so the committed weights are the source and this script says how they came to be.
"""

import argparse
import hashlib
import json
import math
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer

import corpus
import roster_tokenizers

ROOT = Path(__file__).resolve().parent.parent
SEED = 20260711
N_CTX = 256
DOCUMENTS = 12_000
ROWS = 16
TEXT_LINES = 300
THREADS = 2  # part of the seed: another number sums in another order
# Zeroing any one tensor must move the logits by more than 100 x the float32 floor, which is about 3e-7.
ALIVE = 100 * 3e-7


@dataclass(frozen=True)
class Recipe:
    """What one roster model is and how long it is trained."""

    config: dict
    generation: dict
    tokenizer_size: int
    steps: int
    learning_rate: float
    bos: str | None
    eos: str
    turn_end: str  # what ends a document that answers a fixed question
    shards: int = 1


RECIPES = {
    # transformers 4 spelling: `rope_theta`, `torch_dtype`.
    "llama-tiny": Recipe(
        config={
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 256, "intermediate_size": 512,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 768,
            "max_position_embeddings": N_CTX, "hidden_act": "silu", "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "rope_scaling": None,
            "attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False, "pretraining_tp": 1, "initializer_range": 0.02,
            "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "use_cache": True, "torch_dtype": "float32",
            "transformers_version": "4.46.0",
        },
        generation={"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 2, "transformers_version": "4.46.0"},
        tokenizer_size=768, steps=450, learning_rate=3e-3, bos="<s>", eos="</s>", turn_end="</s>",
    ),
    # transformers 5 spelling: `rope_parameters`, `dtype`. The vocabulary is padded past the tokenizer's, as Qwen2's is.
    "qwen2-tiny": Recipe(
        config={
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 256, "intermediate_size": 512,
            "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 768,
            "max_position_embeddings": N_CTX, "hidden_act": "silu", "rms_norm_eps": 1e-06,
            "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"}, "layer_types": ["full_attention"] * 6,
            "use_sliding_window": False, "sliding_window": None, "max_window_layers": 6, "attention_dropout": 0.0,
            "initializer_range": 0.02, "tie_word_embeddings": True, "bos_token_id": 757, "eos_token_id": 759, "pad_token_id": None,
            "use_cache": True, "dtype": "bfloat16", "transformers_version": "5.23.0",
        },
        generation={"bos_token_id": 757, "eos_token_id": [759, 757], "do_sample": False, "transformers_version": "5.23.0"},
        tokenizer_size=760, steps=400, learning_rate=2e-3, bos=None, eos="<|endoftext|>", turn_end="<|im_end|>", shards=2,
    ),
    "gpt2-tiny": Recipe(
        config={
            "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 256, "n_inner": None, "n_layer": 2, "n_head": 4,
            "n_positions": N_CTX, "n_ctx": N_CTX, "vocab_size": 640, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05,
            "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "initializer_range": 0.02, "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False, "reorder_and_upcast_attn": False, "tie_word_embeddings": True, "use_cache": True,
            "bos_token_id": 639, "eos_token_id": 639, "torch_dtype": "float16", "transformers_version": "4.46.0",
        },
        generation={"_from_model_config": True, "bos_token_id": 639, "eos_token_id": 639, "transformers_version": "4.46.0"},
        tokenizer_size=640, steps=450, learning_rate=3e-3, bos=None, eos="<|endoftext|>", turn_end="<|endoftext|>",
    ),
}
# What each model is the only one to show.
WHAT = {
    "llama-tiny": "SentencePiece-style BPE with byte fallback and all merge splits, BOS added; transformers 4 spelling of the config",
    "qwen2-tiny": "q, k and v biases, two shards with an index, two EOS ids, a vocabulary padded past the tokenizer's; NFC and byte-level BPE; transformers 5 spelling",
    "gpt2-tiny": "learned positions, LayerNorm, Conv1D layout, `gelu_new`, `n_inner` null; byte-level BPE with GPT-2's split",
}
README = """# Models

Written by `golden/train_roster.py` and trained by it from nothing, for this project alone: small, but each learned its text.
Each folder is a Hugging Face model with its own tokenizer; `training.json` is the record of its training. Hidden size 256, context 256.

| model | architecture | dtype | parameters | blocks | heads on key-value heads | vocabulary | head | only here |
|---|---|---|---|---|---|---|---|---|
{shapes}

**Data.** {documents:,} documents ({characters:,} characters) from the templates of `golden/corpus.py`, no text of others, sha256
`{corpus}`.
Seed {seed}, torch {torch}, transformers {transformers}, CPU, two threads; AdamW, {rows} rows of {ids} ids a step.
The standard prompts get the right answer, the four canary prompts continue for at least 32 tokens with wide margins, and some prompts sit
at chosen narrow ones.

| model | steps | learning rate | ids in the corpus | training loss | held-out loss | ratio | smallest canary margin | weakest tensor |
|---|---|---|---|---|---|---|---|---|
{losses}

Losses are nats a token of the saved, rounded weights over the whole of `testdata/texts/training.txt` and `held-out.txt`; the script
refuses a ratio over 1.5. The margin is in logits, the smallest of 4 x 32 greedy steps, and at least 2. Weakest tensor: zeroing any one
tensor changes the logits by at least this much (relative RMS, on the prompt where it shows most); float32's own rounding is about 3e-7.

| file | bytes | sha256 |
|---|---|---|
{hashes}

Another CPU may round differently in training. The committed weights are the source; the script says how they came to be.

## `llama-outlier`

Written by `golden/outlier_model.py` from `llama-tiny`, with its config and tokenizer: the same function with a few channels a thousand times
larger. In front of each group of projections one channel of every 32 has its norm weight multiplied by 1,024 (one of the eight by 16,384),
and the columns that read it divided by the same. Powers of two change no mantissa: in float32 the answers are those of `llama-tiny` to the
bit. What cannot hold such a range shows (relative RMS of the logits, and changed argmaxes over the 1,589 positions of the golden):

| path | `llama-tiny` | `llama-outlier` |
|---|---|---|
| float16 activations | 2.6e-4, 1 | overflow: not finite, 432 |
| 8-bit activations (Q8_0) | 9.2e-3, 2 | 0.89, 1,328; 107 of the 128 canary steps |
| f16 weights | 3.1e-4, 0 | 5.3e-4, 0 |
| bf16 weights | 2.5e-3, 1 | 2.5e-3, 1 |
| Q8_0 weights | 6.2e-3, 3 | 0.145, 24 |
| AprQ8 weights | 1.2e-2, 2 | 0.146, 20 |
| Q4_0 weights | 0.10, 29 | 0.18, 39 |

8-bit activations lose the 31 neighbours of a large channel, 8-bit weights lose the column that was divided. No canary step changes in the
rows of weights. `model.safetensors`: 6,298,792 bytes, sha256 `c88d7857aaff6715b259e4685393c74eda7848c8d8d7bdcbaaf9a340d9a0711e`.
"""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Encoder:
    """Documents to ids, segment by segment."""

    def __init__(self, tokenizer: Tokenizer, recipe: Recipe):
        self.tokenizer, self.recipe = tokenizer, recipe
        self.continuation = Tokenizer.from_str(tokenizer.to_str())
        if recipe.bos:  # a later segment continues a text, so no space goes before it
            self.continuation.normalizer = roster_tokenizers.normalizers.Replace(" ", roster_tokenizers.SPACE)

    def ids(self, document: corpus.Document, continues: bool = False) -> list[int]:
        """Ids of a document, its segments encoded apart, without specials; `continues` where other text goes before it."""
        ids = []
        for i, segment in enumerate(document):
            ids += (self.continuation if i or continues else self.tokenizer).encode(segment, add_special_tokens=False).ids
        return ids

    def special(self, token: str | None) -> list[int]:
        return [] if token is None else [self.tokenizer.token_to_id(token)]


def pack(rng: random.Random, encoder: Encoder, documents: list[corpus.Document], fixed: list[corpus.Document]) -> list[int]:
    """One training row of N_CTX + 1 ids, starting at a document; documents are separated by line ends or by EOS."""
    recipe, lines, continues = encoder.recipe, rng.random() < 0.5, False
    row = encoder.special(recipe.bos)
    while len(row) < N_CTX + 1:
        is_fixed = rng.random() < (0.45 if len(row) <= 1 else 0.08)
        document = rng.choice(fixed if is_fixed else documents)
        whole = ("".join(document),) if rng.random() < 0.3 and not is_fixed else document
        row += encoder.ids(whole, continues)
        continues = lines and not is_fixed
        if continues:
            row += encoder.ids(("\n",), continues)
        else:
            row += encoder.special(recipe.turn_end if is_fixed else recipe.eos) + encoder.special(recipe.bos)
    return row[: N_CTX + 1]


def build(recipe: Recipe) -> torch.nn.Module:
    config = transformers.AutoConfig.for_model(**recipe.config)
    config._attn_implementation = "sdpa"
    return transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def train(name: str, recipe: Recipe, encoder: Encoder, documents: list[corpus.Document]) -> torch.nn.Module:
    """AdamW with a warm-up and a cosine decay; weight decay on matrices only."""
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    model = build(recipe).train()
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}], lr=recipe.learning_rate, betas=(0.9, 0.95)
    )
    warmup = 40
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, step / recipe.steps)))),
    )
    fixed, start = list(corpus.FIXED.values()), time.time()
    for step in range(recipe.steps):
        rows = torch.tensor([pack(rng, encoder, documents, fixed) for _ in range(ROWS)])
        logits = model(input_ids=rows[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == recipe.steps - 1:
            print(f"{name}: step {step}, loss {loss.item():.3f}, {time.time() - start:.0f} s", flush=True)
    return model.eval()


def write_folder(folder: Path, recipe: Recipe, tokenizer: Tokenizer, model: torch.nn.Module) -> None:
    """A Hugging Face folder with the weights rounded to their dtype."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*"):
        old.unlink()
    dtype = DTYPES[recipe.config.get("dtype") or recipe.config["torch_dtype"]]
    tied = recipe.config["tie_word_embeddings"]
    tensors = {n: t.detach().to(dtype).contiguous() for n, t in model.state_dict().items() if not (tied and n == "lm_head.weight")}
    if recipe.shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        names, total, weight_map, shards, used = list(tensors), sum(t.nbytes for t in tensors.values()), {}, [{} for _ in range(recipe.shards)], 0
        for tensor in names:
            shard = min(used * recipe.shards // total, recipe.shards - 1)
            shards[shard][tensor] = tensors[tensor]
            weight_map[tensor] = f"model-{shard + 1:05d}-of-{recipe.shards:05d}.safetensors"
            used += tensors[tensor].nbytes
        for i, shard in enumerate(shards):
            save_file(shard, folder / f"model-{i + 1:05d}-of-{recipe.shards:05d}.safetensors", metadata={"format": "pt"})
        index = {"metadata": {"total_parameters": sum(t.numel() for t in tensors.values()), "total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    (folder / "config.json").write_text(json.dumps(recipe.config, indent=2) + "\n")
    (folder / "generation_config.json").write_text(json.dumps(recipe.generation, indent=2) + "\n")
    tokenizer.save(str(folder / "tokenizer.json"))


def load(folder: Path) -> torch.nn.Module:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


@torch.no_grad()
def text_loss(model: torch.nn.Module, tokenizer: Tokenizer, text: str) -> tuple[float, int]:
    """Mean negative log-likelihood over a whole text, in windows of 128 that each score 64 new tokens; and the token count."""
    ids = torch.tensor(tokenizer.encode(text).ids)
    window, stride, total, scored = 128, 64, 0.0, 1
    for begin in range(0, len(ids), stride):
        end = min(begin + window, len(ids))
        log_probs = model(input_ids=ids[None, begin:end]).logits[0].double().log_softmax(-1)
        targets = torch.arange(max(scored, begin + 1), end)
        total -= log_probs[targets - 1 - begin, ids[targets]].sum().item()
        scored = end
        if end == len(ids):
            break
    return total / (len(ids) - 1), len(ids)


@torch.no_grad()
def weakest_tensor(model: torch.nn.Module, encoder: Encoder) -> tuple[str, float]:
    """The tensor whose zeroing moves the logits least, and by how much (relative RMS, the largest over the fixed prompts)."""
    rows = [torch.tensor([encoder.special(encoder.recipe.bos) + encoder.ids(d)]) for d in list(corpus.FIXED.values())[:4]]
    reference = [model(input_ids=row).logits for row in rows]
    effects = {}
    for name, tensor in model.named_parameters():
        kept = tensor.clone()
        tensor.zero_()
        moved = [model(input_ids=row).logits for row in rows]
        tensor.copy_(kept)
        effects[name] = max(((m - r).norm() / r.norm()).item() for m, r in zip(moved, reference, strict=True))
    return min(effects.items(), key=lambda item: item[1])


def answers(model: torch.nn.Module, encoder: Encoder) -> list[tuple[str, str, float, bool]]:
    """Greedy continuation of each fixed prompt, 32 tokens or to the end of text, its smallest margin, and whether it is right."""
    out = []
    stop = set(encoder.special(encoder.recipe.eos) + encoder.special(encoder.recipe.turn_end))
    for name, document in corpus.FIXED.items():
        ids, smallest, new = encoder.tokenizer.encode(document[0]).ids, math.inf, []
        while len(new) < 32 and not stop & set(new):
            with torch.no_grad():
                top = model(input_ids=torch.tensor([ids + new])).logits[0, -1].topk(2)
            smallest = min(smallest, (top.values[0] - top.values[1]).item())
            new.append(top.indices[0].item())
        text = encoder.tokenizer.decode(ids + new, skip_special_tokens=True)[len(encoder.tokenizer.decode(ids, skip_special_tokens=True)) :]
        wanted, got = "".join(document[1:]).strip(), text.strip()
        out.append((name, text, smallest, wanted.startswith(got) and (len(new) == 32 or got == wanted)))
    return out


def publish(folder: Path, model: torch.nn.Module, encoder: Encoder) -> None:
    """What the model says unasked: 200 greedy tokens from BOS alone, in the form in which others publish such a text."""
    begin = encoder.special(encoder.recipe.bos)
    if begin:
        ids = model.generate(torch.tensor([begin]), do_sample=False, max_new_tokens=200, eos_token_id=None)[0, len(begin) :]
        (folder / "expected.txt").write_text(encoder.tokenizer.decode(ids.tolist(), skip_special_tokens=False) + "\n")


def text_of(documents: Iterator[corpus.Document]) -> str:
    """A text of TEXT_LINES lines or a few more, whole documents only."""
    out: list[str] = []
    while len(out) < TEXT_LINES:
        out += "".join(next(documents)).rstrip("\n").split("\n")
    return "\n".join(out) + "\n"


def measure(
    name: str, recipe: Recipe, encoder: Encoder, folder: Path, documents: list[corpus.Document], texts: dict[str, str]
) -> tuple[dict, list[str]]:
    """What training.json says of the model as saved, and why it must not be committed, if there is a reason."""
    model = load(folder)
    publish(folder, model, encoder)
    losses = {text: text_loss(model, encoder.tokenizer, texts[text]) for text in texts}
    ratio = losses["held-out"][0] / losses["training"][0]
    tensor, effect = weakest_tensor(model, encoder)
    told = answers(model, encoder)
    for prompt, text, margin, right in told:
        print(f"  {prompt:22} {margin:6.2f}  {'right' if right else 'WRONG'}  {text!r}")
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"  held-out {losses['held-out'][0]:.4f} / training {losses['training'][0]:.4f} = {ratio:.3f}; weakest tensor {tensor} {effect:.2e}; {size:,} bytes")
    record = {
        "model": name, "parameters": model.num_parameters(), "seed": SEED, "steps": recipe.steps, "rows_per_step": ROWS, "ids_per_row": N_CTX,
        "learning_rate": recipe.learning_rate,
        "corpus": {
            "documents": DOCUMENTS, "characters": sum(len("".join(d)) for d in documents), "tokens": sum(len(encoder.ids(d)) for d in documents),
            "sha256": hashlib.sha256("\0".join("\1".join(d) for d in documents).encode()).hexdigest(),
        },
        "loss": {"training": round(losses["training"][0], 6), "held_out": round(losses["held-out"][0], 6), "ratio": round(ratio, 6)},
        "loss_tokens": {"training": losses["training"][1], "held_out": losses["held-out"][1]},
        "weakest_tensor": {"name": tensor, "relative_rms_when_zeroed": round(effect, 6)},
        "canary_margins": {prompt: round(margin, 4) for prompt, _, margin, _ in told[:4]},
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    problems = {
        f"held-out loss is {ratio:.2f} x training loss, at most 1.5 is allowed": ratio <= 1.5,
        f"zeroing {tensor} moves the logits by {effect:.1e} only, more than {ALIVE:.1e} is needed": effect > ALIVE,
        f"the folder has {size:,} bytes, at most {8 * 2**20:,} are allowed": size <= 8 * 2**20,
        "a fixed prompt gets a wrong answer": all(right for *_, right in told),
        "a canary prompt has a step with a margin below 2 nats": min(margin for _, _, margin, _ in told[:4]) >= 2.0,
    }
    return record, [problem for problem, holds in problems.items() if not holds]


def readme(models: Path) -> str:
    """The page beside the models, from what lies there."""
    records = [json.loads(path.read_text()) for path in sorted(models.glob("*/training.json"))]
    shapes, losses, hashes = [], [], []
    for record in records:
        name = record["model"]
        config, loss, margins = RECIPES[name].config, record["loss"], record["canary_margins"]
        layers, heads = config.get("num_hidden_layers") or config["n_layer"], config.get("num_attention_heads") or config["n_head"]
        shapes.append(
            f"| `{name}` | {config['model_type']} | {config.get('dtype') or config['torch_dtype']} | {record['parameters']:,} | {layers} | "
            f"{heads} on {config.get('num_key_value_heads', heads)} | {config['vocab_size']} | {'tied' if config['tie_word_embeddings'] else 'its own'} | {WHAT[name]} |"
        )
        losses.append(
            f"| `{name}` | {record['steps']} | {record['learning_rate']} | {record['corpus']['tokens']:,} | {loss['training']:.4f} | {loss['held_out']:.4f} | {loss['ratio']:.3f} | "
            f"{min(margins.values()):.2f} | {record['weakest_tensor']['relative_rms_when_zeroed']:.3f} |"
        )
        for path in sorted((models / name).iterdir()):
            if path.suffix in (".safetensors", ".json", ".txt"):
                hashes.append(f"| `{name}/{path.name}` | {path.stat().st_size:,} | `{hashlib.sha256(path.read_bytes()).hexdigest()}` |")
    record = records[0]
    return README.format(
        seed=record["seed"], rows=record["rows_per_step"], ids=record["ids_per_row"], documents=record["corpus"]["documents"], characters=record["corpus"]["characters"],
        corpus=record["corpus"]["sha256"], shapes="\n".join(shapes), losses="\n".join(losses), hashes="\n".join(hashes), **record["versions"],
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(RECIPES), help="which of the roster to train (default: all)")
    parser.add_argument("--out", type=Path, default=ROOT / "testdata")
    parser.add_argument("--measure", action="store_true", help="train nothing: measure what is there and write training.json again")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)

    draw = corpus.Draw(SEED, held_out=False)
    documents = [draw.document() for _ in range(DOCUMENTS)]
    texts_folder = arguments.out / "texts"
    texts_folder.mkdir(parents=True, exist_ok=True)
    held_out = corpus.Draw(SEED + 1, held_out=True)
    texts = {"training": text_of(iter(documents)), "held-out": text_of(iter(held_out.document, None))}
    for name, text in texts.items():
        (texts_folder / f"{name}.txt").write_text(text)

    failed = False
    for name in arguments.models:
        recipe, folder = RECIPES[name], arguments.out / "models" / name
        if arguments.measure:
            encoder = Encoder(Tokenizer.from_file(str(folder / "tokenizer.json")), recipe)
        else:
            everything = ["".join(d) for d in [*documents, *corpus.FIXED.values()]]
            build_tokenizer = getattr(roster_tokenizers, recipe.config["model_type"])
            encoder = Encoder(build_tokenizer(everything, recipe.tokenizer_size), recipe)
            write_folder(folder, recipe, encoder.tokenizer, train(name, recipe, encoder, documents))
        record, problems = measure(name, recipe, encoder, folder, documents, texts)
        for problem in problems:
            print(f"{name}: refused: {problem}", file=sys.stderr)
        failed |= bool(problems)
        (folder / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    (arguments.out / "models" / "README.md").write_text(readme(arguments.out / "models"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
