"""Forgeries: one thing of an honest run folder changed, and everything that depends on it made consistent again."""
import copy
import dataclasses
import hashlib
import json
import shutil
import tomllib

import h5py
import numpy as np
from audit_runs import read

from tinyq.audit.ledger.hash_chain import NOTHING_BEFORE, encode
from tinyq.audit.replay.comparison import nearly_equal
from tinyq.audit.replay.final import replay_final
from tinyq.audit.replay.replay_all import replay_all
from tinyq.audit.replay.rerun import Source
from tinyq.audit.verification.verify import verify
from tinyq.errors import TinyqError
from tinyq.files import weights as weight_files
from tinyq.files.read import sha256_of
from tinyq.files.weights import weights_sha256
from tinyq.packed.file import format as packed_format
from tinyq.run import checkpoint
from tinyq.run.settings.toml_file import read_toml

# What the page names as the owner's word: (file or kind of record, part of the path).
UNAUDITED = {("begin", "environment"), ("resume", "environment"), ("exception", "message"), ("result.json", "seconds"),
             ("metrics.jsonl", "seconds"), *(("checkpoint file", name) for name in ("seconds", "records", "skipped")),
             ("begin", "print_freq"), ("resume", "print_freq"),
             *(("config.toml", name) for name in ("threads", "workers", "print_freq", "tensorboard", "max_steps",
                                                  "checkpoint_minutes", "data_path", "output", "recipe"))}


def is_found(run):
    """Return True if verify, or a replay of everything, refuses the folder."""
    try:
        verify(run)
        source = Source(run, {"threads": 1})
        replay_all(source)
        replay_final(source)
    except TinyqError:
        return True
    return False


def leaves_of(value, path=()):
    """Yield (path, value) of everything in nested dicts and lists that is neither."""
    if isinstance(value, dict | list) and value:
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves_of(inner, (*path, key))
    else:
        yield path, value


def put(value, path, new):
    """Set the leaf at a path."""
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


def other(value, draw):
    """Another value: near the old one or far from it, or one that Python takes as equal, such as True for 1."""
    twins = [twin for twin in ((bool, int, float)[i](value) for i in range(3) if isinstance(value, int | float))
             if twin == value and type(twin) is not type(value)]
    if twins and draw.random() < 0.3:
        return draw.choice(twins)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + draw.choice([-1, 1, 7])
    if isinstance(value, float):
        return draw.choice([float(np.nextafter(value, np.inf)), value * 0.5 + 0.25, -value - 1])
    if isinstance(value, str) and value:
        at = draw.randrange(len(value))
        return value[:at] + draw.choice([c for c in "0123456789abcdef" if c != value[at]]) + value[at + 1:]
    return draw.choice(["", 1, "x"]) if value in (None, "") else 1


class Forger:
    """Changes copies of one honest run folder."""

    def __init__(self, original, folder):
        self.original, self.folder = original, folder
        self.records = [line.record for line in read(original / "ledger.jsonl")]

    def forge(self, draw):
        """Make a copy with one change; return (copy, what was changed), None for the latter if nothing looks at it."""
        run = self.folder / "forged"
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(self.original, run)
        kind = draw.choice([self.record, self.record, self.config, self.result, self.metrics, self.checkpoint,
                            self.model, self.float, self.best, self.packed, self.plot, self.records_moved, self.keys,
                            self.lines, self.layout, self.file_removed])
        try:
            return run, kind(run, draw)
        except TinyqError:                      # a file that no reader takes: another one
            return self.forge(draw)

    def record(self, run, draw):
        records = copy.deepcopy(self.records)
        number = draw.randrange(len(records))
        leaves = [leaf for leaf in leaves_of(records[number]) if leaf[0][0] not in ("prev", "record")]
        path, value = draw.choice(leaves)
        new = other(value, draw)
        put(records[number], path, new)
        kind = records[number]["record"]
        reseal(run, records, forged=number)
        if kind == "check" and type(new) is float and nearly_equal(self.records[number], records[number], path[0]):
            return None
        if kind == "file" and path == ("sha256",) and not (run / records[number]["file"]).exists():
            return None
        return None if (kind, path[0]) in UNAUDITED else f"record {number} ({kind}): {path}: {value}"

    def config(self, run, draw):
        settings = tomllib.loads((run / "config.toml").read_text())
        path, value = draw.choice(list(leaves_of(settings)))
        put(settings, path, other(value, draw))
        (run / "config.toml").write_text(_toml(settings))
        records = copy.deepcopy(self.records)
        records[0]["config_sha256"] = sha256_of(run / "config.toml")
        name = ".".join(path)
        if name in records[0]["settings"]:
            records[0]["settings"][name] = read_toml(run / "config.toml").get(name)
        reseal(run, records)
        return None if ("config.toml", name) in UNAUDITED else f"config.toml: {name}: {value}"

    def result(self, run, draw):
        result = json.loads((run / "result.json").read_text())
        path, value = draw.choice([leaf for leaf in leaves_of(result) if leaf[0] != ("ledger_head",)])
        put(result, path, other(value, draw))
        (run / "result.json").write_text(json.dumps(result, indent=2) + "\n")
        records = copy.deepcopy(self.records)
        if draw.random() < 0.5:
            figures = next(r for r in reversed(records) if r["record"] == "result")["figures"]
            figures.update({key: result[key] for key in figures})
        reseal(run, records)
        return None if ("result.json", path[0]) in UNAUDITED else f"result.json: {path}: {value}"

    def metrics(self, run, draw):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        number = draw.randrange(len(lines))
        path, value = draw.choice(list(leaves_of(lines[number])))
        put(lines[number], path, other(value, draw))
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return None if ("metrics.jsonl", path[0]) in UNAUDITED else f"metrics.jsonl, line {number + 1}: {path}: {value}"

    def checkpoint(self, run, draw):
        path = draw.choice(sorted((run / "checkpoints").glob("*.h5")))
        position, states = checkpoint.load(path)
        if draw.random() < 0.5:
            owner = draw.choice([owner for owner in states if states[owner]])
            name = draw.choice(sorted(states[owner]))
            states[owner][name] = changed_array(states[owner][name], draw)
            what = f"{owner}/{name}"
        else:
            fields = dataclasses.asdict(position)
            place, value = draw.choice([leaf for leaf in leaves_of(fields) if leaf[0] != ("ledger_head",)])
            put(fields, place, other(value, draw))
            position, what = checkpoint.Position(**fields), place[0]
        checkpoint.write(path, position, states)
        records = copy.deepcopy(self.records)
        mine = [r for r in records if r["record"] == "checkpoint"
                and path.name == checkpoint.path_of("", r["step"]).name][-1]
        mine["state_sha256"] = checkpoint.state_sha256(position, states)
        if draw.random() < 0.5:
            mine.update(phases_done=position.phase, epochs_done=position.epoch, batches_done=position.batch)
        reseal(run, records)
        return None if ("checkpoint file", what) in UNAUDITED else f"{path.name}: {what}"

    def model(self, run, draw):
        return self._weights(run, draw, "model.h5", "end")

    def float(self, run, draw):
        return self._weights(run, draw, "float.h5", "float")

    def best(self, run, draw):
        return self._weights(run, draw, "best.h5", "")

    def _weights(self, run, draw, name, kind):
        with h5py.File(run / name, "a") as file:
            names = []
            file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
            attributes = [key for key in file.attrs if key not in ("ledger_head", "layer_names", "format")]
            if draw.random() < 0.6:
                what = draw.choice(names)
                array = file[what][()]
                file[what][...] = changed_array(array, draw)
            else:
                what = draw.choice(attributes)
                value = file.attrs[what]
                text = value.decode() if isinstance(value, bytes) else value
                if isinstance(text, np.ndarray):
                    text = [item.decode() if isinstance(item, bytes) else item for item in text]
                    text[0] = other(text[0], draw)
                    file.attrs[what] = np.array([np.bytes_(item.encode()) for item in text])
                else:
                    text = text.item() if isinstance(text, np.generic) else text
                    new = other(text.decode() if isinstance(text, bytes) else text, draw)
                    file.attrs[what] = np.bytes_(new.encode()) if isinstance(new, str) else new
            state = {n.replace("/", "."): file[n][()] for n in names
                     if not n.startswith("probe/") and not n.endswith(("_scale", "_levels"))}
            if what != "weights_sha256":
                file.attrs["weights_sha256"] = np.bytes_(weights_sha256(state).encode())
        weight_files.write(run / name, weight_files.read(run / name))
        records = copy.deepcopy(self.records)
        for record in records:
            if record["record"] == kind:
                record["weights_sha256"] = weights_sha256(state)
            if record["record"] == "result" and kind == "end":
                record["figures"]["weights_sha256"] = weights_sha256(state)
        if kind == "end":
            result = json.loads((run / "result.json").read_text())
            result["weights_sha256"] = weights_sha256(state)
            (run / "result.json").write_text(json.dumps(result, indent=2) + "\n")
        reseal(run, records)
        return f"{name}: {what}"

    def packed(self, run, draw):
        packed = packed_format.read(run / "model.tq.h5")
        if draw.random() < 0.5:
            meta = copy.deepcopy(packed.meta)
            path, value = draw.choice([leaf for leaf in leaves_of(meta) if leaf[0] != ("ledger_head",)])
            put(meta, path, other(value, draw))
            packed, what = dataclasses.replace(packed, meta=meta), f"meta {path}"
        else:
            places = [("ranges", None)] + [("golden", kind) for kind in packed.golden]
            what = draw.choice(places)
            if what[0] == "ranges":
                packed = dataclasses.replace(packed, ranges=changed_array(packed.ranges, draw))
            else:
                golden = {**packed.golden, what[1]: changed_array(packed.golden[what[1]], draw)}
                packed = dataclasses.replace(packed, golden=golden)
        packed_format.write(run / "model.tq.h5", packed)
        reseal(run, copy.deepcopy(self.records))
        return f"model.tq.h5: {what}"

    def records_moved(self, run, draw):
        """Remove a record, write one twice, or exchange it with the next."""
        records = copy.deepcopy(self.records)
        number = draw.randrange(1, len(records) - 1)
        kind, way = records[number]["record"], draw.choice(["remove", "double", "exchange"])
        if way == "remove":
            del records[number]
        elif way == "double":
            records.insert(number, copy.deepcopy(records[number]))
        else:
            records[number:number + 2] = records[number:number + 2][::-1]
        reseal(run, records)
        gone = kind == "file" and not (run / self.records[number]["file"]).exists()
        unaudited = way == "remove" and gone or way == "double" and kind == "checkpoint"
        return None if unaudited else f"{way} record {number} ({kind})"

    def keys(self, run, draw):
        """Remove a key of result.json, or add one, in the file, on record, or both."""
        result, records = json.loads((run / "result.json").read_text()), copy.deepcopy(self.records)
        figures = next(r for r in reversed(records) if r["record"] == "result")["figures"]
        key = draw.choice([key for key in result if key != "ledger_head"])
        places = draw.choice([[result], [figures], [result, figures]])
        remove, added = draw.random() < 0.5, draw.choice(["seconds", "note"])
        for place in places:
            if remove:
                place.pop(key, None)
            else:
                place[added] = draw.choice([None, 1])
        unchanged = remove and key == "seconds" and places == [figures]
        if unchanged or not remove and added == "seconds" and places == [result]:
            return None
        (run / "result.json").write_text(json.dumps(result, indent=2) + "\n")
        reseal(run, records)
        return f"result: {'removed ' + key if remove else 'added'} in {len(places)}"

    def lines(self, run, draw):
        """Change which lines metrics.jsonl has, or how one is spelled."""
        lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
        number = draw.randrange(len(lines))
        way = draw.choice(["removed", "doubled", "cut", "a key twice", "spaced"])
        if way == "removed":
            del lines[number]
        elif way == "doubled":
            lines.insert(number, lines[number])
        elif way == "cut":
            lines.append(lines[number][:-3])
        elif way == "a key twice":
            lines[number] = '{"step": 0, ' + lines[number][1:]
        else:
            lines[number] = lines[number].replace(": ", ":", 1)
        (run / "metrics.jsonl").write_text("".join(lines))
        return f"metrics.jsonl: line {number + 1} {way}"

    def layout(self, run, draw):
        """Put something into an HDF5 file that belongs to no dataset: an attribute, or bytes behind the end."""
        path = draw.choice([run / "model.h5", run / "float.h5", run / "model.tq.h5",
                            *sorted((run / "checkpoints").glob("*.h5"))])
        names, records = [], copy.deepcopy(self.records)
        reseal(run, records)                    # the heads in the files are then those that follow, too
        if draw.random() < 0.3:
            path.write_bytes(path.read_bytes() + b"more")
        else:
            with h5py.File(path, "a") as file:
                file.visit(names.append)
                file[draw.choice(names)].attrs["accuracy"] = 0.99
        if path.name == "model.tq.h5":
            self._put_figure(run, records, "bytes_packed_file", path.stat().st_size)
        reseal(run, records)
        return f"{path.name}: layout"

    def file_removed(self, run, draw):
        """Remove a file of the finished run and its record."""
        name = draw.choice(["model.h5", "model.tq.h5", "result.json", "metrics.jsonl", "config.toml",
                            "plots/levels.svg"])
        (run / name).unlink()
        records = [r for r in copy.deepcopy(self.records) if r.get("file") != name]
        if name == "model.h5" or name == "result.json":
            return f"{name} removed"
        reseal(run, records)
        return f"{name} removed"

    def _put_figure(self, run, records, name, value):
        result = json.loads((run / "result.json").read_text())
        result[name] = value
        (run / "result.json").write_text(json.dumps(result, indent=2) + "\n")
        next(r for r in reversed(records) if r["record"] == "result")["figures"][name] = value

    def plot(self, run, draw):
        path = draw.choice(sorted((run / "plots").glob("*.svg")))
        text = path.read_text()
        at = draw.choice([i for i, c in enumerate(text) if c.isdigit()])
        path.write_text(text[:at] + draw.choice([c for c in "0123456789" if c != text[at]]) + text[at + 1:])
        return f"plots/{path.name}: character {at}"


def changed_array(array, draw):
    """A copy with one bit of one element changed."""
    array = np.array(array)
    if not array.size:
        return np.ones(1, array.dtype)
    data = array.reshape(-1).view(np.uint8)
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return array


def reseal(run, records, forged=None):
    """Write these records with a chain made anew, and put its heads and the files' SHA-256 wherever they belong.

    forged: number of a record of which no SHA-256 is corrected, because it is what the forger changed.
    """
    lines, before, last = [], NOTHING_BEFORE, {}
    for number, record in enumerate(records):
        if record["record"] == "file":
            last[record["file"]] = number
        if record["record"] == "end":
            last["end"] = number
        if record["record"] == "checkpoint":
            last[checkpoint.path_of("", _step(record)).name] = number
    for number, record in enumerate(records):
        record = {key: value for key, value in record.items() if key != "prev"}
        if record["record"] == "file" and last[record["file"]] == number != forged and (run / record["file"]).is_file():
            record["sha256"] = sha256_of(run / record["file"])
        lines.append(encode(record, before))
        before = hashlib.sha256(lines[-1]).hexdigest()
        if record["record"] == "checkpoint":
            path = checkpoint.path_of(run / "checkpoints", _step(record))
            if path.is_file() and last[path.name] == number:
                _name_record(path, before)
        if record["record"] == "end" and number == last["end"]:
            _name_end(run, before)
        if record["record"] == "result":
            result = json.loads((run / "result.json").read_text())
            (run / "result.json").write_text(json.dumps({**result, "ledger_head": before}, indent=2) + "\n")
    (run / "ledger.jsonl").write_bytes(b"".join(lines))


def _step(record):
    return record["step"] if type(record["step"]) is int else -1


def _name_record(path, head):
    """Put the head of its record into a checkpoint; every other byte of the file stays."""
    position, states = checkpoint.load(path)
    old = json.dumps(dataclasses.asdict(position))
    position.ledger_head = head
    new, state = json.dumps(dataclasses.asdict(position)), checkpoint.state_sha256(position, states)
    sha256 = [hashlib.sha256(f"{text}\n{state}".encode()).hexdigest() for text in (old, new)]
    data = path.read_bytes().replace(old.encode(), new.encode()).replace(sha256[0].encode(), sha256[1].encode())
    path.write_bytes(data)


def _name_end(run, head):
    for path in (run / "model.h5", run / "best.h5"):
        if path.exists():
            old = weight_files.read_attributes(path)["ledger_head"]
            path.write_bytes(path.read_bytes().replace(old.encode(), head.encode()))
    packed = packed_format.read(run / "model.tq.h5") if (run / "model.tq.h5").exists() else None
    if packed is not None and packed.meta["ledger_head"] != head:
        packed_format.write(run / "model.tq.h5", dataclasses.replace(packed, meta={**packed.meta, "ledger_head": head}))


def _toml(settings):
    plain = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items() if not isinstance(value, dict))
    return plain + "".join(f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
                           for name, table in settings.items() if isinstance(table, dict))
