# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""`apr` on trial, with the subcommands of spec/tiny-model-ground-truth.md: docs/apr-status.md.

    uv run --script runtimes/apr.py            judge, and write the table
    uv run --script runtimes/apr.py --check    judge, and fail where a row of the table changed; --only CHECK judges one

`apr` continues a text, it takes no token ids, so it cannot speak the protocol of docs/adapter.md: it is judged by its own commands,
over the carried models, against their goldens: over files that `apr import` wrote of them, as the specification does, and over files of our
converter, so that what is red in both is apr's fault. Every answer is read strictly: a non-zero exit, an empty answer, an escape sequence,
what is no JSON, a missing or mistyped field is red.
"""

import argparse
import datetime
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "apr-status.md"
MODELS = ("llama-tiny", "qwen2-tiny", "gpt2-tiny")
ORIGINS = {"imported": "of `apr import`", "converted": "of `ground-truth convert`"}
QUANTIZATIONS = {"int4": "q4", "int8": "q8"}
PROMPTS = ("arithmetic", "code", "completion", "greeting")
BOUNDS = {"int4": 5, "int8": 3}
TIMEOUT = 120
# What spec/tiny-model-ground-truth.md reports of apr 0.2.16 on 2026-02-14.
BEFORE = {
    "list": "1/1", "quant-drift": "12/12", "roundtrip": "4/5", "tensors": "6/6", "hex": "6/6", "rosetta-diff": "3/3", "tree": "6/6", "debug": "4/4", "canary": "0/12", "token-parity": "0/24",
    "ppl": "0/6", "inspect": "0/6", "validate": "0/6", "lint": "0/6", "selftest": "0/6", "bench": "0/6", "diff": "0/2", "oracle-id": "0/6", "qa": "1/6", "parity-gpu": "0/1, 2 skipped",
}
BEFORE_TOTAL = "42/135"
# How many different things a row's note says at most, and what ends what is written here: what follows in the document is kept.
NOTES = 2
END = "<!-- what follows is written by hand -->"
# What `apr import` calls the tensors of gpt2; of `c_attn` it makes three.
GPT2_NAMES = {
    "transformer.h.": "model.layers.", "attn.c_proj": "self_attn.o_proj", "mlp.c_fc": "mlp.up_proj", "mlp.c_proj": "mlp.down_proj", "ln_1.": "input_layernorm.", "ln_2.": "post_attention_layernorm.",
    "transformer.wte": "model.embed_tokens", "transformer.wpe": "model.position_embedding", "transformer.ln_f": "model.norm",
}


class Red(Exception):
    """What refutes a claim."""


class Skipped(Exception):
    """What this machine cannot judge."""


def refuse_constant(word: str) -> float:
    raise Red(f"{word} in JSON")


class Apr:
    def __init__(self, program: str, home: Path):
        self.program, self.said, self.cache = program, {}, home / ".cache"
        self.environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(self.cache), "SOVEREIGN_DISABLE_UPDATE_CHECK": "1", "RUST_BACKTRACE": "0"}

    def run(self, *arguments: str) -> str:
        try:
            done = subprocess.run([self.program, *arguments], capture_output=True, text=True, errors="strict", timeout=TIMEOUT, env=self.environment, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as error:
            raise Red(f"apr {arguments[0]}: no answer within {TIMEOUT} s") from error
        except UnicodeDecodeError as error:
            raise Red(f"apr {arguments[0]}: an answer that is no UTF-8") from error
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "no word").partition("note: run with `RUST_BACKTRACE=1`")[0]
            said = " ".join(re.sub(r"thread 'main' \(\d+\) |\S*/registry/src/[^/\s]+/", "", said).split())
            begin = max(said.rfind("error: "), said.rfind("panicked at "))
            raise Red(f"apr {arguments[0]}: exit status {done.returncode}: {said[begin:][:220] if begin >= 0 else said[-160:]}")
        return done.stdout

    def once(self, *arguments: str) -> str:
        """What a command says. The same is asked once, and what was red stays red."""
        if arguments not in self.said:
            try:
                self.said[arguments] = self.run(*arguments)
            except Red as red:
                self.said[arguments] = red
        if isinstance(self.said[arguments], Red):
            raise self.said[arguments]
        return self.said[arguments]

    def ask(self, *arguments: str):
        """The JSON of a command."""
        return self.parsed(arguments[0], self.once(*arguments, "--json"))

    def parsed(self, command: str, text: str):
        if not text.strip():
            raise Red(f"apr {command}: an empty answer")
        if "\x1b" in text:
            raise Red(f"apr {command}: an escape sequence in JSON")
        try:
            return json.loads(text, parse_constant=refuse_constant)
        except json.JSONDecodeError as error:
            raise Red(f"apr {command}: no JSON: {error}") from error


def field(data, *path: str | int, kind=int):
    """A field, or an element of a list, of a type; `bool` is no number here."""
    where = ".".join(str(name) for name in path)
    for name in path:
        if not (isinstance(data, list) and name in range(len(data)) if isinstance(name, int) else isinstance(data, dict) and name in data):
            raise Red(f"no field {where}")
        data = data[name]
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise Red(f"field {where} is {json.dumps(data)[:60]}")
    return data


def equal(name: str, expected, observed) -> None:
    if expected != observed:
        raise Red(f"{name}: expected {expected!r}, got {observed!r}")


def unhex(bits: str) -> float:
    return struct.unpack(">f", bytes.fromhex(bits))[0]


def in_apr(tensors: dict) -> dict:
    """The tensors of a model under the names that `apr import` gives them. Those of llama and qwen2 it keeps."""
    found = {}
    for name, shape in tensors.items():
        for theirs, its in GPT2_NAMES.items():
            name = name.replace(theirs, its)
        if ".attn.c_attn." in name:
            found.update({name.replace("attn.c_attn", f"self_attn.{part}_proj"): [*shape[:-1], shape[-1] // 3] for part in "qkv"})
        else:
            found[name] = shape
    return found


class Files(dict):
    """The files of a model by quantization; one that could not be made is red for whoever asks for it."""

    def __getitem__(self, quantization: str) -> str:
        file = super().__getitem__(quantization)
        if isinstance(file, Red):
            raise file
        return file


class Subject:
    """One model: its files of one origin and its golden."""

    def __init__(self, apr: Apr, name: str, folder: Path, files: Files, origin: str):
        self.apr, self.name, self.folder, self.file, self.origin = apr, name, folder, files, origin
        self.index = json.loads((ROOT / "golden" / name / "index.json").read_text())
        self.golden = {prompt: json.loads((ROOT / "golden" / name / f"{prompt}.json").read_text()) for prompt in PROMPTS}
        self.tensors = {t["name"]: t["shape"] for t in self.index["tensors"] if not t["name"].endswith((".attn.bias", ".attn.masked_bias", ".inv_freq"))}
        if origin == "imported":
            self.tensors = in_apr(self.tensors)
        # Files of both origins hold the head of a model whose embedding is its head a second time.
        config = self.index["config"]
        self.numbers = self.index["parameters"] + config["tie_word_embeddings"] * config["vocab_size"] * config["hidden_size"]

    def generated(self, file: str, prompt: str) -> dict:
        answer = self.apr.ask("run", file, "-p", self.golden[prompt]["prompt"]["text"], "-n", "32", "--no-gpu")
        field(answer, "tokens", kind=list)
        if not answer["tokens"]:
            raise Red("no generated tokens")
        for token in range(len(answer["tokens"])):
            field(answer, "tokens", token)
        return answer

    def mismatches(self, file: str, prompt: str) -> int:
        """Positions that differ from the golden's, what one of them lacks counted in."""
        ours, theirs = self.golden[prompt]["greedy"]["ids"], self.generated(file, prompt)["tokens"]
        same = sum(a == b for a, b in zip(ours, theirs))
        return max(len(ours), len(theirs)) - same

    def within(self, quantization: str, file: str, prompt: str) -> None:
        wrong = self.mismatches(file, prompt)
        if not wrong <= BOUNDS[quantization]:
            raise Red(f"{wrong} of 32 tokens differ, at most {BOUNDS[quantization]} may")

    def canary(self, prompt: str) -> None:
        equal("text", self.golden[prompt]["greedy"]["text"], field(self.generated(self.file["int8"], prompt), "text", kind=str))

    def drift(self, prompt: str) -> None:
        for quantization in QUANTIZATIONS:  # an ordering of two wrong answers is no evidence
            self.within(quantization, self.file[quantization], prompt)
        int4, int8 = (self.mismatches(self.file[q], prompt) for q in ("int4", "int8"))
        if not int8 <= int4 + 1:
            raise Red(f"int8 differs in {int8} tokens, int4 in {int4}")

    def roundtrip(self, prompt: str) -> None:
        gguf, back = (str(self.folder / f"{self.name}-{self.origin}-{end}") for end in ("there.gguf", "back.apr"))
        self.apr.once("export", self.file["int4"], "--format", "gguf", "-o", gguf)
        self.apr.once("import", gguf, "-o", back)
        equal("tokens after APR -> GGUF -> APR", self.generated(self.file["int4"], prompt)["tokens"], self.generated(back, prompt)["tokens"])
        self.within("int4", back, prompt)

    def ppl(self, quantization: str) -> None:
        golden = self.golden["code"]
        n = len(golden["prompt"]["ids"])
        expected = math.exp(sum(unhex(bits) for bits in golden["forced"]["nll"][: n - 1]) / (n - 1))
        answer = self.apr.ask("eval", self.file[quantization], "--dataset", "custom", "--text", golden["prompt"]["text"], "--threshold", "100000")
        got = field(answer, "perplexity", kind=(int, float))
        if not abs(got - expected) < 0.5:
            raise Red(f"perplexity {got:.3f}, transformers has {expected:.3f}, at most 0.5 apart")

    def inspect(self, quantization: str) -> None:
        answer, config = self.apr.ask("inspect", self.file[quantization]), self.index["config"]
        equal("architecture", self.index["architecture"], field(answer, "architecture", kind=str))
        for ours, theirs in (("n_layers", "num_layers"), ("n_heads", "num_heads"), ("hidden_size", "hidden_size"), ("vocab_size", "vocab_size")):
            equal(theirs, config[ours], field(answer, theirs))
        equal("checksum_valid", True, field(answer, "checksum_valid", kind=bool))

    def validate(self, quantization: str) -> None:
        answer = self.apr.ask("validate", self.file[quantization])
        failed = [c.get("name") for c in field(answer, "checks", kind=list) if field(c, "status", kind=str) != "PASS"]
        if failed or not answer["checks"]:
            raise Red(f"{len(failed)} of {len(answer['checks'])} checks failed, first {failed[:1]}")
        equal("verdict", "VALID", field(answer, "verdict", kind=str))
        if field(answer, "checks_not_implemented") != 0:
            raise Red(f"{answer['checks_not_implemented']} checks are not implemented")

    def listed(self, quantization: str) -> None:
        answer = self.apr.ask("tensors", self.file[quantization])
        found = {field(t, "name", kind=str): field(t, "shape", kind=list) for t in field(answer, "tensors", kind=list)}
        equal("tensor_count", len(found), field(answer, "tensor_count"))
        missing = [name for name in self.tensors if name not in found]
        if missing:
            raise Red(f"{len(missing)} of {len(self.tensors)} tensors are missing, first {missing[0]}")
        for name, shape in self.tensors.items():
            turned = self.index["architecture"] == "gpt2" and found[name] == shape[::-1]  # Conv1D weights lie the other way round in APR
            equal(f"shape of {name}", shape, shape if turned else found[name])

    def lint(self, quantization: str) -> None:
        answer = self.apr.ask("lint", self.file[quantization])
        field(answer, "issues", kind=list)
        equal("error_count", 0, field(answer, "error_count"))
        equal("passed", True, field(answer, "passed", kind=bool))

    def selftest(self, quantization: str) -> None:
        answer = self.apr.ask("check", self.file[quantization], "--no-gpu")
        passed = sum(field(s, "status", kind=str) == "PASS" for s in field(answer, "stages", kind=list))
        equal("passed", passed, field(answer, "passed"))
        if not (len(answer["stages"]) >= 10 and passed >= 7):
            raise Red(f"{passed} of {len(answer['stages'])} stages passed, first failure {[s.get('name') for s in answer['stages'] if s['status'] != 'PASS'][:1]}")

    def bench(self, quantization: str) -> None:
        answer = self.apr.ask("bench", self.file[quantization], "--iterations", "1", "--warmup", "0", "--max-tokens", "16")
        if not field(answer, "tokens_per_second", kind=(int, float)) > 0 or not field(answer, "total_tokens") > 0:
            raise Red(f"{answer['tokens_per_second']} tokens/s over {answer.get('total_tokens')} tokens")

    def difference(self) -> None:
        answer = self.apr.ask("diff", self.file["int8"], self.file["int4"])
        equal("structural_diffs", 0, field(answer, "structural_diffs"))
        equal("identical", False, field(answer, "identical", kind=bool))

    def layouts(self) -> None:
        answer = self.apr.ask("rosetta", "diff-tensors", self.file["int8"], self.file["int4"])
        for name in ("layout_mismatches", "missing_in_a", "missing_in_b"):
            equal(name, 0, field(answer, name))
        if not field(answer, "tensors_a") >= len(self.tensors):
            raise Red(f"{answer['tensors_a']} tensors, the model has {len(self.tensors)}")

    def tree(self, quantization: str) -> None:
        count = field(self.apr.ask("tree", self.file[quantization]), "tensor_count")
        if not count >= len(self.tensors):
            raise Red(f"{count} tensors, the model has {len(self.tensors)}")

    def identified(self, quantization: str) -> None:
        answer = self.apr.ask("oracle", self.file[quantization])
        equal("architecture", self.index["architecture"], field(answer, "format", "architecture", kind=str))
        equal("total_params", self.numbers, field(answer, "format", "total_params"))

    def hex(self, quantization: str) -> None:
        name = next(n for n in self.tensors if n.endswith(("q_proj.weight", "c_attn.weight")))
        answer = self.apr.ask("hex", self.file[quantization], "--tensor", name, "--stats")
        found = [t for t in answer if field(t, "name", kind=str) == name] if isinstance(answer, list) else []
        if len(found) != 1:
            raise Red(f"{len(found)} tensors named {name}")
        if not field(found[0], "stats", "std", kind=(int, float)) > 0:
            raise Red(f"{name} has standard deviation {found[0]['stats']['std']}")

    def debug(self, quantization: str) -> None:
        answer = self.apr.ask("debug", self.file[quantization])
        equal("health", "OK", field(answer, "health", kind=str))
        equal("architecture", self.index["architecture"], field(answer, "architecture", kind=str))
        equal("parameters", self.numbers, field(answer, "parameters"))

    def qa(self, quantization: str) -> None:
        shutil.rmtree(self.apr.cache / "apr", ignore_errors=True)  # or it compares its speed with that of another file of this name
        # `golden_output` asks for the knowledge of an English model ("Hello there, how are you", in a chat template), which no runtime can be blamed for.
        answer = self.apr.ask("qa", self.file[quantization], "--skip-golden", "--skip-ollama", "--skip-gpu-speedup", "--skip-ptx-parity", "--iterations", "1", "--warmup", "0")
        gates = {field(g, "name", kind=str): field(g, "passed", kind=bool) for g in field(answer, "gates", kind=list) if not field(g, "skipped", kind=bool)}
        equal("gates_executed", len(gates), field(answer, "gates_executed"))
        failed = [name for name, passed in gates.items() if not passed]
        if failed or not len(gates) >= 3 or not field(answer, "passed", kind=bool):
            raise Red(f"{len(gates)} gates executed, failed: {', '.join(failed) or 'none'}")

    def gpu(self) -> None:
        build = self.apr.ask("--version")
        if not field(build, "cuda_feature", kind=bool) or not field(build, "visible_devices", kind=list):
            raise Skipped("no GPU, or apr built without CUDA")
        answer = self.apr.ask("parity", str(self.folder / f"{self.name}-q4_0.gguf"), "--assert")
        equal("parity", True, field(answer, "parity", kind=bool))
        equal("failed", 0, field(answer, "failed"))
        if not field(answer, "tokens") > 0:
            raise Red("no position was compared")


def cached(apr: Apr, subjects: list[Subject]) -> None:
    """A file that lies in the cache is listed; an empty list of an empty cache would prove nothing."""
    file, cache = Path(subjects[0].file["int8"]), apr.cache / "pacha" / "models"
    cache.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, cache / "cached.apr")
    answer = apr.parsed("list", apr.run("list", "--json"))  # of what lies there now
    equal("total", 1, field(answer, "total"))
    equal("models", [("cached", file.stat().st_size)], [(field(m, "name", kind=str), field(m, "size_bytes")) for m in field(answer, "models", kind=list)])


def cases(apr: Apr, subjects: list[Subject]) -> dict[str, list]:
    """The rows of every check, in the order of the specification's table."""
    both = lambda judge: [lambda s=s, q=q: judge(s, q) for s in subjects for q in QUANTIZATIONS]
    prompts = lambda judge, names=PROMPTS: [lambda s=s, p=p: judge(s, p) for s in subjects for p in names]
    each = lambda judge: [lambda s=s: judge(s) for s in subjects]
    return {
        "list": [lambda: cached(apr, subjects)], "quant-drift": prompts(Subject.drift), "roundtrip": prompts(Subject.roundtrip, ("completion", "arithmetic")), "tensors": both(Subject.listed), "hex": both(Subject.hex),
        "rosetta-diff": each(Subject.layouts), "tree": both(Subject.tree), "debug": both(Subject.debug), "canary": prompts(Subject.canary),
        "token-parity": [lambda s=s, q=q, p=p: s.within(q, s.file[q], p) for s in subjects for q in QUANTIZATIONS for p in PROMPTS], "ppl": both(Subject.ppl), "inspect": both(Subject.inspect),
        "validate": both(Subject.validate), "lint": both(Subject.lint), "selftest": both(Subject.selftest), "bench": both(Subject.bench), "diff": each(Subject.difference), "oracle-id": both(Subject.identified),
        "qa": both(Subject.qa), "parity-gpu": each(Subject.gpu),
    }


def judge(rows: list) -> tuple[str, int, int, list[str]]:
    """Passed of judged, those two numbers, and everything that was red, each once."""
    passed, skipped, said = 0, 0, []
    for row in rows:
        try:
            row()
            passed += 1
        except Skipped:
            skipped += 1
        except Red as red:
            said += [str(red)] if str(red) not in said else []
    judged = len(rows) - skipped
    return f"{passed}/{judged}" + (f", {skipped} skipped" if skipped else ""), passed, judged, said


def made_files(apr: Apr, binary: Path, folder: Path) -> dict[str, dict[str, Files]]:
    """The files of every origin and model, and for GPUs a GGUF file of each model."""
    made = {origin: {model: Files() for model in MODELS} for origin in ORIGINS}
    for model in MODELS:
        source = ROOT / "testdata" / "models" / model
        ours = [(f"{model}-{q}.apr", "apr", kind) for q, kind in QUANTIZATIONS.items()] + [(f"{model}-q4_0.gguf", "gguf", "q4_0")]
        for out, form, quantization in ours:
            subprocess.run([binary, "convert", source, folder / out, "--format", form, "--quant", quantization], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for quantization in QUANTIZATIONS:
            made["converted"][model][quantization] = str(folder / f"{model}-{quantization}.apr")
            # The name of the file becomes that of the model, in which two quantizations must not differ.
            (folder / quantization).mkdir(exist_ok=True)
            out = str(folder / quantization / f"{model}.apr")
            try:
                apr.run("import", str(source), "--quantize", quantization, "-o", out)
                made["imported"][model][quantization] = out
            except Red as red:
                made["imported"][model][quantization] = red
    return made


def escaped(text: str, folder: Path) -> str:
    """One cell of a Markdown table, the scratch folder taken out."""
    text = text.replace(f"{folder}/", "")
    return "".join(f"\\{c}" if c in "\\`*_<>|[]#" else c for c in " ".join(text.split()) if c.isprintable())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--apr", default=str(ROOT / "target" / "apr" / "bin" / "apr"), help="the program")
    parser.add_argument("--binary", type=Path, default=ROOT / "target" / "debug" / "ground-truth", help="our converter")
    parser.add_argument("--check", action="store_true", help="compare with the committed table, and write nothing")
    parser.add_argument("--only", choices=BEFORE)
    arguments = parser.parse_args()
    for program, how in ((arguments.apr, "make apr"), (str(arguments.binary), "cargo build -p ground-truth-harness --bin ground-truth")):
        if shutil.which(program) is None:
            print(f"{program} is not there: {how}", file=sys.stderr)
            return 2
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        apr = Apr(arguments.apr, folder)
        version = apr.run("--version").split()[1]
        made = made_files(apr, arguments.binary, folder)
        columns = {origin: cases(apr, [Subject(apr, model, folder, made[origin][model], origin) for model in MODELS]) for origin in ORIGINS}
        lines, passed, judged = [], dict.fromkeys(ORIGINS, 0), dict.fromkeys(ORIGINS, 0)
        for check in BEFORE:
            if arguments.only in (None, check):
                cells, notes = [], []
                for origin, rows in columns.items():
                    result, good, asked, red = judge(rows[check])
                    passed[origin], judged[origin] = passed[origin] + good, judged[origin] + asked
                    cells.append(result)
                    notes += [note for note in red if note not in notes]
                lines.append(f"| {check} | {BEFORE[check]} | {' | '.join(cells)} | {'; '.join(escaped(note, folder) for note in notes[:NOTES])} |")
                print(lines[-1], flush=True)
    committed = TABLE.read_text() if TABLE.is_file() else ""
    if arguments.check or arguments.only:
        if not committed:
            print(f"{TABLE} is not there: run this without --check and --only")
            return 1
        rows = [row.split("|")[:5] for row in committed.splitlines()]
        changed = [line for line in lines if line.split("|")[:5] not in rows]
        for line in changed:
            print(f"not as docs/apr-status.md has it: {line}")
        return int(bool(changed))
    total = " | ".join(f"**{passed[origin]}/{judged[origin]}**" for origin in ORIGINS)
    head = " | ".join(f"apr {version}, files {of}" for of in ORIGINS.values())
    table = f"| Check | apr 0.2.16 | {head} | Notes |\n|---|---|---|---|---|\n" + "\n".join(lines) + f"\n| **Total** | **{BEFORE_TOTAL}** | {total} | |\n"
    TABLE.write_text(
        f"# What apr answers\n\nWritten by `make check-apr` on {datetime.date.today()} with apr {version}, over the carried models (int8 is AprQ8, int4 AprQ4) against their goldens.\n"
        f"Beside it stands what the specification reports of apr 0.2.16 on 2026-02-14, over larger models. An answer is read strictly: a missing\nfield, an empty answer, an exit status other than 0 or an escape sequence in JSON is red.\n\n"
        f"{table}\n{END}" + committed.partition(END)[2]
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
