"""Explain one weight at one step as lines of text."""
import numpy as np

from tinyq.audit.capture.capture import Captured
from tinyq.audit.explain.gradient_terms import LayerGradient, layer_gradients, value_in_layer
from tinyq.audit.explain.one_weight import OneWeight
from tinyq.audit.explain.update_lines import update_of
from tinyq.audit.methods.method_table import audit_of
from tinyq.errors import AuditMismatch
from tinyq.nn.parameter import Quantizer
from tinyq.output.counting import counted
from tinyq.output.text_table import table

LARGEST = 5                             # terms of a sum that are listed


def explain(captured: Captured, weight: OneWeight) -> list[str]:
    """Return the explanation of a captured step; AuditMismatch if its network has no such weight."""
    method = captured.phase.method
    if weight.name not in captured.before or captured.before[weight.name].shape != weight.shape:
        raise AuditMismatch(f"the ledger has {weight.name} of shape {weight.shape}, the network of the run has not")
    lines = [f"{weight} of shape {weight.shape}, step {captured.step} (phase {captured.phase.name}, epoch "
             f"{captured.epoch + 1}, batch {captured.batch}, method {type(method).__name__})"]
    if not method.uses_gradients:
        return lines + audit_of(type(method).__name__).explain(captured, weight.name, weight.index) + _levels(
            captured, weight)
    value, is_level = value_in_layer(captured, weight)
    lines.append(f"forward: the layer computes with {value:.9g}" + (", in units of its scale" if is_level else ""))
    for found in layer_gradients(captured, weight):
        lines += _gradient(found)
    if weight.name in captured.handed:
        update = update_of(captured, weight)
        after = _exact(captured.after[weight.name][weight.index]).strip()
        settings = ", ".join(f"{name} {value}" for name, value in update.settings)
        recombined = ("equal to the weight after the step, bit for bit" if update.exact
                      else f"NOT the weight after it, {after}")
        lines += [f"update in float32, {type(captured.phase.optimizer).__name__}: {settings}", *_aligned(update.lines),
                  f"  recombined: {recombined}"]
    else:
        lines.append("  no gradient reaches it in this step: it is not updated")
    return lines + _levels(captured, weight)


def _gradient(found: LayerGradient):
    yield f"gradient from {found.layer}"
    if found.terms is None:
        yield "  this primitive is not taken apart into terms"
    else:
        yield from _largest(found)
    error = abs(float(found.float32) - found.float64)
    yield from _aligned([("sum in float64", found.float64), ("in float32", found.float32)])
    place = "within" if error <= found.bound else "BEYOND"
    yield f"  they differ by {error:.2g}, {place} the bound of rounding errors, {found.bound:.2g}"
    if found.reaches is not None:
        yield from _aligned([(f"{found.quantiser}: gradient of the latent weight", found.reaches)])


def _largest(found):
    """List the terms of largest magnitude; for layers with places, first each sample's sum over them."""
    terms = found.terms
    by_sample = terms.reshape(len(terms), -1).sum(1)
    order = np.argsort(-np.abs(terms), axis=None, kind="stable")[:LARGEST]
    places = [np.unravel_index(i, terms.shape) for i in order]
    if terms.ndim == 1:
        rows = [[str(found.samples[at[0]]), f"{terms[at]:.9g}"] for at in places]
        yield from _largest_of(table(["sample", "term"], rows), terms.size)
    else:
        rows = [[str(found.samples[at[0]]), str(tuple(map(int, at[1:]))), f"{terms[at]:.9g}"] for at in places]
        yield from _largest_of(table(["sample", "place", "term"], rows), terms.size)
        samples = np.argsort(-np.abs(by_sample), kind="stable")[:LARGEST]
        yield from _indented(table(["sample", "sum over places"],
                                   [[str(found.samples[i]), f"{by_sample[i]:.9g}"] for i in samples]))


def _largest_of(lines, count):
    yield from _indented(lines)
    if count > LARGEST:
        yield f"  and {counted(count - LARGEST, 'smaller term')}"


def _levels(captured, weight):
    """Name the nearest level before and after the step."""
    quantizer = dict(captured.model.named_parameters())[weight.name].parametrization
    if not isinstance(quantizer, Quantizer):
        return []
    values = quantizer.level_set.values
    codes = [quantizer.codes(state[weight.name])[weight.index] for state in (captured.before, captured.after)]
    before, after = (f"{values[code]:g}" for code in codes)
    changed = "unchanged" if before == after else "it flips"
    levels = ", ".join(f"{value:g}" for value in values)
    return [f"  nearest level: {before} before, {after} after ({changed}); levels {levels}"]


def _aligned(lines):
    return _indented([f"{name:<47} {_exact(value)}" for name, value in lines])


def _exact(value):
    number = float(value)
    return f"{number:>16.9g}  {number.hex()}"


def _indented(lines):
    return [f"  {line}" for line in lines]
