# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "safetensors==0.8.0", "tokenizers==0.23.2", "numpy==2.4.6", "gguf==0.19.0", "xllamacpp==2026.10.11549"]
# ///
"""What llama.cpp answers on a GGUF file: `golden/<model>/llama.cpp/<column>.json`.

    uv run golden/llama_cpp.py MODEL_DIR FILE...       files named <anything>-<quantization>.gguf
    uv run golden/llama_cpp.py MODEL_DIR... --all      every GGUF column, made by `ground-truth convert`

A prebuilt llama.cpp (xllamacpp) in this process, its server on the loopback: float32 KV cache, flash attention off, one
thread. It is fed token ids, one step a request, so that its own idea of where a text ends decides nothing. Its tokenizer,
built from the file alone, is asked every string of the tokenizer golden.
"""

import argparse
import json
import math
import platform
import sys
import tempfile
import urllib.request
from importlib import metadata
from pathlib import Path

import xllamacpp

import artifact
import dequantized
from artifact import Artifact
from oracle import ROOT, cpu, described, f32, layout, sha256
from oracle_check import unhex
from oracle_run import Refusal

SCHEMA = "ground-truth/llama.cpp/1"
GENERATOR = ("artifact.py", "llama_cpp.py")
PROMPTS = ("arithmetic", "median-door", "unicode-emoji")
TOP = 10
# llama-outlier is made to break what rounds activations to 8 bits or to float16, as llama.cpp does for every other type.
ANSWERABLE = {"llama-outlier": ("f32", "bf16")}
# A new run may move a log-probability by so much (nats): other CPUs sum in another order.
CHECK = 0.05
TIMEOUT = 60


class LlamaCpp:
    """One loaded file."""

    def __init__(self, path: Path, n_ctx: int):
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers = n_ctx, 1, 0
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
        parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.warmup = parameters.fit_params = False
        parameters.verbosity = -1
        self.server = xllamacpp.Server(parameters)

    def post(self, path: str, body: dict) -> dict:
        request = urllib.request.Request(self.server.listening_address + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return json.load(answer)

    def tokenize(self, text: str, special: bool) -> list[int]:
        return self.post("/tokenize", {"content": text, "add_special": special, "parse_special": True})["tokens"]

    def step(self, ids: list[int]) -> tuple[list[int], list[float]]:
        """The most likely next ids and their log-probabilities, best first."""
        answer = self.server.handle_completions({"prompt": ids, "n_predict": 1, "temperature": 0.0, "n_probs": TOP, "cache_prompt": True, "return_tokens": True})
        if "error" in answer:
            raise Refusal(f"llama.cpp: {answer['error']}")
        steps = (answer["choices"][0]["logprobs"] or {}).get("content") or []
        top = steps[0]["top_logprobs"] if steps else []
        if not top or not all(isinstance(t["logprob"], float) and math.isfinite(t["logprob"]) for t in top):
            raise Refusal(f"loads, and answers {len(ids)} ids with no finite log-probability")
        return [t["id"] for t in top], [t["logprob"] for t in top]


def prompts_of(golden: Path, names: tuple[str, ...]) -> list[dict]:
    goldens = [json.loads((golden / f"{name}.json").read_text()) for name in names if (golden / f"{name}.json").is_file()]
    if not goldens:
        raise Refusal(f"{golden}: none of {', '.join(names)} is there; write the model's golden first")
    return goldens


def ask(path: Path, golden: Path, column: str, names: tuple[str, ...]) -> dict:
    """The golden of one file."""
    index = json.loads((golden / "index.json").read_text())
    digest = artifact.values_digest(artifact.parameters(Artifact(path), index["config"]["tie_word_embeddings"]))
    runtime = LlamaCpp(path, index["config"]["n_ctx"])
    asked, different = 0, []
    for case in json.loads((golden / "tokenizer.json").read_text())["cases"]:
        asked += 1
        ids = runtime.tokenize(case["text"], case["add_special_tokens"])
        if ids != case["ids"]:
            different.append({"text": case["text"], "add_special_tokens": case["add_special_tokens"], "expected": case["ids"], "ids": ids})
    prompts = []
    for source in prompts_of(golden, names):
        ids, greedy, steps = source["prompt"]["ids"], [], []
        stop = "length"
        while len(greedy) < source["greedy"]["max_new_tokens"]:
            top, logprobs = runtime.step(ids + greedy)
            steps.append({"ids": top, "logprobs": [f32(p) for p in logprobs]})
            greedy.append(top[0])
            if source["greedy"]["stop_at_eos"] and top[0] in index["config"]["eos"]:
                stop = "eos"
                break
        prompts.append({"name": source["prompt"]["name"], "ids": ids, "greedy": {"ids": greedy, "stop": stop}, "steps": steps})
    here = Path(__file__).resolve().parent
    return {
        "schema": SCHEMA, "model": golden.name, "quantization": column, "values_digest": digest,
        "oracle": {
            "runtime": "llama.cpp", "versions": {"xllamacpp": metadata.version("xllamacpp"), "gguf": metadata.version("gguf"), "numpy": metadata.version("numpy"), "python": platform.python_version()},
            "kv_cache": "f32", "flash_attention": False, "threads": 1, "cpu": cpu(), "generator": sha256(b"".join((here / name).read_bytes() for name in GENERATOR)),
        },
        "tokenizer": {"asked": asked, "same": asked - len(different), "different": different}, "prompts": prompts,
    }


def against(answer: dict, golden: Path, column: str) -> list[str]:
    """How llama.cpp's greedy run stands to transformers' on the same values, or on the model's own where there is no such golden."""
    folder = golden / "dequantized" / column
    if (folder / "index.json").is_file() and json.loads((folder / "index.json").read_text())["values_digest"] != answer["values_digest"]:
        return [f"dequantized/{column} is of other values"]
    out = []
    for prompt in answer["prompts"]:
        path = folder / f"{prompt['name']}.json"
        source = json.loads((path if path.is_file() else golden / f"{prompt['name']}.json").read_text())
        theirs, ours = prompt["greedy"]["ids"], source["greedy"]["ids"]
        if theirs == ours:
            out.append("identical")
            continue
        step = next((i for i, (a, b) in enumerate(zip(theirs, ours)) if a != b), min(len(theirs), len(ours)))
        margin = unhex(source["greedy"]["margins"][step]) if step < len(ours) else math.nan
        out.append(f"leaves at step {step}, margin {margin:.4f}{'' if path.is_file() else ' of the model'}")
    return out


def furthest(answer: dict, golden: Path, column: str) -> float:
    """Largest difference in nats of a log-probability from transformers' on the same values, along the common tokens."""
    largest = 0.0
    for prompt in answer["prompts"]:
        path = golden / "dequantized" / column / f"{prompt['name']}.json"
        source = json.loads((path if path.is_file() else golden / f"{prompt['name']}.json").read_text())
        tops = {top["position"]: dict(zip(top["ids"], map(unhex, top["logprobs"]))) for top in source["forced"]["top"]}
        for step, row in enumerate(prompt["steps"]):
            position = len(prompt["ids"]) - 1 + step
            if prompt["greedy"]["ids"][:step] != source["greedy"]["ids"][:step]:
                break
            theirs = tops.get(position, {})
            # The least likely of the ten hide nothing but are far out in the tail; the first five tell.
            largest = max([largest, *(abs(unhex(p) - theirs[i]) for i, p in list(zip(row["ids"], row["logprobs"]))[:5] if i in theirs)])
    return largest


def compare(old: dict, new: dict) -> list[str]:
    """Sentences about what differs between a committed answer and a new one."""
    out = [f"{key}: {old[key]!r} became {new[key]!r}" for key in ("model", "quantization", "values_digest", "tokenizer") if old[key] != new[key]]
    if [p["name"] for p in old["prompts"]] != [p["name"] for p in new["prompts"]]:
        return [*out, "other prompts"]
    for a, b in zip(old["prompts"], new["prompts"], strict=True):
        for step, (x, y) in enumerate(zip(a["steps"], b["steps"])):
            if x["ids"][0] != y["ids"][0]:
                gap = unhex(x["logprobs"][0]) - unhex(x["logprobs"][1])
                if gap > CHECK:
                    out.append(f"{a['name']}: step {step}: {x['ids'][0]} became {y['ids'][0]}, {gap:.4f} nats apart")
                break
            if abs(unhex(x["logprobs"][0]) - unhex(y["logprobs"][0])) > CHECK:
                out.append(f"{a['name']}: step {step}: log-probability {unhex(x['logprobs'][0]):.5f} became {unhex(y['logprobs'][0]):.5f}")
    return out


def one(path: Path, golden: Path, column: str, names: tuple[str, ...], check: bool) -> int:
    out = golden / "llama.cpp" / f"{column}.json"
    if check:
        names = tuple(p["name"] for p in json.loads(out.read_text())["prompts"])
    if column in dequantized.NAMED and dequantized.NAMED[column] not in Artifact(path).types.values():
        print(f"{golden.name} {column}: no tensor is {dequantized.NAMED[column]}, so there is no such column", flush=True)
        return 0
    answer = ask(path, golden, column, names)
    tokenizer = answer["tokenizer"]
    print(f"{golden.name} {column}: loads; {tokenizer['same']} of {tokenizer['asked']} texts tokenized alike; {', '.join(against(answer, golden, column))}; within {furthest(answer, golden, column):.4f} nats", flush=True)
    for case in tokenizer["different"][:5]:
        print(f"    {case['text']!r} special={case['add_special_tokens']}: {case['expected']} is {case['ids']} in llama.cpp")
    if not check:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(layout(answer) + "\n")
        return 0
    differences = compare(json.loads(out.read_text()), answer)
    for difference in differences:
        print(f"{golden.name} {column}: {difference}")
    return int(bool(differences))


def write_index(golden: Path) -> None:
    """The index of a model's llama.cpp folder, and the line that vouches for it."""
    folder = golden / "llama.cpp"
    paths = sorted(p for p in folder.glob("*.json") if p.name != "index.json")
    oracle = json.loads(paths[0].read_text())["oracle"]
    (folder / "index.json").write_text(layout({"schema": SCHEMA, "model": golden.name, "oracle": oracle, "files": [described(p) for p in paths]}) + "\n")
    (folder / "index.sha256").write_text(f"{sha256((folder / 'index.json').read_bytes())}  index.json\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", type=Path, nargs="+", help="a Hugging Face folder and GGUF files made of it; with --all, folders")
    parser.add_argument("--all", action="store_true", help="convert each folder to every GGUF column")
    parser.add_argument("--columns", help="with --all: these alone, separated by commas")
    parser.add_argument("--prompts", default=",".join(PROMPTS))
    parser.add_argument("--golden", type=Path, default=ROOT / "golden", help="the folder of the goldens")
    parser.add_argument("--binary", type=Path, default=dequantized.BINARY, help="the ground-truth command")
    parser.add_argument("--check", action="store_true", help="compare with the committed answers, and write nothing")
    arguments = parser.parse_args()
    names = tuple(arguments.prompts.split(","))
    failed = 0
    folders = arguments.paths if arguments.all else arguments.paths[:1]
    for folder in folders:
        golden = arguments.golden / folder.resolve().name
        with tempfile.TemporaryDirectory() as scratch:
            if arguments.all:
                wanted = arguments.columns.split(",") if arguments.columns else [c for c, forms in dequantized.COLUMNS.items() if "gguf" in forms]
                wanted = [c for c in wanted if c in ANSWERABLE.get(golden.name, wanted)]
                jobs = [(c, lambda c=c: dequantized.converted(arguments.binary, folder, Path(scratch), "gguf", c)) for c in wanted]
            else:
                jobs = [(dequantized.named(path), lambda path=path: path) for path in arguments.paths[1:]]
            for column, make in jobs:
                # Apart: a file that llama.cpp cannot take may end its process.
                status = dequantized.in_child(lambda: one(make(), golden, column, names, arguments.check))
                if status:
                    print(f"{golden.name} {column}: failed with status {status}", flush=True)
                failed |= int(status != 0)
        if not arguments.check and (golden / "llama.cpp").is_dir():
            write_index(golden)
    return failed


if __name__ == "__main__":
    sys.exit(main())
