# /// script
# requires-python = "==3.11.*"
# dependencies = ["tokenizers==0.23.2"]
# ///
"""Write testdata/tokenizers and golden/vectors/tokenizers.json: `uv run golden/tokenizer_vectors.py`.

Small tokenizers, each with one rule of its own, and the ids that `tokenizers` gives to texts that the rule decides about: what stands
before and after a text, added tokens inside of one, bytes where there is no character, the unknown.
"""

import hashlib
import json
import platform
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "testdata" / "tokenizers"
OUT = ROOT / "golden" / "vectors" / "tokenizers.json"
SPACE = "\u2581"
PIECES = ["he", "ll", "lo", "hell", "hello", "wo", "or", "ld", "wor", "world", "th", "the"]
TEXTS = [
    "", " ", "  ", "hello", " hello", "hello world", "hello  world", "Hello", "hello ", "\n", "a\tb", "caf\u00e9", "cafe\u0301", "\u6f22\u5b57", "\U0001f469\u200d\U0001f680", "a\x00b", "\ufeffhello",
    "<s>", "</s>", "<s>hello</s>", "hello<s>world", "hello <s> world", " <s>", "<s> ", "<s><s>", "< s>", "<S>", "</S>hello",
    "a<l>b", "a  <l>  b", " <l>", "<l> ", "a<r>b", "a  <r>  b", "<r>\n\nb", "a<b>b", "a \t<b>\n b", "a<w>b", "a <w> b", "<w>", "<w>.", "x<w>", "<w>x", "_<w>_", "<N>", "<n>", "a<N>b", "a<p>b", "A<P>B", "<l><r><b>", "<l> <r> <b>",
    "<0x41>", "<0xFF>", "<unk>", "hello<unk>world", "\u00ff\u00fe", "\u0000", "zzz", "z\u00e9z\u00e9", "the hello", "\u2581hello", "\u0120hello",
]


def special(content: str) -> AddedToken:
    return AddedToken(content, special=True, normalized=False)


def merges_of(pieces: list[str], vocab: dict[str, int]) -> list[tuple[str, str]]:
    found = []
    for piece in pieces:
        found += [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in vocab and piece[i:] in vocab]
    return found


def spm(around: str, byte_fallback: bool = True, fuse: bool = True) -> Tokenizer:
    """SentencePiece's way: spaces are letters, bytes where there is no letter."""
    letters = [SPACE, *"abcdefghijklmnopqrstuvwxyz<>/.|"]
    head = ["<unk>", "<s>", "</s>", *((f"<0x{byte:02X}>" for byte in range(256)) if byte_fallback else ())]
    pieces = [*PIECES, SPACE + "hello", SPACE + "world"]
    pieces.insert(0, SPACE + "he")
    vocab = {token: i for i, token in enumerate([*head, *pieces, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges_of(pieces, vocab), unk_token="<unk>", fuse_unk=fuse, byte_fallback=byte_fallback))
    tokenizer.add_special_tokens([special(t) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.post_processor = processors.TemplateProcessing(single=around, pair=f"{around} $B", special_tokens=[("<s>", 1), ("</s>", 2)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return tokenizer


def byte_level(added: list[AddedToken], normalizer=None, around: str | None = None) -> Tokenizer:
    """GPT-2's way: every byte is a letter."""
    pieces = [*PIECES, "\u0120hello", "\u0120world"]
    pieces.insert(0, "\u0120he")
    vocab = {token: i for i, token in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), *pieces])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges_of(pieces, vocab)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    for token in added:
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    if around is not None:
        ids = [(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")]
        tokenizer.post_processor = processors.TemplateProcessing(single=around, pair=f"{around} $B", special_tokens=ids)
    return tokenizer


FLAGS = [
    special("<s>"), special("</s>"), AddedToken("<l>", lstrip=True, normalized=False), AddedToken("<r>", rstrip=True, normalized=False),
    AddedToken("<b>", lstrip=True, rstrip=True, special=True, normalized=False), AddedToken("<w>", single_word=True, normalized=False),
    AddedToken("<n>", normalized=True), AddedToken("<p>", normalized=False),
]
TOKENIZERS = {
    "spm-bos": lambda: spm("<s> $A"),
    "spm-bos-eos": lambda: spm("<s> $A </s>"),
    "spm-nothing": lambda: spm("$A"),
    "spm-unknown-fused": lambda: spm("<s> $A", byte_fallback=False),
    "spm-unknown": lambda: spm("<s> $A", byte_fallback=False, fuse=False),
    "byte-level": lambda: byte_level([special("<s>"), special("</s>")]),
    "byte-level-eos": lambda: byte_level([special("<s>"), special("</s>")], around="$A </s>"),
    "added-tokens": lambda: byte_level(FLAGS),
    "added-tokens-lowercase": lambda: byte_level(FLAGS, normalizers.Lowercase()),
}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    written = []
    for name, make in TOKENIZERS.items():
        data = (json.dumps(json.loads(make().to_str()), ensure_ascii=True, separators=(",", ":")) + "\n").encode()
        (FOLDER / f"{name}.json").write_bytes(data)
        tokenizer = Tokenizer.from_file(str(FOLDER / f"{name}.json"))
        cases = []
        for text in dict.fromkeys(TEXTS):
            with_special, without = (tokenizer.encode(text, add_special_tokens=special).ids for special in (True, False))
            decoded = tokenizer.decode(without, skip_special_tokens=False).encode("utf-8", "replace").hex()
            cases.append({"text": text, "with": with_special, "without": without, "decoded": decoded})
        written.append({"name": name, "sha256": hashlib.sha256(data).hexdigest(), "cases": cases})
        print(f"  {name:24} {tokenizer.get_vocab_size()} tokens, {len(cases)} texts")
    versions = {"tokenizers": tokenizers.__version__, "python": platform.python_version()}
    lines = ",\n".join(
        f' {{"name":{json.dumps(t["name"])},"sha256":"{t["sha256"]}","cases":[\n  ' + ",\n  ".join(json.dumps(c, ensure_ascii=True, separators=(",", ":")) for c in t["cases"]) + "\n ]}"
        for t in written
    )
    OUT.write_text(f'{{"schema":"ground-truth/vectors/tokenizers/1","versions":{json.dumps(versions)},"tokenizers":[\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
