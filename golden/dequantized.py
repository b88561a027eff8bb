# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "safetensors==0.8.0", "tokenizers==0.23.2", "numpy==2.4.6", "gguf==0.19.0"]
# ///
"""What transformers answers on the values that a converted file really holds: `golden/<model>/dequantized/<column>/`.

    uv run golden/dequantized.py MODEL_DIR FILE...      files that are at hand, named <anything>-<quantization>.<format> or with --column
    uv run golden/dequantized.py MODEL_DIR... --all     every lossy column, made by `ground-truth convert`

The file is read and dequantized by gguf-py, safetensors or `artifact.py`, never by the engine. Each golden is bound to the
digest of those values: a right kernel gives these answers, whatever the quantizer did to the model.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import traceback
from importlib import metadata
from pathlib import Path


import torch
import transformers

import artifact
import oracle
import oracle_check
import oracle_prompts
import oracle_run
from artifact import Artifact
from oracle import ROOT, Oracle, described, sha256
from oracle_prompts import Prompt
from oracle_run import Refusal

SCHEMA = "ground-truth/dequantized/1"
GENERATOR = (*oracle.GENERATOR, "artifact.py", "dequantized.py")
# One prompt of wide margins, one of a known narrow step, one outside ASCII.
PROMPTS = ("arithmetic", "median-door", "unicode-emoji")
# Every lossy column: its name here, and the containers that have it with the name that `convert` takes.
COLUMNS = {
    "f32": {"safetensors": "f32", "gguf": "f32", "apr": "f32"},
    "f16": {"safetensors": "f16", "gguf": "f16", "apr": "f16"},
    "bf16": {"safetensors": "bf16", "gguf": "bf16", "apr": "bf16"},
    **{q: {"gguf": q} for q in ("q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q2_k", "q3_k_m", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k")},
    **{f"apr-{q}": {"apr": q} for q in ("q8", "q4", "q4_k", "q6_k")},
}
LOSSLESS = {"F32": ("f32",), "F16": ("f32", "f16"), "BF16": ("f32", "bf16")}
# The type that a column is named after; a model whose rows no block of it divides has no such column.
NAMED = {
    "f32": "F32", "f16": "F16", "bf16": "BF16", "q8_0": "Q8_0", "q4_0": "Q4_0", "q4_1": "Q4_1", "q5_0": "Q5_0", "q5_1": "Q5_1", "q2_k": "Q2_K", "q3_k_m": "Q3_K",
    "q4_k_s": "Q4_K", "q4_k_m": "Q4_K", "q5_k_m": "Q5_K", "q6_k": "Q6_K", "apr-q8": "AprQ8", "apr-q4": "AprQ4", "apr-q4_k": "Q4_K", "apr-q6_k": "Q6_K",
}
SUFFIX = {"safetensors": "safetensors", "gguf": "gguf", "apr": "apr"}
BINARY = ROOT / "target" / "debug" / "ground-truth"


def converted(binary: Path, model: Path, folder: Path, form: str, quantization: str) -> Path:
    """The model as our converter writes it."""
    out = folder / f"{model.name}-{quantization}.{SUFFIX[form]}"
    if form == "safetensors":  # a folder, since the values alone do not say what model they are
        out = folder / f"{model.name}-{quantization}"
    run = subprocess.run([binary, "convert", model, out, "--format", form, "--quant", quantization], capture_output=True, text=True)
    if run.returncode:
        raise Refusal(f"convert to {form} {quantization}: {run.stderr.strip()}")
    return out / "model.safetensors" if out.is_dir() else out


def named(path: Path) -> str:
    """The column that a file's name says."""
    name = path.name.removesuffix(path.suffix)
    column = next((c for c in sorted([*COLUMNS, "iq4_nl", "iq4_xs"], key=len, reverse=True) if name == c or name.endswith(("-" + c, "." + c))), None)
    if column is None:
        raise Refusal(f"{path.name}: the name ends in no quantization; say --column")
    return column


def with_values(folder: Path, values: dict) -> torch.nn.Module:
    """The model of the folder with other parameters, every one of them set."""
    model = oracle_run.load(folder)
    own = dict(model.named_parameters())
    prefix = model.base_model_prefix + "."
    if set(own) != set(values):
        raise Refusal(f"parameters differ: only the model has {sorted(set(own) - set(values))}, only the file has {sorted(set(values) - set(own))}; {prefix}")
    with torch.no_grad():
        for name, parameter in own.items():
            if tuple(parameter.shape) != values[name].shape:
                raise Refusal(f"{name}: the model has shape {tuple(parameter.shape)}, the file {values[name].shape}")
            parameter.copy_(torch.from_numpy(values[name].copy()))
    return model


def prompts_of(golden: Path, names: tuple[str, ...]) -> list[Prompt]:
    """The prompts as the model's own golden asked them, without full logits."""
    out = []
    for prompt in oracle_prompts.PROMPTS:
        if prompt.name in names and (golden / f"{prompt.name}.json").is_file():
            asked = json.loads((golden / f"{prompt.name}.json").read_text())
            out.append(dataclasses.replace(prompt, stop_at_eos=asked["greedy"]["stop_at_eos"], full=False))
    if not out:
        raise Refusal(f"{golden}: none of {', '.join(names)} is there; write the model's golden first")
    return out


def write(folder: Path, path: Path, golden: Path, out: Path, column: str, names: tuple[str, ...]) -> str:
    """The dequantized golden of one file."""
    file = Artifact(path)
    config = transformers.AutoConfig.from_pretrained(folder)
    if file.architecture != config.model_type:
        raise Refusal(f"{path.name}: the file is a {file.architecture}, the model a {config.model_type}")
    values = artifact.parameters(file, bool(config.tie_word_embeddings))
    digest = artifact.values_digest(values)
    own = Oracle(folder, out, golden.name, with_values(folder, values))
    here = Path(__file__).resolve().parent
    own.oracle["versions"]["gguf"] = metadata.version("gguf")
    own.oracle["generator"] = sha256(b"".join((here / name).read_bytes() for name in GENERATOR))
    out.mkdir(parents=True, exist_ok=True)
    for old in out.iterdir():
        old.unlink()
    for prompt in prompts_of(golden, names):
        own.ask(prompt)
    if own.not_asked:
        raise Refusal(f"could not be asked: {own.not_asked}")
    own.runner.to_float64()
    prompts = [own.finish(entry) for entry in own.asked]
    files = [described(p) for p in sorted(out.iterdir())]
    own.write_json("index.json", {
        "schema": SCHEMA, "model": golden.name, "quantization": column, "values_digest": digest, "oracle": own.oracle, "prompts": prompts, "files": files,
    })
    (out / "index.sha256").write_text(f"{sha256((out / 'index.json').read_bytes())}  index.json\n")
    return digest


def in_child(function) -> int:
    """Run apart: the float64 run replaces methods of transformers' classes for the rest of a process."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = function()
        except Refusal as refusal:
            print(f"dequantized: {refusal}", file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def one(folder: Path, path: Path, golden: Path, column: str, names: tuple[str, ...], check: bool) -> int:
    committed = golden / "dequantized" / column
    if not check:
        digest = write(folder, path, golden, committed, column, names)
        print(f"{golden.name} {column}: {sum(p.stat().st_size for p in committed.iterdir()):,} bytes, values {digest[:12]}")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / column
        if not (committed / "index.json").is_file():
            raise Refusal(f"no {committed / 'index.json'} to compare with")
        write(folder, path, golden, fresh, column, tuple(p["name"] for p in json.loads((committed / "index.json").read_text())["prompts"]))
        oracle_check.VOLATILE.add("files")
        differences = oracle_check.compare(committed, fresh)
    for difference in differences:
        print(f"{golden.name} {column}: {difference}")
    print(f"{golden.name} {column}: {'differs' if differences else 'agrees'}")
    return int(bool(differences))


def columns_of(folder: Path, scratch: Path, binary: Path, column: str) -> dict[str, tuple[Path, str]]:
    """The files of one column by the name of their golden, each with the digest of its values.

    Containers that hold the same values share one; another value for the same name goes under `<format>-<column>`.
    """
    tied = bool(transformers.AutoConfig.from_pretrained(folder).tie_word_embeddings)
    out: dict[str, tuple[Path, str]] = {}
    for form, name in sorted(COLUMNS[column].items(), key=lambda item: item[0] != "gguf"):
        path = converted(binary, folder, scratch, form, name)
        file = Artifact(path)
        if NAMED[column] not in file.types.values():
            print(f"{folder.name} {column}: no tensor is {NAMED[column]}, so there is no such column")
            continue
        digest = artifact.values_digest(artifact.parameters(file, tied))
        if digest not in {other for _, other in out.values()}:
            out[f"{form}-{column}" if out else column] = path, digest
    return out


def every_column(folder: Path, golden: Path, binary: Path, names: tuple[str, ...], check: bool, only: list[str] | None, digests: bool) -> int:
    """Convert to each lossy column, and write or compare its goldens; with `digests` hold only the values against the committed ones."""
    dtype = json.loads((golden / "index.json").read_text())["dtype"]
    failed = 0
    for column in COLUMNS:
        if column in LOSSLESS[dtype] or only and column not in only:
            continue

        with tempfile.TemporaryDirectory() as scratch:
            try:
                files = columns_of(folder, Path(scratch), binary, column)
            except Refusal as refusal:
                print(f"dequantized: {golden.name}: {refusal}", file=sys.stderr)
                failed = 1
                continue
            for name, (path, digest) in files.items():
                if not digests:
                    failed |= int(in_child(lambda: one(folder, path, golden, name, names, check)) != 0)
                    continue
                index = golden / "dequantized" / name / "index.json"
                due = json.loads(index.read_text())["values_digest"] if index.is_file() else "no golden"
                failed |= int(due != digest)
                print(f"{golden.name} {name}: {'same values' if due == digest else f'values {digest}, the golden is of {due}'}", flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", type=Path, nargs="+", help="a Hugging Face folder and files made of it; with --all, folders")
    parser.add_argument("--all", action="store_true", help="convert each folder to every lossy column")
    parser.add_argument("--column", help="the column of a single file, where its name does not say")
    parser.add_argument("--columns", help="with --all: these alone, separated by commas")
    parser.add_argument("--prompts", default=",".join(PROMPTS))
    parser.add_argument("--golden", type=Path, default=ROOT / "golden", help="the folder of the goldens")
    parser.add_argument("--binary", type=Path, default=BINARY, help="the ground-truth command")
    parser.add_argument("--digests", action="store_true", help="with --all: hold the converted values against the goldens' digests, and ask nothing")
    parser.add_argument("--check", action="store_true", help="compare with the committed goldens within their floors, and write nothing")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    names = tuple(arguments.prompts.split(","))
    failed = 0
    if arguments.all:
        for folder in arguments.paths:
            golden = arguments.golden / folder.resolve().name
            failed |= every_column(folder, golden, arguments.binary, names, arguments.check, arguments.columns and arguments.columns.split(","), arguments.digests)
        return failed
    folder, *files = arguments.paths
    golden = arguments.golden / folder.resolve().name
    for path in files:
        failed |= in_child(lambda: one(folder, path, golden, arguments.column or named(path), names, arguments.check))
    return failed


if __name__ == "__main__":
    sys.exit(main())
