# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "safetensors==0.8.0", "tokenizers==0.23.2", "numpy==2.4.6", "gguf==0.19.0", "accelerate==1.15.0"]
# ///
"""transformers on trial: `transformers.py safetensors` loads folders, `transformers.py gguf` GGUF files by its own conversion.

The protocol of docs/adapter.md on stdin and stdout. float32, eager attention, on the CPU; `--attention`, `--dtype` and `--threads` say
otherwise, so that the suite meets implementations that are as correct and round in another way.
"""

import argparse
import base64
import json
import logging
import os
import sys
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TOKENIZERS_PARALLELISM="false")
# This script bears the name of the package that it speaks for, and its folder comes first where modules are looked up.
sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]

import torch
import transformers
from safetensors import safe_open
from transformers.generation import logits_process as lp
from transformers.utils import chat_template_utils

# Not `threads`: every row of it is a process of its own, and ten seconds of imports.
OPS = ["metadata", "tokenize", "detokenize", "logits", "chunks", "stepwise", "batch", "generate", "timed", "chat", "sample"]

SAMPLING = {"repetition_penalty", "presence_penalty", "frequency_penalty", "no_repeat_ngram_size", "bad_words_ids", "min_length", "min_new_tokens", "eos_token_id", "temperature", "top_k", "top_p", "min_p",
            "typical_p", "min_tokens_to_keep"}

PARSER = argparse.ArgumentParser(description=__doc__.splitlines()[0])
PARSER.add_argument("format", choices=("safetensors", "gguf"))
PARSER.add_argument("--attention", choices=("eager", "sdpa"), default="eager")
PARSER.add_argument("--dtype", choices=("float32", "float64"), default="float32")
PARSER.add_argument("--threads", type=int, help="in the place of what the suite asks for")
ASKED = PARSER.parse_args()
DTYPE = getattr(torch, ASKED.dtype)


class Refused(Exception):
    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


class Heard(logging.Handler):
    """What transformers warns of while it loads."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Model:
    """One loaded folder or file."""

    def __init__(self, path: str, threads: int):
        path = Path(path)
        torch.set_num_threads(ASKED.threads or threads)
        torch.use_deterministic_algorithms(True)
        folder, extra = path, {}
        if path.suffix == ".gguf":
            folder, extra = path.parent, {"gguf_file": path.name}
        elif path.is_file():
            folder = path.parent
        heard = Heard()
        transformers.logging.get_logger("transformers").addHandler(heard)
        transformers.logging.disable_progress_bar()
        self.model, loading = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=DTYPE, attn_implementation=ASKED.attention, output_loading_info=True, **extra)
        self.model.eval()
        self.config, self.folder = self.model.config, folder
        # The generic class takes tokenizer.json as it is written; the model's own may rebuild it.
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **extra) if extra else transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        transformers.logging.get_logger("transformers").removeHandler(heard)
        self.warnings = heard.lines + [f"{name}: {sorted(map(str, loading[name]))}" for name in ("missing_keys", "unexpected_keys", "mismatched_keys") if loading.get(name)]
        self.warnings += [f"{name} is {p.dtype} after loading" for name, p in self.model.named_parameters() if p.dtype != DTYPE]
        eos = self.model.generation_config.eos_token_id
        self.eos = [] if eos is None else eos if isinstance(eos, list) else [eos]
        self.n_ctx = self.config.max_position_embeddings

    def metadata(self) -> dict:
        config = self.config
        return {
            "architecture": config.model_type, "n_layers": config.num_hidden_layers, "n_heads": config.num_attention_heads, "n_kv_heads": getattr(config, "num_key_value_heads", config.num_attention_heads),
            "head_dim": getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads, "hidden_size": config.hidden_size,
            "intermediate_size": getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * config.hidden_size,
            "vocab_size": config.vocab_size, "n_ctx": self.n_ctx, "tie_word_embeddings": config.tie_word_embeddings, "bos": config.bos_token_id, "eos": self.eos,
        }

    def tokenize(self, text: str, add_special: bool) -> dict:
        return {"ids": self.tokenizer.encode(text, add_special_tokens=add_special)}

    def detokenize(self, ids: list[int]) -> dict:
        text = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return {"bytes": base64.b64encode(text.encode()).decode()}

    def chat(self, messages: list, add_generation_prompt: bool, tools: list | None = None, variables: dict | None = None, template: str | None = None, now: str | None = None) -> dict:
        """Text and ids of a conversation. `variables` stand in for the tokenizer's own special tokens."""
        if not messages:
            raise Refused("chat", "there is no message")
        clock = chat_template_utils.datetime
        if now is not None:
            chat_template_utils.datetime = type("Clock", (clock,), {"now": classmethod(lambda cls, zone=None: clock.fromisoformat(now))})
        try:
            text = self.tokenizer.apply_chat_template(messages, tools=tools, chat_template=template, add_generation_prompt=add_generation_prompt, tokenize=False, **(variables or {}))
        except Exception as error:  # a template may raise anything
            raise Refused("chat", f"{type(error).__name__}: {error}") from error
        finally:
            chat_template_utils.datetime = clock
        return {"text": text, "ids": self.tokenizer.encode(text, add_special_tokens=False)}

    def sample(self, shape: list[int], f32: str, prompt: list[int], generated: list[int], params: dict, u: float) -> dict:
        """One draw by transformers' own processors, in the order of `generate`; the two penalties of the OpenAI API by their formula."""
        row = torch.frombuffer(bytearray(base64.b64decode(f32)), dtype=torch.float32)[None]
        if row.shape[1] == 0 or list(row.shape[1:]) != shape or row.isnan().any() or (row == torch.inf).any() or not 0.0 <= u < 1.0:
            raise Refused("sample", "logits are numbers below infinity, one at least, and u lies in [0, 1)")
        if not set(params) <= SAMPLING or params.get("min_tokens_to_keep", 1) < 1:
            raise Refused("sample", f"no such parameters: {params}")
        ids, given, off = torch.tensor([prompt + generated], dtype=torch.long), params.get, lambda name, neutral: params.get(name, neutral) == neutral
        eos, keep = torch.tensor(given("eos_token_id", []), dtype=torch.long), given("min_tokens_to_keep", 1)
        counts = torch.bincount(torch.tensor(generated, dtype=torch.long), minlength=shape[0])[: shape[0]].double()
        penalty = counts * given("frequency_penalty", 0.0) + (counts > 0) * given("presence_penalty", 0.0)
        steps = [
            (not off("repetition_penalty", 1.0), lambda: lp.RepetitionPenaltyLogitsProcessor(float(given("repetition_penalty")))),
            (bool(penalty.any()), lambda: lambda _, scores: (scores.double() - penalty).float()),
            (not off("no_repeat_ngram_size", 0), lambda: lp.NoRepeatNGramLogitsProcessor(given("no_repeat_ngram_size"))),
            (bool(given("bad_words_ids")), lambda: lp.NoBadWordsLogitsProcessor(given("bad_words_ids"), eos if len(eos) else None)),
            (not off("min_length", 0) and len(eos), lambda: lp.MinLengthLogitsProcessor(given("min_length"), eos)),
            (not off("min_new_tokens", 0) and len(eos), lambda: lp.MinNewTokensLengthLogitsProcessor(len(prompt), given("min_new_tokens"), eos)),
            (not off("temperature", 1.0), lambda: lp.TemperatureLogitsWarper(float(given("temperature")))),
            (not off("top_k", 0), lambda: lp.TopKLogitsWarper(given("top_k"), min_tokens_to_keep=keep)),
            (not off("top_p", 1.0), lambda: lp.TopPLogitsWarper(given("top_p"), min_tokens_to_keep=keep)),
            (given("min_p") is not None, lambda: lp.MinPLogitsWarper(given("min_p"), min_tokens_to_keep=keep)),
            (not off("typical_p", 1.0), lambda: lp.TypicalLogitsWarper(given("typical_p"), min_tokens_to_keep=keep)),
        ]
        for wanted, make in steps:
            row = make()(ids, row) if wanted else row
        if not (row > -torch.inf).any():
            raise Refused("sample", "every token is masked")
        sums = row[0].softmax(-1).double().cumsum(-1)
        return {**packed(row[0]), "token": int((sums > u * sums[-1]).nonzero()[0])}

    def tensors(self) -> dict:
        """As the safetensors files hold them."""
        rows = []
        for file in sorted(self.folder.glob("*.safetensors")):
            with safe_open(file, "pt") as opened:
                for name in opened.keys():
                    values = opened.get_tensor(name).double().flatten()
                    finite = values[values.isfinite()]
                    numbers = {"rms": finite.square().mean().sqrt(), "mean": finite.mean(), "min": finite.min(), "max": finite.max()}
                    part = opened.get_slice(name)
                    rows.append({"name": name, "dtype": part.get_dtype(), "shape": part.get_shape(), "n_nonfinite": len(values) - len(finite), **{k: float(v) for k, v in numbers.items()}})
        return {"tensors": rows}

    def checked(self, ids: list[int]) -> None:
        if not ids:
            raise Refused("empty-input", "there is no id to compute")
        if len(ids) > self.n_ctx:
            raise Refused("context", f"{len(ids)} ids, and the context holds {self.n_ctx}")

    def logits(self, ids: list[int], positions: str, chunks: list[int] | None = None) -> dict:
        self.checked(ids)
        chunks = [len(ids)] if chunks is None else chunks
        if sum(chunks) != len(ids) or any(n < 1 for n in chunks):
            raise Refused("request", f"pieces of {chunks} do not make up {len(ids)} ids")
        cache, out = transformers.DynamicCache(config=self.config), []
        with torch.no_grad():
            for part in torch.tensor([ids]).split(chunks, dim=1):
                out.append(self.model(input_ids=part, past_key_values=cache, use_cache=True, logits_to_keep=1 if positions == "last" else 0).logits[0])
        return packed(out[-1] if positions == "last" else torch.cat(out))

    def logits_batch(self, batch: list[list[int]], positions: str) -> dict:
        for ids in batch:
            self.checked(ids)
        longest = max(map(len, batch))
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in batch])
        with torch.no_grad():
            rows = self.model(input_ids=torch.tensor([ids + [0] * (longest - len(ids)) for ids in batch]), attention_mask=mask, use_cache=False).logits
        return {"logits": [packed(row[0 if positions == "all" else len(ids) - 1 : len(ids)]) for row, ids in zip(rows, batch, strict=True)]}

    def generate(self, ids: list[int], max_new_tokens: int, stop_at_eos: bool) -> dict:
        self.checked(ids)
        most = min(max_new_tokens, self.n_ctx - len(ids))
        if most == 0:
            return {"ids": [], "stop": "length"}
        settings = transformers.GenerationConfig(do_sample=False, num_beams=1, max_new_tokens=most, eos_token_id=self.eos if stop_at_eos and self.eos else None, pad_token_id=0)
        prompt = torch.tensor([ids])
        # The model's own generation settings name its EOS, so they step aside for this request.
        own, self.model.generation_config = self.model.generation_config, settings
        try:
            out = self.model.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=settings)[0, len(ids) :].tolist()
        finally:
            self.model.generation_config = own
        return {"ids": out, "stop": "eos" if stop_at_eos and out and out[-1] in self.eos else "length"}


def packed(rows: torch.Tensor) -> dict:
    return {"shape": list(rows.shape), "f32": base64.b64encode(rows.contiguous().numpy().astype("<f4").tobytes()).decode()}


REQUESTS = ("tokenize", "detokenize", "logits", "logits_batch", "generate", "tensors", "chat", "sample")


def main() -> None:
    # What transformers prints is not for the protocol.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    model = None
    for line in sys.stdin:
        request = json.loads(line)
        number, op = request.pop("id"), request.pop("op")
        try:
            if op == "hello":
                answer = {"runtime": "transformers", "version": transformers.__version__, "formats": [ASKED.format], "quantizations": [], "architectures": [],
                          "ops": OPS if ASKED.format == "gguf" else [*OPS, "tensors"], "arithmetic": "f32"}
            elif op == "load":
                model = Model(**request)
                answer = {"ok": True, "metadata": model.metadata(), "warnings": model.warnings}
            elif model is not None and op in REQUESTS:
                answer = getattr(model, op)(**request)
            else:
                raise Refused("unsupported", f"{op!r} here")
        except Refused as refused:
            answer = {"error": {"kind": refused.kind, "message": str(refused)}}
        except Exception as error:  # what transformers raises is its refusal, under the name of its class
            answer = {"error": {"kind": type(error).__name__, "message": str(error) or "no message"}}
        print(json.dumps({"id": number, **answer}), file=out, flush=True)


if __name__ == "__main__":
    main()
