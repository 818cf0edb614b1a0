"""Write the report as one self-contained HTML page: it loads nothing, and is readable with scripts off."""
import base64
import hashlib
import math
import shlex

from tinyq.audit.report.findings import Report
from tinyq.audit.step.update_terms import TERMS
from tinyq.output.quoting import markup
from tinyq.run.figures.svg import COLOURS, Axes, Picture

WIDTH, HEIGHT = 1040, 240
SHORT = 16                             # characters of a digest
MAX_TENSORS = 64                       # rows of the tables, in a network that has more
SERIES = (("gradient", "norm of the gradient", True), ("ratio", "norm of the update / norm of the weight", True),
          ("flips", "weights that changed their level in the step", False),
          ("distance", "mean distance to the nearest level, in scales", False),
          ("cosine", "cosine of true and surrogate gradient", False),
          ("descent", "cosine of the update and the descent of the true gradient", False))
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1100px; padding: 1.5rem; color: #1c2430;
       background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem; border-bottom: 1px solid #d8dde4 }
table { border-collapse: collapse } td, th { padding: .25rem .6rem; text-align: left; vertical-align: top }
.checks td, .checks th, .parts td, .parts th { border-bottom: 1px solid #e4e8ee }
.parts td, .parts th { text-align: right; font-variant-numeric: tabular-nums }
.parts td:first-child, .parts th:first-child { text-align: left }
.checks td:first-child { white-space: nowrap }
.passed { color: #17703c; font-weight: 600 } .failed { color: #b3261e; font-weight: 600 }
.cells td { padding: 0; width: 20px; height: 18px; border: 1px solid #fff; cursor: pointer }
.cells th { font-weight: 400; font-size: 12px; padding: 0 .5rem 0 0; white-space: nowrap }
.cells th[colspan] { max-width: 0; padding: 0 }
svg { display: block; max-width: 100%; height: auto }
.scroll { overflow-x: auto } code, pre { font: 13px ui-monospace, monospace; background: #f3f5f8 }
pre { padding: .7rem; overflow-x: auto } .note { color: #5b6675; font-size: 13px }
.key { margin-top: 0 } .key span { display: inline-block; margin-right: 1rem }
.key i { display: inline-block; width: 12px; height: 12px; margin-right: .3rem; vertical-align: -1px }
"""
SCRIPT = """
document.querySelectorAll('.cells td').forEach(function (cell) {
  cell.addEventListener('click', function () {
    document.getElementById('command').textContent = cell.title.split('\\n').pop();
  });
});
"""

# The browser runs this page's script alone, and loads nothing.
SCRIPT_SHA256 = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
POLICY = (f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{SCRIPT_SHA256}'; "
          "base-uri 'none'; form-action 'none'")


def page(report: Report) -> str:
    """Return the page's HTML."""
    body = [f"<h1>Audit of {markup(report.run)}</h1>", _summary(report), _checks(report),
            _cells(report), *_series(report), _occupancy(report), _parts(report), _commands(report),
            '<p class="note">tinyq/audit/README.md says what a verified ledger proves and what it does not. '
            "The owner of a run can write a whole new chain: compare the head with a copy kept elsewhere.</p>"]
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            f'<link rel="icon" href="data:,"><title>Audit of {markup(report.run)}</title><style>{STYLE}</style></head>'
            f"<body>\n{chr(10).join(body)}\n<script>{SCRIPT}</script></body></html>\n")


def _summary(report):
    begin, history = report.history.begin.record, report.history
    settings, environment = begin["settings"], begin["environment"]
    model, data, method, levels, seed = (markup(settings.get(name)) for name in (
        "model", "data", "method", "levels", "seed"))
    version, sources, fingerprint = (markup(str(environment.get(name))[:SHORT]) for name in (
        "tinyq", "source_sha256", "fingerprint"))
    return (f"<p>{model} on {data}, method {method}, levels {levels}, seed {seed}; {history.steps:,} steps, "
            f"{history.last.number:,} records.<br>Head of the chain: <code>{history.last.head}</code><br>tinyq "
            f"{version}, sources <code>{sources}</code>, numeric fingerprint <code>{fingerprint}</code></p>")


def _lines(texts):
    return "\n".join(map(markup, texts))


def _checks(report):
    rows = "".join(
        f'<tr><td>{markup(c.name)}</td><td class="{"passed" if c.passed else "failed"}">'
        f'{"passed" if c.passed else "FAILED"}</td><td>{"<br>".join(map(markup, c.details.splitlines()))}</td></tr>'
        for c in report.checks)
    return ('<h2>Checks</h2><table class="checks"><thead><tr><th>check</th><th>result</th><th>details</th></tr>'
            f"</thead><tbody>{rows}</tbody></table>")


def _tensors(report, metric):
    """Return the names of tensors in the order of the network."""
    return list(dict.fromkeys(name for point in report.points for name in getattr(point, metric)))


def _cells(report):
    """Draw one row per tensor and one column per step, darker the more the weight moved."""
    names = _tensors(report, "ratio")[:MAX_TENSORS]
    if not names:
        return ""
    values = [v for point in report.points for v in point.ratio.values() if v]
    low, high = (math.log10(min(values)), math.log10(max(values))) if values else (0.0, 1.0)
    head = "".join(f'<th colspan="{len(four)}">{four[0].step}</th>'
                   for four in (report.points[i:i + 4] for i in range(0, len(report.points), 4)))
    rows = ""
    for name in names:
        cells = "".join(_cell(report, point, name, low, high) for point in report.points)
        rows += f"<tr><th>{markup(name)}</th>{cells}</tr>"
    return ("<h2>Update / weight, per tensor and step</h2>"
            '<p class="note">Darker means larger, on a logarithmic scale; a cell is empty where the weight was 0. The '
            "tooltip of a cell has its values and the command that replays it; a click shows the command below.</p>"
            f'<div class="scroll"><table class="cells"><tr><th>step</th>{head}</tr>{rows}</table></div>'
            '<p><code id="command"></code></p>')


def _cell(report, point, name, low, high):
    if name not in point.ratio:
        return "<td></td>"
    value, style = point.ratio[name], ""
    if value is not None:
        place = (math.log10(value) - low) / max(high - low, 1e-9) if value else 0.0
        style = f' style="background:hsl(212,62%,{95 - 65 * place:.0f}%)"'
    share = "the weight was 0" if value is None else f"update / weight {value:.3g}"
    title = [f"{name}, step {point.step}", f"{share}, gradient {point.gradient[name]:.3g}", _command(report, point)]
    return f'<td{style} title="{_lines(title)}"></td>'


def _command(report, point):
    return f"python -m tinyq.audit replay {shlex.quote(report.run)} --step {point.step} --dump step-{point.step}.h5"


def _series(report):
    constrained = set(_tensors(report, "distance"))
    for metric, label, log in SERIES:
        names = [name for name in _tensors(report, metric)
                 if any(getattr(point, metric).get(name) is not None for point in report.points)]
        if names:
            shown = sorted(names, key=lambda name: name not in constrained)[:len(COLOURS)]
            key = "".join(f'<span><i style="background:{c}"></i>{markup(n)}</span>'
                          for n, c in zip(shown, COLOURS, strict=False))
            more = f" ({len(shown)} of {len(names)} tensors, constrained ones first)" if len(names) > len(shown) else ""
            picture = _picture(report, metric, shown, log)
            yield f'<h2>{label[0].upper()}{label[1:]}</h2>{picture}<p class="key">{key}{more}</p>'


def _picture(report, metric, names, log):
    points = [(p.step, {n: v for n in names if (v := getattr(p, metric).get(n)) is not None}) for p in report.points]
    values = [v for _, found in points for v in found.values() if v > 0 or not log]
    if not values:
        return "<p>0 throughout</p>"
    picture = Picture(WIDTH, HEIGHT)
    low = min(values) if log else min(0.0, *values)
    axes = Axes(picture, 60, 20, WIDTH - 80, HEIGHT - 65, (points[0][0], points[-1][0]), (low, max(values)), log)
    axes.ticks("step")
    for name, colour in zip(names, COLOURS, strict=False):
        curve = [(axes.x(step), axes.y(found[name])) for step, found in points if name in found]
        if len(curve) > 1:
            picture.curve(curve, colour)
        for x, y in curve:
            picture.dot(x, y, colour)
    return str(picture)


def _occupancy(report):
    """Tabulate the share of each tensor's weights nearest to each level, at the last point."""
    constrained = [point for point in report.points if point.occupancy]
    if not constrained:
        return ""
    last = constrained[-1]
    head = "".join(f"<th>{level:g}</th>" for level in report.levels)
    rows = "".join(f"<tr><td>{markup(name)}</td>{''.join(f'<td>{share:.1%}</td>' for share in shares)}</tr>"
                   for name, shares in list(last.occupancy.items())[:MAX_TENSORS])
    return (f'<h2>Occupancy of the levels, step {last.step}</h2><table class="parts"><tr><th>tensor</th>{head}</tr>'
            f"{rows}</table>")


def _parts(report):
    updated = [point for point in report.points if point.terms]
    if not updated:
        return ""
    last = updated[-1]
    used = [part for part in TERMS if any(part in norms for norms in last.terms.values())]
    rows = "".join(
        f"<tr><td>{markup(name)}</td>{''.join(f'<td>{norms[p]:.3g}</td>' if p in norms else '<td></td>' for p in used)}"
        "</tr>" for name, norms in list(last.terms.items())[:MAX_TENSORS])
    head = "".join(f"<th>{part}</th>" for part in used)
    return (f'<h2>Terms of the update, step {last.step}: norms</h2><p class="note">true: the gradient at the '
            "effective weights; surrogate: the straight-through gradient of the latent weights; step: the sum of all "
            f'terms, equal bit for bit.</p><table class="parts"><tr><th>tensor</th>{head}</tr>{rows}</table>')


def _commands(report):
    commands = [_command(report, point) for point in report.points]
    return f"<h2>Commands that replay these steps</h2><pre>{_lines(commands)}</pre>"
