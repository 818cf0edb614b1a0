"""The top of the page: verdict, the run in a few lines, checks, figures, machine and versions."""
import json

from tinyq.audit.ledger.history import History
from tinyq.audit.report.findings import Check, Report
from tinyq.audit.report.numbers import number_or_none
from tinyq.audit.report.sections import html_table, quoted_lines
from tinyq.errors import TinyqError
from tinyq.files.read import read_file
from tinyq.output.quoting import markup
from tinyq.output.work import duration
from tinyq.saved.run_folder import RESULT_FILE
from tinyq.tasks.task import FIGURE_NAMES, SPLITS, figure_text, shown_of

SHORT = 16                              # characters of a digest
RESULT_BYTES = 1 << 20
CLASSES = {"passed": "passed", "FAILED": "failed", "not done": "undone"}
HELD = {"verify": "Every file on record agrees with the ledger, and every record with the rules of the method",
        "replay": "A replay of every step gave every digest on record",
        "final": "The finished network was made again, and its figures were measured again"}


def verdict(report: Report) -> str:
    """Say in a line whether the run held, or its first fault."""
    for outcome, line in (("FAILED", "Did not hold. First fault: "), ("not done", "Not decided. Could not be done: ")):
        for check in report.checks:
            if check.outcome == outcome:
                return _verdict(CLASSES[outcome], line + _first_line(check), _what_is_shown(report))
    held = ". ".join(HELD[check.name] for check in report.checks if check.name in HELD)
    number = sum(check.name not in HELD for check in report.checks)
    finished = report.history is not None and report.history.result is not None
    return _verdict("passed", "Held: no check found a fault", f"{held}. Steps checked in float64 without a fault: "
                    f"{number}.{'' if finished else ' The run is not finished: it has no figure to measure again.'}")


def outline(report: Report) -> str:
    """Describe the run and the making of the page."""
    made = f"This page was made on {report.made:%Y-%m-%d at %H:%M} UTC; the audit took {duration(report.seconds)}."
    history = report.history
    if history is None:
        return f"<p>{made}</p>"
    settings = history.begin.record["settings"]
    model, data, method, levels, seed = (markup(settings.get(name)) for name in (
        "model", "data", "method", "levels", "seed"))
    seconds = _training_seconds(history)
    trained = "" if seconds is None else (f"Training took {markup(duration(seconds))}, by the owner's word: nothing "
                                          "is held against it. ")
    head = "Head of the chain" if report.is_whole else "Head of the last line that can be read"
    return (f"<p>{model} on {data}, method {method}, levels {levels}, seed {seed}; {history.steps:,} steps, "
            f"{history.last.number:,} records.<br>{head}: <code>{history.last.head}</code><br>{trained}{made}</p>")


def checks(report: Report) -> str:
    """Tabulate the checks."""
    rows = "".join(
        f'<tr><td>{markup(c.name)}</td><td class="result {CLASSES[c.outcome]}">{c.outcome}</td>'
        f'<td>{quoted_lines(c.details.splitlines(), "<br>")}</td></tr>' for c in report.checks)
    return ('<table class="checks"><thead><tr><th>check</th><th>result</th><th>details</th></tr>'
            f"</thead><tbody>{rows}</tbody></table>")


def figures(report: Report) -> str:
    """Tabulate the figures on record, and say whether they were measured again."""
    if report.history is None or report.history.result is None:
        return ""
    found = report.history.result.record["figures"]
    names = shown_of(found, "test_{}")
    again = any(check.name == "final" and check.passed for check in report.checks)
    note = ("Measured again from the network and the data for this page, and equal." if again else
            "The figures on record. They were NOT measured again.")
    rows = [(what, *(figure_text(name, number_or_none(found.get(layout.format(name)))) for name in names))
            for layout, what in SPLITS]
    head = "data and network", *(FIGURE_NAMES[name] for name in names)
    return f"<p>{note}</p>" + html_table(head, rows, "parts numbers")


def machines(report: Report) -> str:
    """Compare machine and versions on record with those of this audit."""
    if report.history is None:
        return ""
    found = report.history.begin.record["environment"]
    packages = found.get("packages")
    recorded = {**found, **(packages if isinstance(packages, dict) else {})}
    here = {**report.here, **report.here["packages"]}
    rows = [(name, _in_words(recorded.get(name)), _in_words(value),
             "" if recorded.get(name) == value else "differs") for name, value in here.items() if name != "packages"]
    note = ("Machines with equal fingerprints compute the same bits. What is on record is the owner's word; a replay "
            "gives the recorded bits or it does not.")
    return f'<p class="note">{note}</p>' + html_table(("", "on record", "here", ""), rows, "parts words")


def _verdict(kind: str, line: str, more: str) -> str:
    return f'<p class="verdict {kind}">{markup(line)}' + (f"<span>{markup(more)}</span>" if more else "") + "</p>"


def _first_line(check: Check) -> str:
    return f"{check.name}: {(check.details.splitlines() or [''])[0]}"


def _what_is_shown(report: Report) -> str:
    if report.is_whole:
        return ""
    if report.history is None:
        return "No line of the ledger can be read."
    return (f"This page shows what the {report.history.last.number:,} lines before that place say. The last of them "
            "may be the changed one. Nothing after it can be believed.")


def _training_seconds(history: History) -> float | None:
    """The seconds in result.json, which a foreign run may fill with anything."""
    try:
        result = json.loads(read_file(history.run / RESULT_FILE, RESULT_BYTES))
    except (TinyqError, ValueError, RecursionError):
        return None
    return number_or_none(result.get("seconds")) if isinstance(result, dict) else None


def _in_words(value: object) -> str:
    return "-" if value is None else str(value)[:SHORT]
