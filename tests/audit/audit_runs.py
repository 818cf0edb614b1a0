"""Small runs with a ledger, for the tests of the audit."""
import hashlib

from tinyq.audit import observers_for
from tinyq.audit.ledger.hash_chain import NOTHING_BEFORE, Line, chain, encode
from tinyq.run import session
from tinyq.run.settings.resolve import resolve

IRIS = {"model": "mlp:8,16", "data": "iris", "method": "cbp", "recipe": "none", "batch_size": 16, "lr": 0.05,
        "pretrain_epochs": 2, "epochs": 3, "cbp.lambda_lr": 0.05, "cbp.period": 1, "threads": 1, "workers": 0}
# What makes each method's run short and busy.
METHODS = {
    "cbp": IRIS,
    "rpr": {**{k: v for k, v in IRIS.items() if not k.startswith("cbp")}, "method": "rpr", "opt": "adam", "lr": 0.01,
            "epochs": 6},
    "conntra": {"recipe": "iris-conntra", "pretrain_epochs": 2, "epochs": 3, "conntra.surrogate": 1, "threads": 1,
                "workers": 0},
    "backprop": {**{k: v for k, v in IRIS.items() if not k.startswith(("cbp", "pretrain"))}, "method": "backprop"},
}
_RIVAL = {"model": "mlp:8,16", "data": "iris", "recipe": "none", "batch_size": 16, "opt": "adam", "lr": 0.01,
          "pretrain_epochs": 1, "epochs": 3, "threads": 1, "workers": 0}
# Likewise of the methods that share an audit, which fewer tests train.
RIVALS = {name: {**_RIVAL, "method": name} for name in ("ste", "bwn", "twn")}
RIVALS["lqnets"] = {**_RIVAL, "method": "lqnets", "levels": "-3,-1,1,3"}


def train(folder, method="cbp", audit="digests", **changes):
    """The result of a run of a method in this folder."""
    settings = {**(METHODS | RIVALS)[method], "audit": audit, **changes, "output": str(folder)}
    resolved = resolve(settings)
    return session.start(resolved, observers_for)[0]


def resume(folder, **changes):
    """The result of going on with it."""
    return session.resume(folder, changes, observers_for)[0]


def read(path):
    """All lines of a ledger."""
    return list(chain(path))


def chained(records):
    """The lines of these records, their chain made anew."""
    lines, before, end = [], NOTHING_BEFORE, 0
    for number, record in enumerate(records, 1):
        record = {key: value for key, value in record.items() if key != "prev"}
        data = encode(record, before)
        end += len(data)
        lines.append(Line({"prev": before, **record}, hashlib.sha256(data).hexdigest(), number, end))
        before = lines[-1].head
    return lines


def write_ledger(run, records):
    """Write these records as the run's ledger, their chain made anew; return its lines."""
    lines = chained(records)
    (run / "ledger.jsonl").write_bytes(b"".join(
        encode({key: value for key, value in line.record.items() if key != "prev"}, line.record["prev"])
        for line in lines))
    return lines


def rewrite(run, change):
    """change(records) what the ledger says, and make the chain anew."""
    records = [line.record for line in read(run / "ledger.jsonl")]
    change(records)
    write_ledger(run, records)


def of_step(records, step):
    """The record of this step."""
    return next(r for r in records if r["record"] == "step" and r["step"] == step)
