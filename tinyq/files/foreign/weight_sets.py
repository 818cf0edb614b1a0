"""Find the sets of weights in what PyTorch saved: the state_dict itself, or those under keys such as "state_dict"."""
from collections.abc import Mapping

from tinyq.files.foreign.pickle_objects import Inert, Unnamed
from tinyq.files.foreign.pickle_texts import Unreadable
from tinyq.files.foreign.torch_weights import axes_of, is_tensor

MAX_DEPTH = 3                           # of the dicts around a set
OTHERS = ("optim", "scheduler", "scaler", "rng")        # beginnings of keys of dicts that hold no weights


def weight_sets(content: object) -> dict[str, Mapping[str, object]]:
    """Return {key: {name: tensor}} of every set of weights: "" for the whole file, "model.state" for one within two.

    Unreadable where there is none, with what there is instead, or where a set holds anything else than tensors.
    """
    found = _sets(content)
    if not found:
        raise Unreadable(_what_it_is(content))
    return {".".join(keys): _checked(value, ".".join(keys)) for keys, value in found.items()}


def _sets(content):
    """Return {keys: dict} of the innermost dicts that are half tensors or more; each dict is looked into once."""
    found: dict[tuple[str, ...], dict] = {}
    again: list[tuple[tuple[str, ...], dict]] = []
    sets, seen = set(), {id(content)}
    waiting: list[tuple[tuple[str, ...], dict]] = [((), content)] if isinstance(content, dict) else []
    for keys, value in waiting:
        if _is_module(value) or "param_groups" in value:
            continue
        if _is_mostly_tensors(value):
            found[keys] = value
            sets.add(id(value))
        for key, inner in value.items() if len(keys) < MAX_DEPTH else ():
            if not isinstance(inner, dict) or not _may_hold_weights(key):
                continue
            if id(inner) in seen:
                again.append(((*keys, key), inner))
            else:
                seen.add(id(inner))
                waiting.append(((*keys, key), inner))
    found |= {keys: value for keys, value in again if id(value) in sets}        # one dict under two keys
    around = {keys[:n] for keys in found for n in range(len(keys))}
    return {keys: value for keys, value in found.items() if keys not in around}


def _may_hold_weights(key):
    return type(key) is str and not key.lower().startswith(OTHERS)


def _is_mostly_tensors(value):
    """Return whether half of the values are tensors, one of them with an axis: a score as a tensor is no weight."""
    tensors = [entry for entry in value.values() if is_tensor(entry)]
    return 2 * len(tensors) >= len(value) and any(axes_of(tensor) for tensor in tensors)


def _checked(value, key):
    """Return the set with its texts as names; Unreadable names the first entry that is no tensor."""
    where = f" in {key!r}" if key else ""
    for name, entry in value.items():
        if type(name) is not str:
            raise Unreadable(f"the weights{where} have a name that is not a text")
        if not is_tensor(entry):
            raise Unreadable(f"{name!r}{where} is {_called(entry)}, not a tensor; save model.state_dict()")
    return value


def _is_module(value):
    return isinstance(value, Inert) and isinstance(value.state, dict) and "_modules" in value.state


def _what_it_is(content):
    """Say what a file without weights holds, and what to do."""
    inner = list(content.values()) if type(content) is dict else [content]
    modules = [value for value in inner if _is_module(value)]
    if modules:
        return (f"it is a whole model ({modules[0].name}), which only its own code can load; there, "
                "torch.save(model.state_dict(), ...) saves its weights")
    if isinstance(content, dict) and not isinstance(content, Inert):
        kinds = ", ".join(f"{key!r:.40} ({_called(value)})" for key, value in list(content.items())[:8]
                          if not isinstance(key, Unnamed))
        return f"it holds no state_dict{f', but {kinds}' if kinds else ''}; save model.state_dict()"
    return f"it holds no state_dict, but {_called(content)}; save model.state_dict()"


def _called(value):
    if isinstance(value, Inert):
        return f"an object of {value.name}"
    if is_tensor(value):
        return "a tensor"
    names = {dict: "a dict", list: "a list", tuple: "a tuple", str: "a text", bytes: "bytes", type(None): "None"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else "another object")
