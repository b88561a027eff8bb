# /// script
# requires-python = "==3.11.*"
# dependencies = ["gguf==0.19.0", "numpy==2.4.6", "xllamacpp==2026.10.11549"]
# ///
"""llama.cpp on trial: GGUF files, protocol of docs/adapter.md on stdin and stdout.

A prebuilt llama.cpp (xllamacpp's wheel) in this process, asked through its C interface, so that the logits are its own and all of
them. float32 KV cache, flash attention off, the CPU alone. The wheel is pinned, and so are the offsets of the few parameters that
are set; a build whose defaults do not stand there is refused before anything is loaded.
"""

import base64
import ctypes
import json
import os
import struct
import sys
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int8, c_int32, c_void_p
from importlib import metadata
from pathlib import Path

import gguf
import numpy as np

BIG = ctypes.c_uint8 * 1024
WARNING, ERROR, CONTINUED = 3, 4, 5
LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, c_char_p, c_void_p)
F32, F16 = 0, 1
# Where a parameter stands in llama_context_params, its format, and its default.
CONTEXT = {
    "n_ctx": (0, "<I", 512), "n_batch": (4, "<I", 2048), "n_seq_max": (12, "<I", 1), "n_outputs_max": (20, "<I", 0), "n_outputs_max_per_seq": (24, "<I", 1), "n_threads": (28, "<i", 4),
    "n_threads_batch": (32, "<i", 4), "flash_attn": (52, "<i", -1), "type_k": (104, "<i", F16), "type_v": (108, "<i", F16),
}
GPU_LAYERS = (16, "<i", -1)
OPS = ("metadata", "tokenize", "detokenize", "logits", "chunks", "stepwise", "threads", "batch", "generate", "timed")


class Refused(Exception):
    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


class Parameters(ctypes.Structure):
    """A parameter struct passed by value: larger than it is, as nothing follows it."""

    _fields_ = [("bytes", BIG)]

    def set(self, at: tuple, value: int) -> None:
        offset, form, default = at
        if struct.unpack_from(form, self.bytes, offset)[0] != default:
            raise Refused("build", f"this xllamacpp does not have the default {default} at offset {offset} of its parameters")
        struct.pack_into(form, self.bytes, offset, value)


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", c_int32), ("token", POINTER(c_int32)), ("embd", c_void_p), ("pos", POINTER(c_int32)), ("n_seq_id", POINTER(c_int32)), ("seq_id", POINTER(POINTER(c_int32))), ("logits", POINTER(c_int8))]


def library() -> ctypes.CDLL:
    try:
        import xllamacpp

        lib = ctypes.CDLL(str(next(Path(xllamacpp.__file__).parent.glob("xllamacpp*.so"))))
        lib.llama_get_logits_ith
    except (ImportError, OSError, AttributeError, StopIteration) as error:
        raise Refused("not-installed", f"xllamacpp with llama.cpp's C interface: {error}") from error
    pointers = ("llama_model_load_from_file", "llama_init_from_model", "llama_model_get_vocab", "llama_get_memory")
    for name, restype in {"llama_model_default_params": Parameters, "llama_context_default_params": Parameters, "llama_batch_init": Batch, **dict.fromkeys(pointers, c_void_p)}.items():
        getattr(lib, name).restype = restype
    lib.llama_get_logits_ith.restype = POINTER(c_float)
    lib.llama_vocab_is_eog.restype = c_bool
    lib.llama_backend_init()
    return lib


class LlamaCpp:
    """One loaded file."""

    def __init__(self, lib: ctypes.CDLL, path: str, threads: int):
        self.lib, self.path, self.said, self.contexts = lib, path, [], {}
        self.sink = LOG(lambda level, text, _: self.said.append((level, text.decode(errors="replace"))))
        lib.llama_log_set(self.sink, None)
        parameters = lib.llama_model_default_params()
        parameters.set(GPU_LAYERS, 0)
        self.model = c_void_p(lib.llama_model_load_from_file(path.encode(), parameters))
        if not self.model:
            raise Refused("load", self.last("llama.cpp gave no reason"))
        self.vocab = c_void_p(lib.llama_model_get_vocab(self.model))
        self.n_vocab, self.n_ctx, self.threads = lib.llama_vocab_n_tokens(self.vocab), lib.llama_model_n_ctx_train(self.model), threads
        self.eos = [i for i in range(self.n_vocab) if lib.llama_vocab_is_eog(self.vocab, i)]
        self.context(1)
        self.warnings = [text.strip() for level, text in self.said if level in (WARNING, ERROR) and text.strip()]

    def last(self, otherwise: str) -> str:
        lines = [text.strip() for level, text in self.said if level in (WARNING, ERROR) and text.strip()]
        return "; ".join(lines[-3:]) or otherwise

    def context(self, sequences: int) -> c_void_p:
        """A context for so many sequences of the model's full length."""
        if sequences not in self.contexts:
            parameters = self.lib.llama_context_default_params()
            wanted = {"n_ctx": self.n_ctx * sequences, "n_batch": self.n_ctx * sequences, "n_seq_max": sequences, "n_outputs_max": 0, "n_outputs_max_per_seq": 0,
                      "n_threads": self.threads, "n_threads_batch": self.threads, "flash_attn": 0, "type_k": F32, "type_v": F32}
            for name, value in wanted.items():
                parameters.set(CONTEXT[name], value)
            made = c_void_p(self.lib.llama_init_from_model(self.model, parameters))
            if not made:
                raise Refused("load", self.last("no context"))
            self.contexts[sequences] = made
        return self.contexts[sequences]

    def metadata(self) -> dict:
        """As docs/adapter.md names the fields."""
        lib, model = self.lib, self.model
        architecture, n_heads, width, bos = self.value("general.architecture"), lib.llama_model_n_head(model), lib.llama_model_n_embd(model), lib.llama_vocab_bos(self.vocab)
        head_dim, mlp = self.value(f"{architecture}.attention.key_length"), self.value(f"{architecture}.feed_forward_length")
        return {
            "architecture": architecture, "n_layers": lib.llama_model_n_layer(model), "n_heads": n_heads, "n_kv_heads": lib.llama_model_n_head_kv(model), "head_dim": int(head_dim or width // n_heads),
            "hidden_size": width, "intermediate_size": mlp and int(mlp), "vocab_size": self.n_vocab, "n_ctx": self.n_ctx, "bos": bos if bos >= 0 else None, "eos": self.eos,
            # llama.cpp ties the head to the embedding exactly where the file has no head.
            "tie_word_embeddings": all(tensor.name != "output.weight" for tensor in gguf.GGUFReader(self.path).tensors),
        }

    def value(self, key: str) -> str | None:
        buffer = ctypes.create_string_buffer(4096)
        return buffer.value.decode() if self.lib.llama_model_meta_val_str(self.model, key.encode(), buffer, len(buffer)) >= 0 else None

    def tokenize(self, text: str, add_special: bool) -> dict:
        data = text.encode()
        room = (c_int32 * (len(data) + 16))()
        n = self.lib.llama_tokenize(self.vocab, data, len(data), room, len(room), add_special, True)
        if n < 0:
            raise Refused("tokenize", f"llama_tokenize answered {n}")
        return {"ids": room[:n]}

    def detokenize(self, ids: list[int]) -> dict:
        self.known(ids)
        tokens, room = (c_int32 * len(ids))(*ids), ctypes.create_string_buffer(16 * len(ids) + 16)
        n = self.lib.llama_detokenize(self.vocab, tokens, len(ids), room, len(room), False, True)
        if n < 0:
            room = ctypes.create_string_buffer(-n)
            n = self.lib.llama_detokenize(self.vocab, tokens, len(ids), room, len(room), False, True)
        if n < 0:
            raise Refused("detokenize", f"llama_detokenize answered {n}")
        return {"bytes": base64.b64encode(room.raw[:n]).decode()}

    def known(self, ids: list[int]) -> None:
        if any(not isinstance(i, int) or not 0 <= i < self.n_vocab for i in ids):
            raise Refused("token-id", f"ids are numbers from 0 to {self.n_vocab - 1}")

    def checked(self, ids: list[int], more: int = 0) -> None:
        if not ids:
            raise Refused("empty-input", "there is no id to compute")
        self.known(ids)
        if len(ids) + more > self.n_ctx:
            raise Refused("context", f"{len(ids) + more} ids, and the context holds {self.n_ctx}")

    def fed(self, context: c_void_p, rows: list[tuple[int, int, int, bool]]) -> np.ndarray:
        """The logits of those rows (id, position, sequence, wanted) that are wanted, after one call of llama_decode."""
        batch = self.lib.llama_batch_init(len(rows), 0, 1)
        for at, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[at], batch.pos[at], batch.n_seq_id[at], batch.logits[at] = token, position, 1, wanted
            batch.seq_id[at][0] = sequence
        batch.n_tokens = len(rows)
        self.said.clear()
        status = self.lib.llama_decode(context, batch)
        self.lib.llama_batch_free(batch)
        if status != 0:
            raise Refused("decode", f"llama_decode answered {status}: {self.last('no reason given')}")
        out = [np.ctypeslib.as_array(self.lib.llama_get_logits_ith(context, at), (self.n_vocab,)).copy() for at, row in enumerate(rows) if row[3]]
        return np.array(out, "<f4").reshape(-1, self.n_vocab)

    def logits(self, ids: list[int], positions: str, chunks: list[int] | None = None) -> dict:
        self.checked(ids)
        chunks = [len(ids)] if chunks is None else chunks
        if sum(chunks) != len(ids) or any(n < 1 for n in chunks):
            raise Refused("request", f"pieces of {chunks} do not make up {len(ids)} ids")
        context, out, at = self.fresh(1), [], 0
        for n in chunks:
            last = len(ids) - 1
            out.append(self.fed(context, [(ids[i], i, 0, positions == "all" or i == last) for i in range(at, at + n)]))
            at += n
        return packed(np.concatenate(out))

    def logits_batch(self, batch: list[list[int]], positions: str) -> dict:
        for ids in batch:
            self.checked(ids)
        context = self.fresh(len(batch))
        rows = [(token, at, sequence, positions == "all" or at == len(ids) - 1) for sequence, ids in enumerate(batch) for at, token in enumerate(ids)]
        answers, ends = self.fed(context, rows), np.cumsum([len(ids) if positions == "all" else 1 for ids in batch])
        return {"logits": [packed(rows) for rows in np.split(answers, ends[:-1])]}

    def generate(self, ids: list[int], max_new_tokens: int, stop_at_eos: bool) -> dict:
        self.checked(ids)
        context, out = self.fresh(1), []
        feed = [(token, at, 0, at == len(ids) - 1) for at, token in enumerate(ids)]
        while len(out) < max_new_tokens and len(ids) + len(out) < self.n_ctx:
            row = self.fed(context, feed)[0]
            if not np.isfinite(row).all():
                raise Refused("not-finite", f"{int((~np.isfinite(row)).sum())} of {self.n_vocab} logits are not finite after {len(ids) + len(out)} ids")
            out.append(int(row.argmax()))
            if stop_at_eos and out[-1] in self.eos:
                return {"ids": out, "stop": "eos"}
            feed = [(out[-1], len(ids) + len(out) - 1, 0, True)]
        return {"ids": out, "stop": "length"}

    def fresh(self, sequences: int) -> c_void_p:
        context = self.context(sequences)
        self.lib.llama_memory_clear(c_void_p(self.lib.llama_get_memory(context)), True)
        return context


def packed(rows: np.ndarray) -> dict:
    return {"shape": list(rows.shape), "f32": base64.b64encode(np.ascontiguousarray(rows, "<f4").tobytes()).decode()}


REQUESTS = ("tokenize", "detokenize", "logits", "logits_batch", "generate")


def main() -> None:
    # llama.cpp may print to the standard output, which belongs to the protocol.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    lib = model = None
    for line in sys.stdin:
        request = json.loads(line)
        number, op = request.pop("id"), request.pop("op")
        try:
            if op == "hello":
                lib = library()
                answer = {"runtime": "llama.cpp", "version": metadata.version("xllamacpp"), "formats": ["gguf"], "quantizations": [], "architectures": [], "ops": OPS, "arithmetic": "blocks"}
            elif op == "load":
                model = LlamaCpp(lib, **request)
                answer = {"ok": True, "metadata": model.metadata(), "warnings": model.warnings}
            elif model is not None and op in REQUESTS:
                answer = getattr(model, op)(**request)
            else:
                raise Refused("unsupported", f"{op!r} here")
        except Refused as refused:
            answer = {"error": {"kind": refused.kind, "message": str(refused)}}
        except (TypeError, ValueError) as error:
            answer = {"error": {"kind": "request", "message": f"{type(error).__name__}: {error}"}}
        print(json.dumps({"id": number, **answer}), file=out, flush=True)


if __name__ == "__main__":
    main()
