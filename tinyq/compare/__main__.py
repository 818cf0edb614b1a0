"""`python -m tinyq.compare`: compare the settings, figures and curves of runs."""
import os
import sys

from tinyq.command_line import Parser, naming_flags
from tinyq.errors import exit_code_of
from tinyq.output.help_format import HelpFormatter
from tinyq.output.terminal import output_width, say, say_json

EXAMPLES = """examples:
  python -m tinyq.compare runs/*                                    tables of settings and figures
  python -m tinyq.compare runs/a runs/b --svg curves.svg            their curves in one picture too
  python -m tinyq.compare runs/* --csv runs.csv --markdown runs.md  the tables as files
  python -m tinyq.audit compare runs/a runs/b                       the first step at which two runs part"""


def compare(argv: list[str]) -> None:
    """Print the tables, or JSON, and write the files that were asked for."""
    arguments = _parser().parse(argv)
    from tinyq.compare.comparison_tables import as_csv, as_json, as_lines, as_markdown, tables_of
    from tinyq.compare.groups import groups_of
    from tinyq.compare.overlay import overlay
    from tinyq.compare.run_record import read_runs
    from tinyq.files.atomic import check_target, write_text

    files = {"svg": arguments.svg, "csv": arguments.csv, "markdown": arguments.markdown}
    for path in filter(None, files.values()):
        check_target(path)
    groups = groups_of(read_runs(arguments.runs))
    tables = tables_of(groups)
    if arguments.svg:
        write_text(arguments.svg, str(overlay(groups)))
    if arguments.csv:
        write_text(arguments.csv, as_csv(groups))
    if arguments.markdown:
        write_text(arguments.markdown, as_markdown(tables, _address(arguments.svg, arguments.markdown)))
    if arguments.json:
        say_json(as_json(groups))
        return
    say(*as_lines(tables, output_width()), *(f"written: {path}" for path in files.values() if path))
    if sum(len(group.runs) for group in groups) > 1:
        say("two of them step by step: python -m tinyq.audit compare A B finds the first step at which they part")


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return exit_code_of(naming_flags(compare, _parser), sys.argv[1:] if argv is None else argv)


def _address(picture: str | None, page: str) -> str | None:
    """Return the picture's path as seen from the page, as an address."""
    from urllib.parse import quote

    return None if picture is None else quote(os.path.relpath(picture, os.path.dirname(page) or "."))


def _parser() -> Parser:
    parser = Parser(prog="python -m tinyq.compare", description=(__doc__ or "").partition(": ")[2], epilog=EXAMPLES,
                    allow_abbrev=False, formatter_class=HelpFormatter)
    parser.add_argument("runs", metavar="RUN", nargs="+", help="run folders, finished or not; a folder of --seeds "
                        "stands for its runs")
    parser.add_argument("--svg", metavar="FILE.svg", help="draw the curves of all runs into one picture")
    parser.add_argument("--csv", metavar="FILE.csv", help="write a row for each run")
    parser.add_argument("--markdown", metavar="FILE.md", help="write the tables as Markdown")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the tables")
    return parser


if __name__ == "__main__":
    sys.exit(main())
