"""Compare a new golden with a committed one: exact where the answer is discrete, within the floor where it is a number."""

import json
import struct
from pathlib import Path

import numpy as np
import safetensors.numpy

# Numbers may move by so many floors (the floor is an RMS over all logits; one logit moves by several of them).
FLOORS = 32.0
# What another machine or version may change without the answer changing.
VOLATILE = {"oracle", "golden_files"}
# Floors are themselves rounding errors: of another CPU they may be so many times larger or smaller.
FLOOR_RATIO = 4.0


def unhex(digits: str) -> float:
    return struct.unpack(">f" if len(digits) == 8 else ">d", bytes.fromhex(digits))[0]


def compare(committed: Path, fresh: Path) -> list[str]:
    """Sentences about what differs; empty when the goldens agree."""
    differences = []
    names = [{p.name for p in folder.iterdir() if p.is_file()} for folder in (committed, fresh)]
    differences += [f"{name}: only in the committed golden" for name in sorted(names[0] - names[1])]
    differences += [f"{name}: only in the new run" for name in sorted(names[1] - names[0])]
    # The digest follows from the index, whose volatile fields may differ.
    for name in sorted((names[0] & names[1]) - {"index.sha256"}):
        old, new = committed / name, fresh / name
        if name.endswith(".safetensors"):
            floor = prompt_floor(json.loads((committed / name.replace(".safetensors", ".json")).read_text()))[0]
            differences += [f"{name}: {d}" for d in compare_tensors(old, new, floor)]
            continue
        old, new = json.loads(old.read_text()), json.loads(new.read_text())
        if old.get("oracle", {}).get("generator") != new.get("oracle", {}).get("generator") and name == "index.json":
            print(f"{name}: note: the committed golden was written by another version of oracle.py")
        absolute = prompt_floor(old)[1] if "logit_rms" in old else 0.0
        relative = unhex(old["floor"]) if "sum_nll" in old else 0.0
        differences += [f"{name}: {d}" for d in compare_values(old, new, "", absolute, relative)]
    return differences


def prompt_floor(golden: dict) -> tuple[float, float]:
    """The floor of a prompt, relative and in logits."""
    floor = max(unhex(golden["floor"]), 1e-7)
    return floor, floor * unhex(golden["logit_rms"])


def compare_values(old, new, where: str, absolute: float, relative: float) -> list[str]:
    if type(old) is not type(new):
        return [f"{where}: {old!r} became {new!r}"]
    if isinstance(old, dict):
        if where.startswith(".forced.top["):
            return compare_top(old, new, where, absolute)
        if old.keys() != new.keys():
            return [f"{where}: keys {sorted(old)} became {sorted(new)}"]
        return [d for k in old if k not in VOLATILE for d in compare_values(old[k], new[k], f"{where}.{k}", absolute, relative)]
    if isinstance(old, list):
        if len(old) != len(new):
            return [f"{where}: {len(old)} entries became {len(new)}"]
        return [d for i in range(len(old)) for d in compare_values(old[i], new[i], f"{where}[{i}]", absolute, relative)]
    if where == ".floor":
        a, b = unhex(old), unhex(new)
        return [] if a / FLOOR_RATIO <= b <= a * FLOOR_RATIO else [f"{where}: {a:.2e} became {b:.2e}, more than {FLOOR_RATIO:g} times apart"]
    if is_float(where, old):
        a, b = unhex(old), unhex(new)
        bound = FLOORS * (absolute + max(relative, 1e-7 if ".sum_nll" in where else 0.0) * abs(a)) + 2e-7 * abs(a)
        return [] if abs(a - b) <= bound else [f"{where}: {a:.9g} became {b:.9g}, more than {bound:.2g} away"]
    return [] if old == new else [f"{where}: {old!r} became {new!r}"]


def is_float(where: str, value) -> bool:
    return isinstance(value, str) and any(part in where for part in (".margins[", ".logsumexp[", ".nll[", ".logit_rms", ".sum_nll"))


def compare_top(old: dict, new: dict, where: str, absolute: float) -> list[str]:
    """Ranks may swap where the log-probabilities are as close as the floor."""
    if old["position"] != new["position"] or len(old["ids"]) != len(new["ids"]):
        return [f"{where}: position or length changed"]
    out = []
    for rank in range(len(old["ids"])):
        a, b = unhex(old["logprobs"][rank]), unhex(new["logprobs"][rank])
        bound = FLOORS * absolute + 2e-7 * abs(a)
        if not abs(a - b) <= bound:
            out.append(f"{where}: rank {rank}: log-probability {a:.9g} became {b:.9g}, more than {bound:.2g} away")
        elif old["ids"][rank] != new["ids"][rank]:
            near = [unhex(p) for p in old["logprobs"]]
            if not any(abs(p - a) <= 2 * bound for r, p in enumerate(near) if r != rank) and rank != len(near) - 1:
                out.append(f"{where}: rank {rank}: id {old['ids'][rank]} became {new['ids'][rank]} without a tie")
    return out


def compare_tensors(old: Path, new: Path, floor: float) -> list[str]:
    a, b = safetensors.numpy.load_file(old), safetensors.numpy.load_file(new)
    if {k: v.shape for k, v in a.items()} != {k: v.shape for k, v in b.items()}:
        return ["tensors or shapes changed"]
    out = []
    for name in sorted(a):
        if name == "positions":
            if not np.array_equal(a[name], b[name]):
                out.append("positions changed")
            continue
        x, y = a[name].astype(np.float64), b[name].astype(np.float64)
        distance = float(np.linalg.norm(x - y) / max(np.linalg.norm(x), 1e-30))
        # The float64 runs share nothing that rounds to float32 but the inverse frequencies, which differ by CPU in the last place.
        bound = FLOORS * floor if name.endswith("f32") else floor
        if not distance <= bound:
            out.append(f"{name}: relative RMS {distance:.2e} to the committed one, more than {bound:.2e}")
    return out
