# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "safetensors==0.8.0", "tokenizers==0.23.2", "numpy==2.4.6"]
# ///
"""Write the golden of one Hugging Face folder: `uv run golden/oracle.py MODEL_DIR [--out DIR]`.

The answers are those of transformers in float32, and of `tokenizers` on tokenizer.json as the file says it. Nothing of this
project is imported but the modules beside this script, which hold what is asked and how it is run. `golden/README.md`
states the rules that a reader of a golden needs.
"""

import argparse
import dataclasses
import hashlib
import json
import platform
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import tokenizers
import torch
import transformers
from tokenizers import Tokenizer

import oracle_check
import oracle_prompts
import oracle_run
from oracle_prompts import Prompt
from oracle_run import Refusal, Runner, log_sum_exp, relative_rms

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = "ground-truth/golden/1"
GENERATOR = ("oracle.py", "oracle_check.py", "oracle_prompts.py", "oracle_run.py")
TEXTS = ROOT / "testdata" / "texts"
# The context-limit prompt is asked of contexts up to this length.
LONGEST_CONTEXT = 4096
# Full logits of a prompt hold at most so many numbers when the vocabulary is larger than this.
LARGE_VOCABULARY, FULL_LOGITS = 16_384, 2**20
TOP, TOP_POSITIONS = 10, 48
WIDE, KNIFE = 2.0, 0.25
PERPLEXITY_IDS, PERPLEXITY_WINDOW = 1024, 128
# A cached decode may leave the whole forward's argmax only where the two logits are closer than this many floors.
TIE = 16.0
NOT_CHOSEN = "not among the prompts chosen for this model"


def f32(value) -> str:
    """The bits of the nearest float32, 8 hex digits."""
    return f"{struct.unpack('>I', struct.pack('>f', np.float32(value)))[0]:08x}"


def f64(value: float) -> str:
    """The bits of a float64, 16 hex digits."""
    return struct.pack(">d", value).hex()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def cpu() -> str:
    """The processor's name, as the system tells it."""
    try:
        names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def provenance() -> dict:
    here = Path(__file__).resolve().parent
    return {
        "runtime": "transformers",
        "versions": {
            "transformers": transformers.__version__, "torch": torch.__version__, "tokenizers": tokenizers.__version__,
            "safetensors": safetensors.__version__, "numpy": np.__version__, "python": platform.python_version(),
        },
        "dtype": "float32", "attention": "eager", "threads": torch.get_num_threads(), "cpu": cpu(),
        "generator": sha256(b"".join((here / name).read_bytes() for name in GENERATOR)),
    }


class Oracle:
    """One model and the folder its golden goes to. `model` is given where its weights are not those of the folder."""

    def __init__(self, folder: Path, out: Path, name: str, model: torch.nn.Module | None = None):
        if not (folder / "config.json").is_file():
            raise Refusal("no config.json; a Hugging Face folder is needed")
        if not (folder / "tokenizer.json").is_file():
            raise Refusal("no tokenizer.json; convert the tokenizer to the `tokenizers` format first")
        self.folder, self.out, self.name = folder, out, name
        self.runner = Runner(model or oracle_run.load(folder))
        self.oracle = provenance()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        config = self.runner.config
        self.n_ctx, self.vocab = config.max_position_embeddings, config.vocab_size
        self.eos = self.runner.eos()
        self.head = {"schema": SCHEMA, "model": name, "oracle": self.oracle}
        self.not_asked: list[dict] = []
        # Per asked prompt: the prompt, its ids, greedy ids, float32 logits rows that float64 needs, sketches.
        self.asked: list[dict] = []

    # What is asked.

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=False)

    def one_token_text(self) -> str | None:
        """A text of exactly one id, a plain word where there is one."""
        words = ["The", "Hello", "the", "I", "A", "a", "1", "x", " the", " a", " "]
        candidates = words + [self.decode([i]) for i in range(min(self.tokenizer.get_vocab_size(), 4096))]
        return next((t for t in candidates if t and len(self.encode(t, False)) == 1), None)

    def text_of_length(self, wanted: int) -> str | None:
        """A beginning of the held-out text, repeated where it is short, that has exactly so many ids."""
        text, source = "", (TEXTS / "held-out.txt").read_text()
        while len(self.encode(text)) < wanted + 16:
            text += source
        low, high = 0, len(text)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if len(self.encode(text[:middle])) < wanted else (low, middle)
        near = [text[:end] for end in range(max(0, low - 24), low + 24)]
        near += [start + tail for start in near for tail in (".", " a", " 1", ", b", " x y", "!?")]
        return next((t for t in near if len(self.encode(t)) == wanted), None)

    def ids_of(self, prompt: Prompt) -> tuple[str, list[int], int] | str:
        """Text, ids and new tokens of a prompt, or the reason why it cannot be asked."""
        text = prompt.text
        if prompt.name == "one-token":
            text = self.one_token_text()
            if text is None:
                return "no text of exactly one id was found"
        if prompt.name == "context-limit":
            if self.n_ctx > LONGEST_CONTEXT:
                return f"the context of {self.n_ctx} is longer than {LONGEST_CONTEXT}"
            wanted = self.n_ctx - prompt.max_new_tokens
            text = self.text_of_length(wanted) if wanted >= 1 else None
            if text is None:
                return f"no text of exactly {wanted} ids was found"
        ids = self.encode(text, prompt.add_special_tokens)
        if not ids:
            return "the tokenizer gives no ids"
        if max(ids) >= self.vocab:
            return f"id {max(ids)} is outside the model's vocabulary of {self.vocab}"
        if len(ids) >= self.n_ctx:
            return f"{len(ids)} ids leave no room in the context of {self.n_ctx}"
        return text, ids, min(prompt.max_new_tokens, self.n_ctx - len(ids))

    # The float32 run.

    def ask(self, prompt: Prompt) -> None:
        """Run one prompt in float32 and keep what the float64 run is compared with."""
        found = self.ids_of(prompt)
        if isinstance(found, str):
            self.not_asked.append({"name": prompt.name, "reason": found})
            return
        text, ids, room = found
        greedy = self.runner.greedy(ids, room, self.eos if prompt.stop_at_eos else [])
        if prompt.category == "canary" and prompt.stop_at_eos and (generated := self.runner.generate(ids, room)) != greedy:
            raise Refusal(f"{prompt.name}: generate() gives {generated}, the greedy loop {greedy}")
        sequence = ids + greedy
        logits = self.runner.logits(sequence)
        if not np.isfinite(logits).all():
            raise Refusal(f"{prompt.name}: a logit is not finite")
        entry = {"prompt": prompt, "text": text, "ids": ids, "greedy": greedy, "room": room, "logits": logits}
        if prompt.full:
            entry["sketch.prefill.f32"] = self.runner.sketch(ids, decode=False)
            entry["sketch.decode.f32"] = self.runner.sketch(ids + greedy[:1], decode=True)
        self.asked.append(entry)

    def finish(self, entry: dict) -> dict:
        """The float64 run of one prompt; writes its files and returns its line of the index."""
        prompt, ids, greedy, logits = entry["prompt"], entry["ids"], entry["greedy"], entry.pop("logits")
        sequence = ids + greedy
        wide = self.runner.logits(sequence)
        floor, rms = relative_rms(logits, wide)
        if not floor < 1e-4:
            raise Refusal(f"{prompt.name}: float32 is {floor:.1e} from float64 (relative RMS), which is no reference")
        margins = self.margins(prompt, logits, len(ids), greedy, TIE * floor * rms)
        smallest = min(margins)
        margin_class = "wide" if smallest >= WIDE else "knife" if smallest < KNIFE else "median"
        stop = "eos" if prompt.stop_at_eos and greedy[-1] in self.eos else "length"
        lse = log_sum_exp(logits)
        golden = {
            **self.head,
            "prompt": {"name": prompt.name, "category": prompt.category, "text": entry["text"], "add_special_tokens": prompt.add_special_tokens, "ids": ids},
            "greedy": {
                "max_new_tokens": entry["room"], "stop_at_eos": prompt.stop_at_eos, "ids": greedy, "text": self.decode(greedy), "stop": stop,
                "margins": [f32(m) for m in margins], "margin_class": margin_class,
            },
            "forced": {
                "logsumexp": [f32(v) for v in lse],
                "nll": [f32(lse[i] - float(logits[i, sequence[i + 1]])) for i in range(len(sequence) - 1)],
                "top": [self.top(position, logits[position], lse[position]) for position in range(max(0, len(sequence) - TOP_POSITIONS), len(sequence))],
            },
            "logit_rms": f32(rms), "floor": f32(floor),
        }
        self.write_json(f"{prompt.name}.json", golden)
        if prompt.full:
            self.write_full(entry, logits, wide)
        print(f"  {prompt.name:22} {len(ids):4} + {len(greedy):3} {stop:6} {margin_class:6} {smallest:8.4f} floor {floor:.1e}  {golden['greedy']['text'][:70]!r}", flush=True)
        return {
            "name": prompt.name, "category": prompt.category, "n_prompt": len(ids), "n_greedy": len(greedy), "stop": stop,
            "margin_class": margin_class, "full": prompt.full,
        }

    def margins(self, prompt: Prompt, logits: np.ndarray, n_prompt: int, greedy: list[int], tie: float) -> list[float]:
        """Per step, the chosen logit less the best other one, in the whole forward."""
        margins = []
        for step, chosen in enumerate(greedy):
            row = logits[n_prompt - 1 + step].astype(np.float64)
            margins.append(float(np.float32(row[chosen] - np.max(np.delete(row, chosen), initial=-np.inf))))
            if margins[-1] < -tie:
                raise Refusal(f"{prompt.name}: step {step} of the cached decode chose {chosen}, {-margins[-1]:.2e} below the whole forward's choice")
        return margins

    def top(self, position: int, row: np.ndarray, lse: float) -> dict:
        order = np.lexsort((np.arange(len(row)), -row.astype(np.float64)))[: min(TOP, len(row))]
        return {"position": position, "ids": order.tolist(), "logprobs": [f32(float(row[i]) - lse) for i in order]}

    def write_full(self, entry: dict, logits: np.ndarray, wide: np.ndarray) -> None:
        prompt, kept = entry["prompt"], len(logits)
        if prompt.name == "context-limit":
            kept = min(kept, 64)
        if self.vocab > LARGE_VOCABULARY:
            kept = min(kept, max(4, FULL_LOGITS // self.vocab))
        tensors = {
            "positions": np.arange(len(logits) - kept, len(logits), dtype=np.int64),
            "logits.f32": logits[-kept:], "logits.f64": wide[-kept:],
            "sketch.prefill.f32": entry["sketch.prefill.f32"], "sketch.prefill.f64": self.runner.sketch(entry["ids"], decode=False),
            "sketch.decode.f32": entry["sketch.decode.f32"], "sketch.decode.f64": self.runner.sketch(entry["ids"] + entry["greedy"][:1], decode=True),
        }
        stages = json.dumps(self.runner.stages(), separators=(",", ":"))
        data = safetensors.numpy.save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata={"stages": stages})
        (self.out / f"{prompt.name}.safetensors").write_bytes(data)

    # Perplexity, tokenizer, index.

    def perplexity(self, path: Path) -> dict:
        """The float32 half of the perplexity golden of one text."""
        text = path.read_bytes()
        ids = self.encode(text.decode())[:PERPLEXITY_IDS]
        window = min(self.n_ctx, PERPLEXITY_WINDOW)
        stride = max(1, window // 2)
        golden = {
            **self.head, "text": {"name": path.stem, "sha256": sha256(text)}, "window": window, "stride": stride,
            "bos": ids[:1] == self.encode("")[:1], "tokens": len(ids) - 1,
        }
        return {"golden": golden, "ids": ids, "nll": oracle_run.token_nll(self.runner, ids, window, stride)}

    def finish_perplexity(self, entry: dict) -> str:
        """The float64 half: how far float32's own rounding moves the sum, were no two errors to cancel."""
        golden, ids, nll = entry["golden"], entry["ids"], entry["nll"]
        wide = oracle_run.token_nll(self.runner, ids, golden["window"], golden["stride"])
        floor = float(np.abs(nll - wide).sum() / wide.sum())
        golden |= {"sum_nll": f64(float(nll.sum())), "floor": f32(floor), "ids_sha256": sha256(np.array(ids, dtype="<u4").tobytes())}
        name = f"perplexity-{golden['text']['name']}.json"
        self.write_json(name, golden)
        print(f"  {name}: perplexity {np.exp(nll.mean()):.4f} over {golden['tokens']} tokens, floor {floor:.1e}")
        return name

    def tokenize(self) -> None:
        cases = []
        for text in oracle_prompts.tokenizer_cases():
            for special in (True, False):
                ids = self.encode(text, special)
                cases.append({"text": text, "add_special_tokens": special, "ids": ids, "decoded": self.decode(ids).encode("utf-8", "replace").hex()})
        self.write_json("tokenizer.json", {**self.head, "cases": cases}, indent=None)

    def write_json(self, name: str, value: dict, indent: int | None = 1) -> None:
        """Floats and ids on one line each: small, and a diff still shows where it changed."""
        (self.out / name).write_text(layout(value) + "\n")

    def model_files(self) -> tuple[list[Path], list[Path]]:
        """The files of the folder that anything reads, and among them those with tensors."""
        index = self.folder / "model.safetensors.index.json"
        if (self.folder / "model.safetensors").is_file():
            weights = [self.folder / "model.safetensors"]
            others = []
        else:
            weights = sorted({self.folder / shard for shard in json.loads(index.read_text())["weight_map"].values()})
            others = [index]
        names = ("config.json", "generation_config.json", "tokenizer.json", "training.json", "expected.txt")
        others += [self.folder / name for name in names if (self.folder / name).is_file()]
        return sorted(weights + others), weights

    def index(self, carried: bool, prompts: list[dict], perplexity: list[str]) -> dict:
        files, weights = self.model_files()
        tensors, sizes = [], {}
        for path in weights:
            with safetensors.safe_open(path, "np") as file:
                for name in file.keys():
                    part = file.get_slice(name)
                    tensors.append({"name": name, "dtype": part.get_dtype(), "shape": part.get_shape()})
                    sizes[part.get_dtype()] = sizes.get(part.get_dtype(), 0) + int(np.prod(part.get_shape(), dtype=np.int64))
        config = self.runner.config
        heads = config.num_attention_heads
        gpt2 = config.model_type == "gpt2"
        published = self.published() if (self.folder / "expected.txt").is_file() else None
        golden_files = sorted(p for p in self.out.iterdir() if p.is_file() and p.name not in ("index.json", "index.sha256"))
        return {
            "schema": SCHEMA, "model": self.name, "architecture": config.model_type, "dtype": max(sorted(sizes), key=sizes.__getitem__),
            "carried": carried, "trained_by_us": (self.folder / "training.json").is_file(), "oracle": self.oracle,
            "config": {
                "n_layers": config.num_hidden_layers, "n_heads": heads, "n_kv_heads": heads if gpt2 else config.num_key_value_heads,
                "head_dim": (None if gpt2 else getattr(config, "head_dim", None)) or config.hidden_size // heads, "hidden_size": config.hidden_size,
                "intermediate_size": (config.n_inner or 4 * config.hidden_size) if gpt2 else config.intermediate_size,
                "vocab_size": self.vocab, "n_ctx": self.n_ctx, "tie_word_embeddings": bool(config.tie_word_embeddings),
                "bos": config.bos_token_id, "eos": self.eos,
            },
            "parameters": self.runner.model.num_parameters(),
            "tensors": sorted(tensors, key=lambda t: t["name"]),
            "model_files": [described(path) for path in files], "golden_files": [described(path) for path in golden_files],
            "prompts": prompts, "not_asked": self.not_asked, "tokenizer": "tokenizer.json", "perplexity": perplexity, "published": published,
        }

    def published(self) -> dict:
        """The text that the model's authors published for the empty prompt must be ours, to the letter."""
        expected = (self.folder / "expected.txt").read_bytes().decode()
        text = next((json.loads((self.out / "empty.json").read_text())["greedy"]["text"] for e in self.asked if e["prompt"].name == "empty"), None)
        if text is None or text + "\n" != expected:
            raise Refusal(f"expected.txt is not the greedy text of the empty prompt: {text!r}")
        return {"file": "expected.txt", "max_new_tokens": next(p.max_new_tokens for p in oracle_prompts.PROMPTS if p.name == "empty")}

    def transcripts(self) -> None:
        """What transformers answered where the model was made (greedy-transformers.json, by prompt) must be ours, id for id."""
        path = self.folder / "greedy-transformers.json"
        if not path.is_file():
            return
        asked = {entry["text"]: entry for entry in self.asked}
        for text, answer in json.loads(path.read_text()).items():
            if text not in asked:
                raise Refusal(f"{path.name}: {text!r} was not asked")
            if (asked[text]["ids"], asked[text]["greedy"]) != (answer["prompt_ids"], answer["ids"]):
                raise Refusal(f"{path.name}: {text!r} gives {asked[text]['ids']} and {asked[text]['greedy']}, the file says {answer['prompt_ids']} and {answer['ids']}")
            print(f"  {path.name}: {text!r} agrees")

    def given(self) -> None:
        """The files that somebody else made of the model, for the trials that judge them."""
        paths = sorted((self.folder / "gguf").glob("*.gguf")) if (self.folder / "gguf").is_dir() else []
        if paths:
            files = []
            for path in paths:
                about = described(path)
                files.append({
                    "path": f"gguf/{path.name}", "format": "gguf", "quantization": path.stem.removeprefix(f"{self.name}-"), "bytes": about["bytes"], "sha256": about["sha256"],
                })
            self.write_json("given.json", {"schema": "ground-truth/given/1", "model": self.name, "files": files}, indent=None)

    def write(self, carried: bool, prompts: tuple[Prompt, ...] = oracle_prompts.PROMPTS) -> None:
        """Everything, the index last."""
        self.out.mkdir(parents=True, exist_ok=True)
        for old in self.out.iterdir():
            if old.is_file():
                old.unlink()
        self.not_asked += [{"name": p.name, "reason": NOT_CHOSEN} for p in oracle_prompts.PROMPTS if p.name not in {q.name for q in prompts}]
        for prompt in prompts:
            self.ask(prompt)
        self.transcripts()
        perplexity = [self.perplexity(path) for path in sorted(TEXTS.glob("*.txt"))]
        self.runner.to_float64()
        prompts = [self.finish(entry) for entry in self.asked]
        names = [self.finish_perplexity(entry) for entry in perplexity]
        self.tokenize()
        self.given()
        self.write_json("index.json", self.index(carried, prompts, names))
        # The index vouches for every other file; this line, in the form of sha256sum, vouches for the index.
        (self.out / "index.sha256").write_text(f"{sha256((self.out / 'index.json').read_bytes())}  index.json\n")
        for left in self.not_asked:
            print(f"  not asked: {left['name']}: {left['reason']}")


def described(path: Path) -> dict:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def layout(value, depth: int = 0) -> str:
    """JSON in ASCII: objects over several lines while they nest, lists of plain values on one line."""
    pad = " " * (depth + 1)
    if isinstance(value, dict) and any(isinstance(v, (dict, list)) for v in value.values()) and not flat(value):
        inner = ",\n".join(f"{pad}{json.dumps(k)}: {layout(v, depth + 1)}" for k, v in value.items())
        return "{\n" + inner + "\n" + " " * depth + "}"
    if isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
        return "[\n" + ",\n".join(pad + layout(v, depth + 1) for v in value) + "\n" + " " * depth + "]"
    return json.dumps(value, ensure_ascii=True)


def flat(value: dict) -> bool:
    """Whether an object reads best on one line: a tensor, a tokenizer case, the top of one position."""
    return not any(isinstance(v, dict) or isinstance(v, list) and any(isinstance(x, (dict, list)) for x in v) for v in value.values()) and len(value) <= 4


def chosen(names: str | None, past_eos: bool, committed: Path | None) -> tuple[Prompt, ...]:
    """The prompts to ask: those named, else those that a committed golden asked, else all."""
    prompts = {p.name: p for p in oracle_prompts.PROMPTS}
    wanted = list(prompts)
    if names is not None:
        wanted = names.split(",")
        if unknown := sorted(set(wanted) - set(prompts)):
            raise Refusal(f"--prompts: there is no prompt {', '.join(unknown)}")
    elif committed is not None:
        index = json.loads((committed / "index.json").read_text())
        wanted = [n for n in prompts if n not in {left["name"] for left in index["not_asked"] if left["reason"] == NOT_CHOSEN}]
        stops = [json.loads((committed / f"{p['name']}.json").read_text())["greedy"]["stop_at_eos"] for p in index["prompts"]]
        past_eos = not any(stops)
    return tuple(dataclasses.replace(p, stop_at_eos=p.stop_at_eos and not past_eos) for n, p in prompts.items() if n in wanted)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="a Hugging Face folder: config.json, *.safetensors, tokenizer.json")
    parser.add_argument("--out", type=Path, help="the folder of the golden (default: golden/<name>)")
    parser.add_argument("--name", help="the model's name (default: the folder's)")
    parser.add_argument("--carried", action="store_true", help="the model is committed under testdata/models")
    parser.add_argument("--prompts", help="ask these alone, separated by commas (default: all; with --check: those of the committed golden)")
    parser.add_argument("--past-eos", action="store_true", help="let no prompt stop at an end-of-text id")
    parser.add_argument("--check", action="store_true", help="compare a new run with the committed golden within its floors, and write nothing")
    arguments = parser.parse_args()
    name = arguments.name or arguments.model.resolve().name
    out = arguments.out or ROOT / "golden" / name
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch) / "golden" if arguments.check else out
            if arguments.check and not (out / "index.json").is_file():
                raise Refusal(f"no {out / 'index.json'} to compare with")
            prompts = chosen(arguments.prompts, arguments.past_eos, out if arguments.check else None)
            Oracle(arguments.model, target, name).write(arguments.carried, prompts)
            if not arguments.check:
                print(f"{name}: {sum(p.stat().st_size for p in out.iterdir() if p.is_file()):,} bytes in {out}")
                return 0
            differences = oracle_check.compare(out, target)
    except Refusal as refusal:
        print(f"oracle: {arguments.model}: {refusal}", file=sys.stderr)
        return 2
    for difference in differences:
        print(f"{name}: {difference}")
    print(f"{name}: {'differs from' if differences else 'agrees with'} {out}")
    return int(bool(differences))


if __name__ == "__main__":
    sys.exit(main())
