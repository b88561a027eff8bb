# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "safetensors==0.8.0", "tokenizers==0.23.2", "numpy==2.4.6"]
# ///
"""Write golden/chat: what `apply_chat_template` of transformers makes of conversations: `uv run golden/chat.py [--check]`.

The templates are those of testdata/chat, one a style; the ids are those of the carried models' tokenizers. Nothing of this project is
imported but `chat_prompts.py` beside this script, which holds what is asked. `golden/README.md` states the rules.
"""

import argparse
import datetime
import hashlib
import json
import platform
import sys
from pathlib import Path

import jinja2
import tokenizers
import transformers
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

import chat_prompts

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "golden" / "chat"
TEMPLATES = ROOT / "testdata" / "chat"
MODELS = ROOT / "testdata" / "models"
SCHEMA = "ground-truth/golden-chat/1"
GENERATOR = ("chat.py", "chat_prompts.py")
NOW = "2026-07-05T09:08:07"


class Clock(datetime.datetime):
    """The clock that `strftime_now` reads."""

    @classmethod
    def now(cls, tz=None):
        return cls.fromisoformat(NOW)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def provenance() -> dict:
    here = Path(__file__).resolve().parent
    versions = {
        "transformers": transformers.__version__, "tokenizers": tokenizers.__version__, "jinja2": jinja2.__version__, "python": platform.python_version(),
    }
    return {"runtime": "transformers", "versions": versions, "generator": sha256(b"".join((here / name).read_bytes() for name in GENERATOR))}


def carried() -> dict[str, Path]:
    """The tokenizers of the carried models, each once, under the first model that has it."""
    found: dict[str, tuple[str, Path]] = {}
    for path in sorted(MODELS.glob("*/tokenizer.json")):
        found.setdefault(sha256(path.read_bytes()), (path.parent.name, path))
    return dict(found.values())


class Oracle:
    def __init__(self):
        self.tokenizers = {name: (PreTrainedTokenizerFast(tokenizer_file=str(path)), Tokenizer.from_file(str(path))) for name, path in carried().items()}
        self.any = next(iter(self.tokenizers.values()))[0]
        for _, tokenizer in self.tokenizers.values():
            tokenizer.no_padding()
            tokenizer.no_truncation()

    def render(self, source: str, messages: list, tools: list | None, variables: dict, prompt: bool) -> str:
        return self.any.apply_chat_template(messages, tools=tools, chat_template=source, add_generation_prompt=prompt, tokenize=False, **variables)

    def ids(self, text: str, source: str, messages: list, tools: list | None, variables: dict, prompt: bool) -> dict[str, list[int]]:
        found = {}
        for name, (wrapped, plain) in self.tokenizers.items():
            ids = wrapped.apply_chat_template(messages, tools=tools, chat_template=source, add_generation_prompt=prompt, tokenize=True, return_dict=False, **variables)
            if ids != plain.encode(text, add_special_tokens=False).ids:
                raise SystemExit(f"{name}: apply_chat_template has other ids than its own text has")
            found[name] = ids
        return found

    def outcome(self, source: str, conversation: tuple, tokens: dict, prompt: bool, with_ids: bool) -> dict:
        messages, tools, more = conversation
        asked = (source, messages, tools, {**tokens, **more}, prompt)
        try:
            text = self.render(*asked)
        except RecursionError:
            return {"refused": "RecursionError"}
        except Exception as error:  # Whatever rendering raises is a refusal.
            return {"refused": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        return {"text": text, **({"ids": self.ids(text, *asked)} if with_ids else {})}


def layout(value: dict) -> str:
    """JSON, one case a line: small, and a diff still shows where it changed."""
    def line(item) -> str:
        return json.dumps(item, ensure_ascii=True, separators=(",", ":"))
    parts = []
    for key, field in value.items():
        if isinstance(field, list) and field and isinstance(field[0], dict):
            inner = ",\n  ".join(line(item) for item in field)
            parts.append(f" {line(key)}:[\n  {inner}\n ]")
        else:
            parts.append(f" {line(key)}:{line(field)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def files() -> dict[str, bytes]:
    oracle, told = Oracle(), provenance()
    head = {"schema": SCHEMA, "oracle": told}
    written: dict[str, str] = {}
    conversations = [{"name": n, "messages": m, "tools": t, "variables": v} for n, (m, t, v) in chat_prompts.CONVERSATIONS.items()]
    written["conversations.json"] = layout({**head, "conversations": conversations})
    styles = []
    for style, tokens in chat_prompts.STYLES.items():
        source = (TEMPLATES / f"{style}.jinja").read_bytes().decode()
        cases = []
        for name, conversation in chat_prompts.CONVERSATIONS.items():
            for prompt in (True, False):
                found = oracle.outcome(source, conversation, tokens, prompt, prompt and name in chat_prompts.IDS)
                cases.append({"conversation": name, "add_generation_prompt": prompt, **found})
        written[f"{style}.json"] = layout({**head, "style": style, "template": source, "now": NOW, "variables": tokens, "cases": cases})
        refused = [case for case in cases if "refused" in case]
        styles.append({"name": style, "n_cases": len(cases), "n_refused": len(refused)})
        print(f"  {style:8} {len(cases)} cases, {len(refused)} refused: {sorted({c['conversation'] for c in refused})}")
    language = []
    variables = {name: value for name, value in chat_prompts.D.items() if name != "messages"}
    for name, source in chat_prompts.LANGUAGE.items():
        found = oracle.outcome(source, (chat_prompts.D["messages"], None, {}), variables, True, False)
        language.append({"name": name, "template": source, **found})
    written["language.json"] = layout({**head, "now": NOW, "messages": chat_prompts.D["messages"], "variables": variables, "language": language})
    print(f"  language {len(language)} expressions, {sum('refused' in case for case in language)} refused")
    names = [{"name": name, "bytes": len(text.encode()), "sha256": sha256(text.encode())} for name, text in sorted(written.items())]
    having = [{"model": name, "sha256": sha256(path.read_bytes())} for name, path in carried().items()]
    index = layout({**head, "tokenizers": having, "styles": styles, "golden_files": names})
    written["chat.json"] = index
    written["chat.sha256"] = f"{sha256(index.encode())}  chat.json\n"
    return {name: text.encode() for name, text in written.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare a new run with what is committed, byte for byte")
    asked = parser.parse_args()
    chat_template_utils.datetime = Clock
    written = files()
    if asked.check:
        there = {path.name for path in OUT.iterdir()}
        wrong = [name for name, data in written.items() if name not in there or (OUT / name).read_bytes() != data] + sorted(there - written.keys())
        print(f"differ: {', '.join(wrong)}" if wrong else "the same")
        return 1 if wrong else 0
    OUT.mkdir(parents=True, exist_ok=True)
    for name, data in written.items():
        (OUT / name).write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
