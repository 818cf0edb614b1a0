"""Name what differs between two records of the same place in two runs, in the order in which a step computes."""
import json
from collections.abc import Iterator

from tinyq.audit.ledger.digests import MANY, differing
from tinyq.audit.methods.method_audit import Record

MAX_NAMED, MAX_TEXT = 3, 40             # tensors or entries in a line; characters of a value
POSITION = ("step", "phase", "epoch", "batch", "method", "optimizer", "skipped", "lr", "constrained")


def differences_of(a: Record, b: Record, tensors: list[str], buffers: list[str]) -> list[str]:
    """Describe each difference between two records; the first one is the cause of those after it.

    tensors, buffers: names of the parameters and buffers whose digests the records hold, in order.
    """
    if a["record"] != b["record"]:
        return [f"a record of kind {a['record']} in A, of kind {b['record']} in B"]
    return list(_differences(a, b, tensors, buffers))


def shown_value(value: object) -> str:
    """Return a value of a ledger as short text: hexadecimal floats in decimal, lists by their length if long."""
    if isinstance(value, str):
        try:
            return f"{float.fromhex(value):.9g}" if "0x" in value else _short(value)
        except (ValueError, OverflowError):
            return _short(value)
    if isinstance(value, list) and len(value) <= MAX_NAMED:
        return f"[{', '.join(map(shown_value, value))}]"
    text = json.dumps(value)
    return text if len(text) <= MAX_TEXT else f"{len(value)} entries" if isinstance(value, list) else _short(text)


def differing_values(a: Record, b: Record) -> Iterator[str]:
    """Describe each key whose value differs, with both values."""
    for key in {**a, **b}:
        if key not in b or key not in a:
            yield f"{key} is in {'A' if key in a else 'B'} only"
        elif a[key] != b[key]:
            old, new = shown_value(a[key]), shown_value(b[key])
            yield f"{key}" if old == new else f"{key} {old} in A, {new} in B"


def _differences(a, b, tensors, buffers):
    for key in POSITION:
        yield from differing_values(*({key: record[key]} if key in record else {} for record in (a, b)))
    yield from _shapes(a, b)
    if a.get("ids") != b.get("ids"):
        yield "samples: the two were trained on other samples or labels"
    if a.get("x") != b.get("x"):
        yield "input: the values of the samples differ"
    for field, what in (("ops", "output of operation"), ("vjps", "vjp")):
        if a.get(field) != b.get(field):
            yield _numbers(a.get(f"{field}_of", ""), b.get(f"{field}_of", ""), what)
    for field, what, names in (("g", "gradient of", tensors), ("w", "weights:", tensors + buffers)):
        if a.get(field) != b.get(field):
            yield f"{what} {_names(a.get(f'{field}_of', ''), b.get(f'{field}_of', ''), names)}"
    yield from differing_values(*({key: record[key] for key in record.keys() & {"weights_sha256"}}
                                  for record in (a, b)))
    for field in ("measured", "metrics", "figures"):
        yield from (f"metric {text}" for text in differing_values(a.get(field, {}), b.get(field, {})))


def _shapes(a, b):
    """Describe tensors that only one network has, or that have other shapes."""
    for key in ("tensors", "buffers"):
        found = list(differing_values(a.get(key, {}), b.get(key, {})))
        if found:
            more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
            yield f"network: {key} {'; '.join(found[:MAX_NAMED])}{more}"


def _numbers(a, b, what):
    """Name an array by its number, counted from 0; from 128 arrays a digest has one letter, below two."""
    if len(a) != len(b):
        return f"{what}s: another number of them"
    first = next((i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), None)
    if first is None:
        return f"{what}s: the digest of all differs, but that of none of them"
    by_one, by_two = f"{first} of {len(a)}", f"{first // 2} of {len(a) // 2}"
    if len(a) < MANY or len(a) >= 2 * MANY or len(a) % 2:
        return f"{what} number {by_two if len(a) < MANY else by_one}"
    return f"{what} number {by_two}, or {by_one}"               # the letters alone do not tell


def _names(a, b, names):
    found = [names[i] for i in differing(a, b, len(names))] if names else []
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return ", ".join(found[:MAX_NAMED]) + more or "some tensor"


def _short(text):
    return text if len(text) <= MAX_TEXT else f"{text[:12]}..."
