# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""The control of runtimes/apr.py, which needs no apr: what a right apr would answer is green in every row, and any one thing spoiled is red.

    uv run --script runtimes/apr_control.py

The answers are made of the goldens and hold only what a row reads, so each field that is removed, of another type or empty has to be noticed.
"""

import copy
import json
import math
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
import apr as trial

class Right(trial.Apr):
    """What a right apr would answer; `spoil` changes the answers of one command."""

    def __init__(self, home: Path):
        super().__init__("", home)
        self.subjects, self.command, self.spoil = {}, "", lambda text: text

    def run(self, *arguments: str) -> str:
        command = arguments[0]
        text = json.dumps(self.answer(command, arguments)) if command not in ("export", "import") else ""
        return self.spoil(text) if command == self.command else text

    def answer(self, command: str, arguments: tuple[str, ...]):
        if command == "--version":
            return {"cuda_feature": True, "visible_devices": ["0"]}
        if command == "list":
            files = list((self.cache / "pacha" / "models").iterdir())
            return {"models": [{"name": f.stem, "size_bytes": f.stat().st_size} for f in files], "total": len(files)}
        file = next(a for a in arguments if a.endswith((".apr", ".gguf")))
        subject = next(s for name, s in self.subjects.items() if Path(file).name.startswith(name))
        architecture, config, parameters = subject.index["architecture"], subject.index["config"], subject.numbers
        shapes = [{"name": name, "shape": shape} for name, shape in subject.tensors.items()]
        golden = subject.golden["code"]
        if command == "run":
            golden = next(g for g in subject.golden.values() if g["prompt"]["text"] == arguments[3])
        n = len(golden["prompt"]["ids"])
        return {
            "run": {"tokens": golden["greedy"]["ids"], "text": golden["greedy"]["text"]},
            "eval": {"perplexity": math.exp(sum(trial.unhex(bits) for bits in golden["forced"]["nll"][: n - 1]) / (n - 1))},
            "inspect": {"architecture": architecture, "num_layers": config["n_layers"], "num_heads": config["n_heads"], "hidden_size": config["hidden_size"], "vocab_size": config["vocab_size"], "checksum_valid": True},
            "validate": {"checks": [{"status": "PASS"}], "verdict": "VALID", "checks_not_implemented": 0},
            "tensors": {"tensors": shapes, "tensor_count": len(shapes)},
            "lint": {"issues": [], "error_count": 0, "passed": True},
            "check": {"stages": [{"status": "PASS"}] * 10, "passed": 10},
            "bench": {"tokens_per_second": 1.5, "total_tokens": 16},
            "diff": {"structural_diffs": 0, "identical": False},
            "rosetta": {"layout_mismatches": 0, "missing_in_a": 0, "missing_in_b": 0, "tensors_a": len(shapes)},
            "tree": {"tensor_count": len(shapes)},
            "oracle": {"format": {"architecture": architecture, "total_params": parameters}},
            "hex": [{"name": arguments[arguments.index("--tensor") + 1], "stats": {"std": 0.5}}] if command == "hex" else None,
            "debug": {"health": "OK", "architecture": architecture, "parameters": parameters},
            "qa": {"gates": [{"name": name, "passed": name != "skipped", "skipped": name == "skipped"} for name in ("one", "two", "three", "skipped")], "gates_executed": 3, "passed": True},
            "parity": {"parity": True, "failed": 0, "tokens": 9},
        }[command]


# The command whose answers each row reads.
COMMANDS = {
    "list": "list", "quant-drift": "run", "roundtrip": "run", "tensors": "tensors", "hex": "hex", "rosetta-diff": "rosetta", "tree": "tree", "debug": "debug", "canary": "run", "token-parity": "run",
    "ppl": "eval", "inspect": "inspect", "validate": "validate", "lint": "lint", "selftest": "check", "bench": "bench", "diff": "diff", "oracle-id": "oracle", "qa": "qa", "parity-gpu": "parity",
}
# What a row may ignore, and whose value it may: text where ids are compared and the reverse, an id within the bound, the name of a gate.
IGNORED = {"quant-drift": ("text",), "roundtrip": ("text",), "token-parity": ("text",), "canary": ("tokens",)}
LOOSE = {"quant-drift": ("tokens",), "roundtrip": ("tokens",), "token-parity": ("tokens",), "qa": ("name",)}


def spoiled(answer, ignored, loose, is_loose=False):
    """Every answer that differs from this one in one place: a key removed, another type, another value."""
    for key, value in answer.items() if isinstance(answer, dict) else list(enumerate(answer))[:1] if isinstance(answer, list) else ():
        if key in ignored:
            continue
        if isinstance(answer, dict):
            yield {k: v for k, v in answer.items() if k != key}
        here = is_loose or key in loose
        others = [None, {} if isinstance(value, str) else "1"]
        if isinstance(value, list) and value:
            others.append([])
        if not here and not isinstance(value, (list, dict)):
            others.append(not value if isinstance(value, bool) else value + "x" if isinstance(value, str) else -1)
        for other in [*others, *spoiled(value, ignored, loose, here)]:
            changed = copy.copy(answer)
            changed[key] = other
            yield changed


def texts(check: str, text: str) -> list[str]:
    """What a command might say instead of the text that is right for a row of this check."""
    other = ["", " \n", "{", text + "}", "\x1b[0m" + text, text.replace(":", ': NaN, "x":', 1)]
    return other + [json.dumps(answer) for answer in spoiled(json.loads(text), IGNORED.get(check, ()), LOOSE.get(check, ()))]


def differing(count: int):
    """The answer of `apr run` with so many ids wrong."""

    def spoil(text: str) -> str:
        answer = json.loads(text)
        return json.dumps({**answer, "tokens": [-1] * count + answer["tokens"][count:]})

    return spoil


def main() -> int:
    wrong, tried = [], 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for origin in trial.ORIGINS:
            right = Right(folder)
            for model in trial.MODELS:
                files = trial.Files({q: str(folder / f"{model}-{q}.apr") for q in trial.QUANTIZATIONS})
                Path(files["int8"]).write_bytes(b"APR\0")
                right.subjects[model] = trial.Subject(right, model, folder, files, origin)
            for check, rows in trial.cases(right, list(right.subjects.values())).items():
                right.command, right.spoil, right.said = COMMANDS[check], lambda text: text, {}
                result, passed, judged, said = trial.judge(rows)
                if passed != len(rows):
                    wrong.append(f"{origin}: {check}: {result} of right answers: {said[:1]}")
                seen = []
                right.spoil, right.said = lambda text: seen.append(text) or text, {}
                trial.judge(rows[:1])
                for text in texts(check, seen[0]):
                    right.spoil, right.said = lambda _, text=text: text, {}
                    tried += 1
                    if trial.judge(rows[:1])[1]:
                        wrong.append(f"{origin}: {check}: green though spoiled: {text[:120]!r}")
            right.command = "run"
            for quantization, bound in trial.BOUNDS.items():
                for count in (bound, bound + 1):
                    right.spoil, right.said = differing(count), {}
                    tried += 1
                    subject = right.subjects[trial.MODELS[0]]
                    if trial.judge([lambda: subject.within(quantization, subject.file[quantization], "code")])[1] != (count <= bound):
                        wrong.append(f"{quantization} with {count} of 32 tokens wrong")
        shell = trial.Apr("/bin/sh", folder)
        for script in ("exit 3", "kill -9 $$", r"printf '\377'", "printf ''", "echo nothing"):
            tried += 1
            try:
                shell.parsed("sh", shell.run("-c", script))
                wrong.append(f"green though a process said `{script}`")
            except trial.Red:
                pass
    print("\n".join(wrong[:20] + [f"{tried} spoiled answers, {len(wrong)} not as they have to be"]))
    return int(bool(wrong) or tried < 200)


if __name__ == "__main__":
    sys.exit(main())
