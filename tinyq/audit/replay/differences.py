"""Name what differs between a record and its replay, in the order in which a step computes."""
from tinyq.audit.capture.step_trace import Trace
from tinyq.audit.ledger.digests import differing


def describe(expected: dict, record: dict, fields: list[str], parameters: list[str], buffers: list[str],
             trace: Trace | None) -> str:
    """Describe the first difference between a record of the ledger and the replayed one.

    fields: the names of the fields that differ. trace: the calls of a replayed step.
    """
    kind = record["record"]
    if expected["record"] != kind:
        return f"the ledger has a record of kind {expected['record']} here, the replay one of kind {kind}"
    if kind == "step" and trace is not None:
        found = _of_step(expected, record, fields, parameters, buffers, trace)
    else:
        found = ""
        if "w" in fields:
            found = f"{_tensors(expected, record, 'w_of', parameters + buffers)} differs at this {kind}"
    return found or f"{kind}: {', '.join(_of_values(expected, record, fields))}"


def _of_step(expected, record, fields, parameters, buffers, trace):
    """Describe the first digest of a step that differs; "" where all agree."""
    if "ids" in fields:
        return "the step was trained on other samples than the ledger says"
    if "x" in fields:
        return "the input differs from the ledger: other data, or another decoding of the images"
    if "ops" in fields:
        return _first_call(expected, record, "ops", trace.calls)
    if "vjps" in fields:
        return _first_call(expected, record, "vjps", trace.vjps)
    if "g" in fields:
        return (f"the gradient of {_tensors(expected, record, 'g_of', parameters)} differs, while every vjp before "
                "agrees: look at the vjp that made it, or at the method's own term")
    if "w" in fields:
        tensors = _tensors(expected, record, "w_of", parameters + buffers)
        return f"the update of {tensors} differs, while its gradient agrees"
    return ""


def _first_call(expected, record, field, calls):
    at = differing(record[f"{field}_of"], expected.get(f"{field}_of", ""), len(calls))
    if not at:
        return f"the digest of all {field} differs, but that of none of them"
    return f"{calls[at[0]]} (number {at[0]}) differs from the ledger; everything before it agrees"


def _of_values(expected, record, fields):
    """List the fields that differ; of metrics, with both values."""
    old, new = expected.get("metrics", {}), record.get("metrics", {})
    yield from (key for key in fields if key != "metrics")
    for key in {**old, **new}:
        if old.get(key) != new.get(key):
            yield f"{key} ({old.get(key)} on record, {new.get(key)} replayed)"


def _tensors(expected, record, field, names):
    found = [names[i] for i in differing(record[field], expected[field], len(names))]
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "") or "some tensor"
