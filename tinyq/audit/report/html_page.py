"""Write the report as one self-contained HTML page: it loads nothing, and is readable with scripts off."""
from tinyq.audit.report.charts import epoch_curves, series, tensor_by_tensor
from tinyq.audit.report.findings import Report
from tinyq.audit.report.headline import checks, figures, machines, outline, verdict
from tinyq.audit.report.heat_map import commands, heat_map
from tinyq.audit.report.page_tables import occupancy, update_terms
from tinyq.audit.report.sections import Section
from tinyq.audit.report.style import POLICY, SCRIPT, STYLE
from tinyq.output.quoting import markup


def page(report: Report) -> str:
    """Return the page's HTML."""
    sections = [section for section in (
        Section("figures", "Figures", figures(report)),
        Section("curves", "Loss and figures over the epochs", epoch_curves(report)),
        Section("checks", "Checks", checks(report)),
        Section("machines", "Machine and versions", machines(report)),
        Section("updates", "Update / weight, per tensor and step", heat_map(report)),
        Section("series", "Series", series(report)),
        Section("tensors", "One tensor at a time", tensor_by_tensor(report)),
        Section("levels", "Occupancy of the levels", occupancy(report)),
        Section("terms", "Terms of the update", update_terms(report)),
        Section("commands", "Commands that replay these steps", commands(report)),
    ) if section.body]
    contents = "".join(f'<li><a href="#{section.name}">{markup(section.title)}</a></li>' for section in sections)
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            f'<link rel="icon" href="data:,"><title>Audit of {markup(report.run)}</title><style>{STYLE}</style></head>'
            f"<body>\n<h1>Audit of {markup(report.run)}</h1>\n{verdict(report)}\n{outline(report)}\n"
            f'<nav aria-label="Contents"><ul>{contents}</ul></nav>\n'
            + "\n".join(map(str, sections))
            + '\n<p class="note">tinyq/audit/README.md says what each verdict proves and what it does not. The owner '
            "of a run can write a whole new chain: compare the head with a copy kept elsewhere.</p>"
            f"\n<script>{SCRIPT}</script></body></html>\n")
