"""What the oracle asks every model: prompts for the forward pass and strings for the tokenizer."""

import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """One prompt; `length` is the number of prompt ids it must have, where that is the point of it."""

    name: str
    category: str
    text: str | None
    max_new_tokens: int = 32
    stop_at_eos: bool = True
    add_special_tokens: bool = True
    full: bool = False


# The four prompts of the token checks: asked first, continued by 32 tokens.
CANARIES = (
    Prompt("arithmetic", "canary", "What is 2+2? Answer:", full=True),
    Prompt("code", "canary", "def fibonacci(n):", full=True),
    Prompt("completion", "canary", "The capital of France is"),
    Prompt("greeting", "canary", "Hello, my name is"),
)
# The standard validation set, text by text as its YAML gives them (a block scalar ends in one line end).
STANDARD = (
    Prompt("sanity-continuation", "sanity", "1, 2, 3, 4,"),
    Prompt("mmlu-elementary-math", "mmlu", "Question: What is 15% of 80?\nA) 8\nB) 12\nC) 15\nD) 20\nAnswer:\n"),
    Prompt("mmlu-world-history", "mmlu", "Question: The French Revolution began in which year?\nA) 1776\nB) 1789\nC) 1804\nD) 1815\nAnswer:\n"),
    Prompt(
        "mmlu-biology", "mmlu",
        "Question: Which organelle is responsible for producing ATP in eukaryotic cells?\nA) Nucleus\nB) Ribosome\nC) Mitochondria\nD) Golgi apparatus\nAnswer:\n",
    ),
    Prompt("humaneval-add", "humaneval", 'def add(a: int, b: int) -> int:\n  """Return the sum of a and b."""\n'),
    Prompt("humaneval-is-even", "humaneval", 'def is_even(n: int) -> bool:\n  """Return True if n is even, False otherwise."""\n'),
    Prompt("format-json", "format", "Output a JSON object with keys 'name' and 'age': "),
    Prompt("format-list", "format", "List three primary colors, one per line:"),
)
# On the roster's corpus: odds of 60 to 40 and 75 to 25 (0.4 and 1.1 nats), 50 to 50, and free choices among many.
MARGINS = (
    Prompt("median-door", "median", "The door is"),
    Prompt("median-lamp", "median", "The lamp is"),
    Prompt("knife-coin", "knife", "The coin shows"),
    Prompt("knife-story", "knife", "Once upon a time there was a"),
)
UNICODE = (
    Prompt("unicode-emoji", "unicode", "Kate sent \U0001f469\u200d\U0001f680 to Leo. The emoji \U0001f469\u200d\U0001f680 means"),
    Prompt("unicode-rtl", "unicode", "Anna says: the word for peace in Hebrew is \u05e9\u05dc\u05d5\u05dd. Leo says: the word for peace in Arabic is"),
    Prompt("unicode-invisible", "unicode", "The \u202edoor\u202c is\u200b in the\u200d gar\u00adden\ufeff and"),
    Prompt("unicode-nfd", "unicode", unicodedata.normalize("NFD", "Anna says: the word for summer in French is \u00e9t\u00e9. The caf\u00e9 is")),
    Prompt("control-nul", "control", "The capital\x00 of France\x00 is"),
)
EDGES = (
    Prompt("one-token", "edge", None, add_special_tokens=False),
    Prompt("empty", "edge", "", max_new_tokens=200, stop_at_eos=False),
    Prompt("context-limit", "edge", None, max_new_tokens=8, stop_at_eos=False, full=True),
)
PROMPTS = (*CANARIES, *STANDARD, *MARGINS, *UNICODE, *EDGES)

PANGRAMS = (
    "The quick brown fox jumps over the lazy dog.", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "Voix ambiguë d'un cœur qui au zéphyr préfère les jattes de kiwis.", "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia.",
    "Съешь же ещё этих мягких французских булок.", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.", "עטלף אבק נס דרך מזגן שהתפוצץ כי חם",
    "نص حكيم له سر قاطع وذو شأن عظيم", "いろはにほへと ちりぬるを", "视野无限广，窗外有蓝天", "다람쥐 헌 쳇바퀴에 타고파", "เป็นมนุษย์สุดประเสริฐ",
    "ऋषियों को सताने वाले दुष्ट राक्षसों", "Pijamalı hasta yağız şoföre çabucak güvendi. İıŞşĞğ", "Příliš žluťoučký kůň úpěl ďábelské ódy.",
)
EMOJI = (
    "😀", "😀😃😄", "👍🏽", "👩‍🚀", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷🇩🇪", "❤️", "❤", "1️⃣", "🧑🏿‍💻", "a😀b", " 😀 ", "\u200d😀", "😀\u200d",
)
COMPOSITION = (
    "é", "e\u0301", "Å", "A\u030a", "\u212b", "ﬁ", "Ω", "\u2126", "한", "\u1112\u1161\u11ab", "ñandú", "n\u0303andu\u0301", "q\u0307\u0323", "q\u0323\u0307", "\u0958",
    "a\u0300\u0301\u0302\u0303\u0304", "\u0301", " \u0301", "①", "Ⅷ", "½", "x²", "ſ", "İ", "ı",
)
INVISIBLE = (
    "\u202e", "\u202eabc", "abc\u202e", "a\u202eb\u202cc", "\u200b", "a\u200bb", "\u200d", "\u200c", "\ufeff", "\ufeffabc", "a\ufeffb", "\u00ad", "\u2060", "\u180e", "\u2028",
    "\u2029", "\u0085", "\u061c", "\u2066x\u2069", "\U000e0041",
)
EXTREMES = (
    "\x00", "\x00\x00", "a\x00b", "\x01\x02\x03", "\x07", "\x08", "\x0b", "\x0c", "\x1b[31mred\x1b[0m", "\x7f", "\x80", "\x9f", "\ufffd", "a\ufffdb", "\ufffe", "\uffff",
    "\ud7ff", "\ue000", "\uf8ff", "\U000f0000", "\U0010ffff", "\U00010000", "\u2581", "\u2581\u2581a", "a\u2581b", "\u0120", "\u0120a", "\u010a",
)
SPACES = (
    "", " ", "  ", "   ", "    ", "     ", "        ", " " * 17, "\t", "\t\t", "\n", "\n\n", "\n\n\n", "\r", "\r\n", "\r\n\r\n", " \n", "\n ", " \n ", "\n  \n", "\t \t",
    " a", "  a", "   a", "a ", "a  ", "a   ", " a ", "  a  ", "a b", "a  b", "a   b", "a    b", "a\tb", "a\nb", "a\n\nb", "a\r\nb", "a \n b", "a\u00a0b", "\u00a0", "\u3000a",
    "a\u2003b", "\u2009", "if x:\n    y\n\tz", "trailing space ", " leading space", "\nleading line", "trailing line\n", "line one\r\nline two\r\n",
)
DIGITS = (
    "0", "1", "12", "123", "1234", "12345", "1234567890", "3.14159", "1,000,000", "1 2 3", "007", "-1", "+1", "1e10", "0x1F", "2+2=4", "50%", "10:30", "2026-07-11", "٣٤٥", "१२३", "１２３",
    "v1.2.3", "a1b2c3", "1st 2nd", "$9.99", "1/2", "1" * 40,
)
WORDS = (
    "I'm", "you're", "he's", "we'll", "they've", "I'd", "can't", "I'M", "YOU'RE", "o'clock", "rock 'n' roll", "'s", "'S", "''s", "it\u2019s", "don't stop", "Hello", "hello", "HELLO", "HeLLo", "Hello, world!",
    "a", "A", "the", " the", "The", "abcdefghijklmnopqrstuvwxyz", "supercalifragilisticexpialidocious", "antidisestablishmentarianism" * 4, "a" * 100, "ab" * 50, "x-y_z", "e-mail@example.com",
    "https://example.com/a?b=c&d=e#f", "C:\\path\\file.txt", "/usr/bin/env", "snake_case", "camelCase", "kebab-case", "#hashtag", "@name", "...", "?!", "!!!", "(a)", "[b]", "{c}", "\"quoted\"", "'single'", "`tick`",
    "\\n", "\\", "a\\b", "--", "—", "–", "“curly”", "«guillemets»", "€", "£5", "©", "™", "°C", "→", "∀x∈ℝ", "√2", "…",
)
CODE = (
    "def f(x):\n    return x + 1\n", "for i in range(10):\n\tprint(i)\n", "fn main() { println!(\"{}\", 1); }", "#include <stdio.h>\n", "SELECT * FROM t WHERE a = 'b';", "{\"a\": [1, 2, {\"b\": null}]}", "<a href=\"x\">y</a>",
    "x = [i**2 for i in range(3) if i % 2 == 0]", "a != b && c <= d || !e", "// comment\n/* block */", "    deeply\n        indented\n            code", "$ ls -la | grep x > y", "```rust\nlet x = 1;\n```", "a+=b;c-=d;", "import os, sys",
)
SPECIAL = (
    "<s>", "</s>", "<unk>", "<pad>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_start|>user\nHello<|im_end|>\n", "a<s>b", " <s> ", "<s></s>", "<s", "s>", "<|endoftext|", "|endoftext|>", "a<|endoftext|>b",
    "<|endoftext|><|endoftext|>", " <|endoftext|>", "<|endoftext|> ", "< s >", "<S>", "[INST] hi [/INST]", "<0x0A>", "<0xFF>", "<0x41>B", "<mask>", "[CLS]",
)


def tokenizer_cases() -> list[str]:
    """The strings of the tokenizer golden, each once, in this order."""
    texts = [p.text for p in PROMPTS if p.text is not None]
    texts += [*PANGRAMS, *EMOJI, *COMPOSITION, *INVISIBLE, *EXTREMES, *SPACES, *DIGITS, *WORDS, *CODE, *SPECIAL]
    return list(dict.fromkeys(texts))


if __name__ == "__main__":
    print(len(tokenizer_cases()))
