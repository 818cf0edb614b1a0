"""Heat map of the page: one row per tensor and one column per step, darker the more the weight moved."""
import math
import shlex

from tinyq.audit.report.charts import tensors_of
from tinyq.audit.report.findings import Report
from tinyq.audit.report.sections import quoted_lines
from tinyq.audit.report.series import Point
from tinyq.output.quoting import markup

MAX_TENSORS = 64                        # rows, in a network that has more
SWATCHES = 7                            # of the scale


def heat_map(report: Report) -> str:
    """Draw norm of the update / norm of the weight, with its scale."""
    names = tensors_of(report, "ratio")
    values = [value for point in report.points for value in point.ratio.values() if value]
    if not names:
        return ""
    low, high = (math.log10(min(values)), math.log10(max(values))) if values else (0.0, 1.0)
    head = "".join(f'<th colspan="{len(four)}">{four[0].step}</th>'
                   for four in (report.points[i:i + 4] for i in range(0, len(report.points), 4)))
    rows = "".join(f'<tr><th scope="row">{markup(name)}</th>'
                   + "".join(_cell(report, point, name, low, high) for point in report.points) + "</tr>"
                   for name in names[:MAX_TENSORS])
    more = f" The first {MAX_TENSORS} of {len(names)} tensors are shown." if len(names) > MAX_TENSORS else ""
    return (f'<p class="note">The scale is logarithmic; a cell is empty where the weight was 0.{more} The tooltip of a '
            "cell has its values and the command that replays it; a click shows the command below.</p>"
            f'{_scale(low, high)}<div class="scroll"><table class="cells"><tr><th scope="row">step</th>{head}</tr>'
            f'{rows}</table></div><p class="clicked"><code id="command"></code></p>')


def commands(report: Report) -> str:
    """List the commands that replay the steps of the page."""
    if not report.points:
        return ""
    return f"<pre>{quoted_lines(_command(report, point) for point in report.points)}</pre>"


def _scale(low: float, high: float) -> str:
    places = [i / (SWATCHES - 1) for i in range(SWATCHES)]
    swatches = "".join(f'<i style="background:{_colour(place)}" title="{10 ** (low + place * (high - low)):.2g}"></i>'
                       for place in places)
    return f'<p class="scale"><span>{10 ** low:.2g}</span>{swatches}<span>{10 ** high:.2g}</span></p>'


def _colour(place: float) -> str:
    return f"hsl(212,62%,{95 - 65 * place:.0f}%)"


def _cell(report: Report, point: Point, name: str, low: float, high: float) -> str:
    if name not in point.ratio:
        return "<td></td>"
    value, style = point.ratio[name], ""
    if value is not None:
        style = f' style="background:{_colour((math.log10(value) - low) / max(high - low, 1e-9) if value else 0.0)}"'
    share = "the weight was 0" if value is None else f"update / weight {value:.3g}"
    title = [f"{name}, step {point.step}", f"{share}, gradient {point.gradient[name]:.3g}", _command(report, point)]
    return f'<td{style} title="{quoted_lines(title)}"></td>'


def _command(report: Report, point: Point) -> str:
    return f"python -m tinyq.audit replay {shlex.quote(report.run)} --step {point.step} --dump step-{point.step}.h5"
