"""Tables of the page: occupancy of the levels and terms of the update, at the last step that has them."""
from tinyq.audit.report.findings import Report
from tinyq.audit.report.sections import html_table
from tinyq.audit.step.update_terms import TERMS


def occupancy(report: Report) -> str:
    """Tabulate the share of each tensor's weights nearest to each level."""
    constrained = [point for point in report.points if point.occupancy]
    if not constrained:
        return ""
    last = constrained[-1]
    tables: dict[tuple[float, ...], list[tuple[str, ...]]] = {}         # the rows of each set of levels
    for name, shares in last.occupancy.items():
        tables.setdefault(tuple(shares), []).append((name, *(f"{share:.1%}" for share in shares.values())))
    return f"<p>After step {last.step}.</p>" + "".join(
        html_table(("tensor", *(f"{level:g}" for level in levels)), rows, "parts numbers")
        for levels, rows in tables.items())


def update_terms(report: Report) -> str:
    """Tabulate the norms of the terms of each tensor's update."""
    updated = [point for point in report.points if point.terms]
    if not updated:
        return ""
    last = updated[-1]
    used = [term for term in TERMS if any(term in norms for norms in last.terms.values())]
    rows = [(name, *(f"{norms[term]:.3g}" if term in norms else "" for term in used))
            for name, norms in last.terms.items()]
    return (f'<p>Norms at step {last.step}.</p><p class="note">true: the gradient at the effective weights; surrogate: '
            "the straight-through gradient of the latent weights; step: the sum of all terms, equal bit for bit.</p>"
            + html_table(("tensor", *used), rows, "parts numbers"))
