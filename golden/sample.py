# /// script
# requires-python = "==3.11.*"
# dependencies = ["torch==2.15.0", "transformers==5.23.0", "numpy==2.4.6"]
# ///
"""Write golden/vectors/sampling.json: `uv run golden/sample.py`, or compare with what is committed: `uv run golden/sample.py --check`.

Logits, what was said before, parameters and a random number in; the processed logits and the drawn id out, as transformers' own logits
processors and warpers answer, in the order in which its `generate` applies them (this script asks `generate` for its list and refuses to go
on where the two differ). Presence and frequency penalty are not in transformers: they are computed here in numpy's float64, by the formula
of the OpenAI API reference ("Frequency and presence penalties": mu[j] -> mu[j] - c[j] * alpha_frequency - float(c[j] > 0) * alpha_presence,
c[j] counting what was sampled, the prompt not included), behind the repetition penalty, where vLLM has them.

A draw: probabilities p are the float32 softmax of the processed float32 logits, their cumulative sums c float64 in the order of ids; the id is
the first with c[id] > u * c[last]. It is `clear` where u is further from every step between two tokens than rounding of logits of that size.

What rounding decides is not gated. Every case is run again in float64 and, unless it is exact in any arithmetic, on logits and limits that
were moved by a millionth, up and down: an id that is kept in one run and masked in another is listed under `either`. Where a top-p limit
falls among equal logits any of them may stay: `tie` says which and how many.
"""

import hashlib
import json
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.generation import logits_process as lp

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "vectors"
INF = float("inf")
# The largest u: 2^-32 below one, which survives every decimal that a JSON writer makes of it.
LAST = 1.0 - 2.0**-32
MOVED, RUNS = 1e-6, 12
# Of the values that the f32 run kept, none may be further from the float64 run: a case that cancels would gate on rounding.
CONDITION = 2.0**-21


def f32(value) -> str:
    return f"{np.float32(value).view(np.uint32):08x}"


def f64(value: float) -> str:
    return struct.pack(">d", value).hex()


def row_hex(row) -> str:
    return "".join(f32(x) for x in row)


def mixed(seed: int):
    """Whole numbers below 2^32 that depend on nothing but the seed (splitmix64)."""
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
        yield (z ^ (z >> 31)) >> 32


def natural(n: int, seed: int, top: float = 6.0) -> list[float]:
    """Few large logits and many small ones, of both signs, multiples of 1/64, no two of the largest sixteen alike."""
    numbers = mixed(seed)
    row = [round((top - 14.0 * (next(numbers) / 2**32) ** 0.5) * 64) / 64 for _ in range(n)]
    order = sorted(range(n), key=lambda i: -row[i])
    for place, i in enumerate(order[:16]):
        row[i] = round((top - place * 0.296875 - (place % 3) * 0.046875) * 64) / 64
    return row


def rows() -> dict[str, list[float]]:
    n32, n768 = natural(32, 1), natural(768, 2, 9.0)
    masked = [-INF if i in (0, 3, 17, 30, 31) else x for i, x in enumerate(n32)]
    huge = [1e30 if i == 9 else x for i, x in enumerate(n32)]
    return {
        "one": [0.5], "two": [1.0, 0.0], "two-equal": [0.25, 0.25], "four-equal": [-1.0] * 4, "eight-equal": [3.0] * 8,
        "natural-32": n32, "natural-768": n768, "equal-32": [1.5] * 32, "masked-32": masked, "huge-32": huge,
        "ties-32": [round(x) * 1.0 for x in n32], "negative-32": [x - 16.0 for x in n32],
        "large-32": [x + 250.0 for x in n32], "deep-32": [x - 5000.0 for x in n32],
        "largest-32": [3.4028234663852886e38 if i == 20 else x for i, x in enumerate(n32)],
        "peaked-32": [9.0 if i == 5 else x / 8 for i, x in enumerate(n32)],
        "half-and-far": [0.0, -300.0, 0.0, -300.0], "ends-masked": [-INF, 0.0, 0.5, -INF, 0.25, -INF],
    }


class Presence:
    """Not of transformers: see the module's text. float64, rounded to the width of the row."""

    def __init__(self, presence: float, frequency: float, prompt: int):
        self.presence, self.frequency, self.prompt = presence, frequency, prompt

    def __call__(self, ids, scores):
        generated = ids[0, self.prompt:].numpy()
        counts = np.bincount(generated, minlength=scores.shape[-1])[: scores.shape[-1]].astype(np.float64)
        row = scores[0].double().numpy()
        row = row - counts * np.float64(self.frequency) - (counts > 0).astype(np.float64) * np.float64(self.presence)
        return torch.from_numpy(row).to(scores.dtype)[None]


def chain(params: dict, prompt: int) -> list:
    """The processors of `generate`, in its order, and what OpenAI's penalties add."""
    eos = torch.tensor(params.get("eos_token_id", []), dtype=torch.long)
    keep = params.get("min_tokens_to_keep", 1)
    out = []
    if params.get("repetition_penalty", 1.0) != 1.0:
        out.append(lp.RepetitionPenaltyLogitsProcessor(float(params["repetition_penalty"])))
    if params.get("presence_penalty", 0.0) or params.get("frequency_penalty", 0.0):
        out.append(Presence(params.get("presence_penalty", 0.0), params.get("frequency_penalty", 0.0), prompt))
    if params.get("no_repeat_ngram_size", 0):
        out.append(lp.NoRepeatNGramLogitsProcessor(params["no_repeat_ngram_size"]))
    if params.get("bad_words_ids"):
        out.append(lp.NoBadWordsLogitsProcessor(params["bad_words_ids"], eos if len(eos) else None))
    if params.get("min_length", 0) and len(eos):
        out.append(lp.MinLengthLogitsProcessor(params["min_length"], eos))
    if params.get("min_new_tokens", 0) and len(eos):
        out.append(lp.MinNewTokensLengthLogitsProcessor(prompt, params["min_new_tokens"], eos))
    if params.get("temperature", 1.0) != 1.0:
        out.append(lp.TemperatureLogitsWarper(float(params["temperature"])))
    if params.get("top_k", 0):
        out.append(lp.TopKLogitsWarper(params["top_k"], min_tokens_to_keep=keep))
    if params.get("top_p", 1.0) < 1.0:
        out.append(lp.TopPLogitsWarper(params["top_p"], min_tokens_to_keep=keep))
    if params.get("min_p") is not None:
        out.append(lp.MinPLogitsWarper(params["min_p"], min_tokens_to_keep=keep))
    if params.get("typical_p", 1.0) < 1.0:
        out.append(lp.TypicalLogitsWarper(params["typical_p"], min_tokens_to_keep=keep))
    return out


def same_as_generate(model, params: dict, prompt: int) -> None:
    """Refuses parameters for which `generate` would build another list than `chain`."""
    if "min_tokens_to_keep" in params:
        return  # `generate` has it for beams alone.
    own = {"presence_penalty", "frequency_penalty"}
    config = GenerationConfig(do_sample=True, **{"top_k": 0, **{k: v for k, v in params.items() if k not in own}})
    config._eos_token_tensor = torch.tensor(params["eos_token_id"]) if params.get("eos_token_id") else None
    theirs = model._get_logits_processor(generation_config=config, input_ids_seq_length=prompt, logits_processor=[])
    ours = [step for step in chain(params, prompt) if not isinstance(step, Presence)]
    assert [type(step) for step in theirs] == [type(step) for step in ours], (params, theirs, ours)


def run(logits, history: list[int], params: dict, prompt: int, width) -> tuple[np.ndarray, np.ndarray]:
    """The row after every step, and before the last."""
    scores = torch.tensor([logits], dtype=width)
    ids = torch.tensor([history], dtype=torch.long)
    before = scores
    for step in chain(params, prompt):
        before = scores
        scores = step(ids, scores.clone())
    assert scores.dtype == width
    return scores[0].numpy(), before[0].numpy()


def moved(logits, params: dict, numbers) -> tuple[list[float], dict]:
    """Every distinct logit, and every limit, moved by a millionth, up or down."""
    sign = {}
    row = []
    for x in logits:
        if x not in sign:
            sign[x] = 1 if next(numbers) % 2 else -1
        row.append(x * (1 + sign[x] * MOVED) + sign[x] * MOVED if np.isfinite(x) else x)
    out = dict(params)
    for name in ("top_p", "min_p", "typical_p"):
        if name in params and 0.0 < params[name] < 1.0:
            out[name] = min(max(params[name] + (MOVED if next(numbers) % 2 else -MOVED), 1e-9), 1 - 1e-9)
    return row, out


def masks(logits, history, params, prompt, exact: bool, name: str):
    """The f32 row, the ids that rounding decides, and the tie at a top-p limit."""
    row, before = run(logits, history, params, prompt, torch.float32)
    wide, _ = run(logits, history, params, prompt, torch.float64)
    kept = np.isfinite(row)
    last_is_top_p = params.get("top_p", 1.0) < 1.0 and not params.get("min_p") and params.get("typical_p", 1.0) >= 1.0
    tie, group = None, np.zeros(len(row), dtype=bool)
    if last_is_top_p:
        split = {x for x in before[kept]} & {x for x in before[~kept] if np.isfinite(x)}
        assert len(split) <= 1, name
        for x in split:
            group = before == x
            tie = {"ids": [int(i) for i in np.flatnonzero(group)], "kept": int((kept & group).sum())}
    numbers = mixed(len(logits))
    others = [np.isfinite(wide)]
    for _ in range(0 if exact else RUNS):
        others.append(np.isfinite(run(*(lambda r, p: (r, history, p, prompt, torch.float64))(*moved(logits, params, numbers)))[0]))
    either = np.zeros(len(row), dtype=bool)
    for other in others:
        if tie and (other & group).sum() != tie["kept"]:
            either |= group
        either |= (other != kept) & ~group
    if (either & group).any():
        tie = None
    sure = kept & np.isfinite(wide) & ~either
    apart = np.abs(row[sure].astype(np.float64) - wide[sure]) / np.maximum(np.abs(wide[sure]), 1e-30)
    assert not len(apart) or apart.max() <= CONDITION, (name, apart.max())
    assert exact or tie is None or not params.get("min_p"), name
    return row, [int(i) for i in np.flatnonzero(either)], tie, float(apart.max()) if len(apart) else 0.0


def draw(row: np.ndarray, u: float, settled: bool) -> dict:
    p = torch.softmax(torch.from_numpy(row)[None], dim=-1)[0].numpy()
    assert p.dtype == np.float32
    steps = np.cumsum(p.astype(np.float64))
    total = steps[-1]
    index = int(np.argmax(steps > u * total))
    assert p[index] > 0.0
    margin = 1e-6 + 2.0**-21 * float(np.abs(row[p > 0]).max())
    # A step between two tokens: where one that is kept ends and another follows, however small float32 makes them.
    inner = [steps[i] / total for i in np.flatnonzero(np.isfinite(row))[:-1]]
    clear = settled and all(abs(u - step) > margin for step in inner)
    return {"u": f64(u), "id": index, "clear": bool(clear)}


US = (0.0, 0.3, 0.8, LAST)
MANY = (0.0, 2.0**-20, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.45, 0.55, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.99, 0.999, LAST)


def cases() -> list[tuple]:
    """(name, family, row, prompt, generated, parameters, exact, random numbers)."""
    out = []

    def add(name, row, prompt=(), generated=(), exact=False, us=US, **params):
        out.append((name, name.split("/")[0], row, list(prompt), list(generated), params, exact, us))

    add("temperature/cooler", "natural-32", temperature=0.7)
    add("temperature/warmer", "natural-32", temperature=2.5)
    add("temperature/one", "natural-32", temperature=1.0)
    add("temperature/tiny", "natural-32", temperature=1e-3)
    add("temperature/huge", "natural-32", temperature=1e6)
    add("temperature/large-vocabulary", "natural-768", temperature=0.8)
    add("temperature/single-token", "one", temperature=0.5)
    add("temperature/two-tokens", "two", temperature=0.25)
    add("temperature/masked-stays-masked", "masked-32", temperature=0.5)
    add("temperature/huge-logit", "huge-32", temperature=2.0)
    for k in (1, 5, 31, 32, 33, 1000):
        add(f"top-k/{k}-of-32", "natural-32", top_k=k)
    add("top-k/off", "natural-32", top_k=0)
    add("top-k/ties-at-the-last-place", "ties-32", top_k=6, exact=True)
    add("top-k/ties-at-the-first-place", "two-equal", top_k=1, exact=True)
    add("top-k/all-equal", "equal-32", top_k=3, exact=True)
    add("top-k/masked", "masked-32", top_k=3)
    add("top-k/fewer-than-k-left", "ends-masked", top_k=5)
    add("top-k/large-vocabulary", "natural-768", top_k=50)
    add("top-k/single-token", "one", top_k=4)
    add("top-k/keeps-more", "natural-32", top_k=1, min_tokens_to_keep=4)
    for p in (0.05, 0.5, 0.9, 0.99):
        add(f"top-p/{p}", "natural-32", top_p=p)
    add("top-p/zero", "natural-32", top_p=0.0)
    add("top-p/one", "natural-32", top_p=1.0)
    add("top-p/one-of-two-at-the-limit", "two-equal", top_p=0.5, exact=True)
    add("top-p/two-of-four-at-the-limit", "four-equal", top_p=0.5, exact=True)
    add("top-p/three-of-four-at-the-limit", "four-equal", top_p=0.75, exact=True)
    add("top-p/two-of-eight-at-the-limit", "eight-equal", top_p=0.25, exact=True)
    add("top-p/just-past-the-limit", "four-equal", top_p=0.5625, exact=True)
    add("top-p/half-and-far", "half-and-far", top_p=0.5, exact=True)
    add("top-p/masked", "masked-32", top_p=0.8)
    add("top-p/large-vocabulary", "natural-768", top_p=0.9)
    add("top-p/single-token", "one", top_p=0.1)
    add("top-p/huge-logit", "huge-32", top_p=0.9)
    add("top-p/keeps-more", "natural-32", top_p=0.01, min_tokens_to_keep=3)
    for p in (0.02, 0.1, 0.5):
        add(f"min-p/{p}", "natural-32", min_p=p)
    add("min-p/zero", "natural-32", min_p=0.0)
    add("min-p/one", "natural-32", min_p=1.0, exact=True)
    add("min-p/all-equal", "equal-32", min_p=1.0, exact=True)
    add("min-p/flat", "two", min_p=0.3)
    add("min-p/masked", "masked-32", min_p=0.05)
    add("min-p/large-vocabulary", "natural-768", min_p=0.05)
    add("min-p/keeps-more", "peaked-32", min_p=0.9, min_tokens_to_keep=5)
    for p in (0.2, 0.5, 0.9, 0.95):
        add(f"typical/{p}", "natural-32", typical_p=p)
    add("typical/peaked", "peaked-32", typical_p=0.05)
    add("typical/peaked-wide", "peaked-32", typical_p=0.6)
    add("typical/one", "natural-32", typical_p=1.0)
    add("typical/all-equal", "four-equal", typical_p=0.5, exact=True)
    add("typical/masked", "masked-32", typical_p=0.7)
    add("typical/large-vocabulary", "natural-768", typical_p=0.9)
    add("typical/keeps-more", "peaked-32", typical_p=0.05, min_tokens_to_keep=3)

    said, new = (3, 8, 21, 8, 30), (9, 9, 2, 21)
    add("repetition/penalty", "natural-32", said, new, repetition_penalty=1.3)
    add("repetition/reward", "natural-32", said, new, repetition_penalty=0.8)
    add("repetition/negative-logits", "negative-32", said, new, repetition_penalty=1.5)
    add("repetition/no-history", "natural-32", repetition_penalty=1.3)
    add("repetition/prompt-counts", "natural-32", said, repetition_penalty=1.25)
    add("repetition/once-however-often", "natural-32", (4,) * 7, (4,) * 5, repetition_penalty=2.0)
    add("repetition/masked", "masked-32", said, new, repetition_penalty=1.2)
    add("repetition/one", "natural-32", said, new, repetition_penalty=1.0)
    add("repetition/large-vocabulary", "natural-768", range(0, 768, 7), range(5, 200, 3), repetition_penalty=1.1)
    add("presence-frequency/presence", "natural-32", said, new, presence_penalty=0.5)
    add("presence-frequency/frequency", "natural-32", said, new, frequency_penalty=0.25)
    add("presence-frequency/both", "natural-32", said, (9, 9, 9, 2, 2, 30), presence_penalty=0.75, frequency_penalty=0.5)
    add("presence-frequency/rewards", "natural-32", said, new, presence_penalty=-0.5, frequency_penalty=-1.5)
    add("presence-frequency/prompt-does-not-count", "natural-32", said, presence_penalty=1.0, frequency_penalty=1.0)
    add("presence-frequency/no-history", "natural-32", presence_penalty=1.0, frequency_penalty=1.0)
    add("presence-frequency/masked", "masked-32", said, (0, 0, 3, 5), presence_penalty=1.0, frequency_penalty=0.5)
    add("presence-frequency/large-vocabulary", "natural-768", (1, 2), list(range(0, 300, 5)) * 2, presence_penalty=0.5, frequency_penalty=0.25)

    told = (1, 2, 3, 4, 1, 2, 5, 6, 1, 2)
    for n in (1, 2, 3, 4):
        add(f"ngram/{n}", "natural-32", told[:6], told[6:], no_repeat_ngram_size=n)
    add("ngram/across-prompt-and-text", "natural-32", (7, 8, 9), (4, 7, 8), no_repeat_ngram_size=3)
    add("ngram/longer-than-history", "natural-32", (7, 7), (7,), no_repeat_ngram_size=4)
    add("ngram/as-long-as-history", "natural-32", (7, 7), (7,), no_repeat_ngram_size=3)
    add("ngram/overlapping", "natural-32", (), (5, 5, 5, 5), no_repeat_ngram_size=2)
    add("ngram/no-history", "natural-32", no_repeat_ngram_size=2)
    add("ngram/of-one-without-history", "natural-32", no_repeat_ngram_size=1)
    add("ngram/large-vocabulary", "natural-768", (500, 600, 700, 500, 600, 767), (500, 600), no_repeat_ngram_size=3)
    for n in (9, 10, 11):
        add(f"min-length/ten-after-{n}", "natural-32", range(4), range(n - 4), min_length=10, eos_token_id=[6])
    for n in (2, 3, 4):
        add(f"min-length/three-new-after-{n}", "natural-32", range(8), range(n), min_new_tokens=3, eos_token_id=[6, 31])
    add("min-length/of-nothing", "natural-32", min_length=1, eos_token_id=[0, 12])
    add("min-length/both", "natural-32", range(8), (), min_length=4, min_new_tokens=1, eos_token_id=[9])
    add("min-length/no-eos", "natural-32", range(3), (), min_length=4)
    add("min-length/large-vocabulary", "natural-768", (), (1,), min_new_tokens=2, eos_token_id=[767, 0])
    add("bad-words/single", "natural-32", bad_words_ids=[[4], [17]])
    add("bad-words/sequence-completed", "natural-32", (1, 2), (3,), bad_words_ids=[[2, 3, 9]])
    add("bad-words/sequence-not-begun", "natural-32", (1, 2), (4,), bad_words_ids=[[2, 3, 9]])
    add("bad-words/end-of-beginning-only", "natural-32", (1, 5), (3,), bad_words_ids=[[2, 3, 9]])
    add("bad-words/longer-than-history", "natural-32", (), (3,), bad_words_ids=[[2, 3, 9]])
    add("bad-words/no-history", "natural-32", bad_words_ids=[[2, 9], [5]])
    add("bad-words/both-kinds", "natural-32", (8,), (2,), bad_words_ids=[[2, 9], [8, 2, 11], [2, 2, 12], [30]])
    add("bad-words/same-end", "natural-32", (8,), (2,), bad_words_ids=[[2, 9], [8, 2, 9], [9]])
    add("bad-words/eos-alone-is-spared", "natural-32", (8,), (2,), bad_words_ids=[[6], [7], [2, 6, 4]], eos_token_id=[6])
    add("bad-words/empty-sequence", "natural-32", (8,), (2,), bad_words_ids=[[], [7]])
    add("bad-words/masked", "masked-32", bad_words_ids=[[0], [1]])
    add("bad-words/large-vocabulary", "natural-768", (767, 0), (1,), bad_words_ids=[[0, 1, 767], [767, 1, 5], [300]])

    add("combined/cool-top-p", "natural-32", temperature=0.6, top_p=0.9)
    add("combined/warm-top-p", "natural-32", temperature=2.0, top_p=0.7)
    add("combined/warm-min-p", "natural-32", temperature=1.8, min_p=0.1)
    add("combined/top-k-top-p", "natural-32", top_k=6, top_p=0.75)
    add("combined/top-p-min-p", "natural-32", top_p=0.95, min_p=0.08)
    add("combined/top-p-typical", "natural-32", top_p=0.9, typical_p=0.5)
    add("combined/penalties", "natural-32", said, new, repetition_penalty=1.3, presence_penalty=0.5, frequency_penalty=0.25)
    add("combined/penalty-top-k", "natural-32", said, new, repetition_penalty=1.6, top_k=8)
    add("combined/masks", "natural-32", told[:6], told[6:], no_repeat_ngram_size=3, bad_words_ids=[[2, 9], [4]], min_length=12, eos_token_id=[6])
    add("combined/masks-temperature-top-p", "natural-32", told[:6], told[6:], no_repeat_ngram_size=2, temperature=0.8, top_p=0.85)
    everything = dict(
        repetition_penalty=1.2, presence_penalty=0.25, frequency_penalty=0.125, no_repeat_ngram_size=3, bad_words_ids=[[1, 2, 4], [9]],
        min_length=12, min_new_tokens=2, eos_token_id=[6], temperature=1.25, top_k=20, top_p=0.95, min_p=0.03, typical_p=0.9,
    )
    add("combined/everything", "natural-32", told[:6], told[6:], **everything)
    add("combined/everything-large", "natural-768", told[:6], told[6:], **everything)

    for row in ("one", "two", "two-equal", "equal-32", "natural-32", "masked-32", "ends-masked", "large-32", "deep-32", "huge-32", "largest-32"):
        add(f"draw/{row}", row, exact=True, us=MANY)
    add("draw/natural-768", "natural-768", exact=True, us=MANY[::3])
    return out


def refusals() -> list[dict]:
    """What has no answer. `greedy`: where another convention gives one, the id of the only token that it keeps."""
    nan = [0.0, 1.0, float("nan"), 2.0]
    two = [1.0, 0.0]
    out = []

    def add(name, logits, greedy=None, u=0.5, prompt=(), **params):
        case = {"name": f"refused/{name}", "logits": row_hex(logits), "prompt": list(prompt), "params": params, "u": f64(u)}
        out.append(case | ({} if greedy is None else {"greedy": greedy}))

    add("nan", nan)
    add("nan-that-is-masked", nan, bad_words_ids=[[2]])
    add("infinity", [0.0, INF, 1.0])
    add("no-logits", [])
    add("everything-masked", [-INF, -INF])
    add("everything-forbidden", two, bad_words_ids=[[0], [1]])
    # Transformers refuses it; OpenAI's API, vLLM and llama.cpp take it for greedy. Dividing by it is right nowhere.
    add("temperature-zero", [1.0, 3.0, 2.0], greedy=1, temperature=0.0)
    add("temperature-negative", two, temperature=-0.5)
    add("top-p-negative", two, top_p=-0.25)
    add("min-p-negative", two, min_p=-0.25)
    add("min-p-past-one", two, min_p=1.5)
    add("typical-zero", two, typical_p=0.0)
    add("repetition-zero", two, prompt=[0], repetition_penalty=0.0)
    add("repetition-negative", two, prompt=[0], repetition_penalty=-1.0)
    add("keeps-none", two, top_k=1, min_tokens_to_keep=0)
    add("bad-word-past-the-vocabulary", two, bad_words_ids=[[2]])
    add("u-one", two, u=1.0)
    add("u-negative", two, u=-0.25)
    for case in out:
        params = case["params"]
        mine = {"refused/keeps-none": lambda: lp.TopPLogitsWarper(0.5, min_tokens_to_keep=0)}
        if not params or "forbidden" in case["name"] or "nan" in case["name"]:
            continue
        try:
            mine.get(case["name"], lambda: [step(torch.tensor([[0]]), torch.zeros(1, 2)) for step in chain(params, 0)])()
        except ValueError:
            continue
        raise AssertionError(f"{case['name']}: transformers takes it")
    return out


def text() -> tuple[str, str]:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", message="Passing `")
    config = LlamaConfig(vocab_size=32, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1)
    model = LlamaForCausalLM(config)
    table = rows()
    lines, worst, clear, drawn, either, ties = [], 0.0, 0, 0, 0, 0
    for name, family, row, prompt, generated, params, exact, us in cases():
        logits = [float(np.float32(x)) for x in table[row]]
        same_as_generate(model, params, len(prompt))
        processed, unsure, tie, apart = masks(logits, prompt + generated, params, len(prompt), exact, name)
        worst, either, ties = max(worst, apart), either + len(unsure), ties + bool(tie)
        draws = [draw(processed, u, not unsure and tie is None) for u in us]
        clear, drawn = clear + sum(d["clear"] for d in draws), drawn + len(draws)
        case = {"name": name, "family": family, "row": row, "prompt": prompt, "generated": generated, "params": params}
        case |= {"processed": row_hex(processed), "either": unsure, "tie": tie, "draws": draws}
        lines.append("  " + json.dumps(case))
    versions = {"transformers": transformers.__version__, "torch": torch.__version__, "numpy": np.__version__}
    generator = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    head = {"schema": "ground-truth/sampling/1", "oracle": {"runtime": "transformers", "versions": versions, "generator": generator}}
    body = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row_hex(row))}" for name, row in table.items())
    refused = ",\n".join("  " + json.dumps(case) for case in refusals())
    start = json.dumps(head)[:-1]
    out = f'{start},\n "rows": {{\n{body}\n }},\n "cases": [\n' + ",\n".join(lines) + f'\n ],\n "refused": [\n{refused}\n ]}}\n'
    said = f"{len(lines)} cases, {len(refusals())} refusals, {clear} of {drawn} draws clear, {either} ids that rounding decides, {ties} ties, "
    return out, said + f"float32 from float64 at most {worst:.3e}, {len(out)} bytes"


def main() -> int:
    out, said = text()
    print(said)
    file = FOLDER / "sampling.json"
    if "--check" in sys.argv[1:]:
        same = file.read_text() == out
        print("the same" if same else f"{file} differs")
        return 0 if same else 1
    FOLDER.mkdir(exist_ok=True)
    file.write_text(out)
    (FOLDER / "sampling.sha256").write_text(f"{hashlib.sha256(out.encode()).hexdigest()}  sampling.json\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
