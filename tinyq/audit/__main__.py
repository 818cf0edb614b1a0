"""`python -m tinyq.audit`: a run held against its ledger."""
import argparse
import sys
from pathlib import Path

from tinyq.errors import AuditMismatch, BadInput, Busy, UsageError, did_you_mean, exit_code_of, tell
from tinyq.run.settings.flags import Parser

EXAMPLES = """examples:
  python -m tinyq.audit verify runs/digits_cnn-digits-cbp-001      chain, rules, checkpoints, model: are they one?
  python -m tinyq.audit replay runs/digits_cnn-digits-cbp-001 --random 20
  python -m tinyq.audit check runs/digits_cnn-digits-cbp-001 --step 1000
  python -m tinyq.audit report runs/digits_cnn-digits-cbp-001 -o audit.html
  python -m tinyq.audit show runs/digits_cnn-digits-cbp-001 --record epoch
  python -m tinyq.audit head runs/digits_cnn-digits-cbp-001        the SHA-256 that stands for every record

commands:
  """


def audit(argv: list[str]) -> None:
    """Carry out the command named first."""
    if not argv or argv[0].startswith("-"):
        _parser("COMMAND").parse_known_and_refuse_others(argv)
        raise UsageError(f"tinyq.audit: give a command; {did_you_mean('', COMMANDS)}")
    if argv[0] not in COMMANDS:
        raise UsageError(f"tinyq.audit {argv[0]}: no such command; {did_you_mean(argv[0], COMMANDS)}")
    COMMANDS[argv[0]][0](argv[1:])


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return exit_code_of(audit, sys.argv[1:] if argv is None else argv)


def _verify(argv):
    parser = _parser("verify")
    parser.add_argument("--head", metavar="SHA256", help="a head that was kept elsewhere: this ledger must hold it")
    arguments = parser.parse_known_and_refuse_others(argv)
    from tinyq.audit.verification.verify import verify
    from tinyq.files.lock import is_locked

    try:
        found = verify(arguments.run, arguments.head)
    except (AuditMismatch, BadInput) as error:
        if is_locked(arguments.run):
            raise Busy(f"{arguments.run}: a run is working in this folder; verify it when it has stopped") from error
        raise
    print("\n".join(found))
    print("verified: the run folder is what its ledger says")


def _head(argv):
    arguments = _parser("head").parse_known_and_refuse_others(argv)
    from tinyq.audit.verification.verify import open_ledger

    print(open_ledger(arguments.run)[-1].head)


def _show(argv):
    parser = _parser("show")
    parser.add_argument("--record", metavar="KIND", help="only phase, step, epoch, file, resume, exception, begin, end")
    parser.add_argument("--phase", metavar="NAME", help="only of this phase")
    parser.add_argument("--epoch", type=int, metavar="N", help="only of this epoch, counted from 0")
    parser.add_argument("--from", dest="first", type=int, metavar="STEP", help="from this step on")
    parser.add_argument("--to", dest="last", type=int, metavar="STEP", help="up to this step")
    parser.add_argument("--step", type=int, metavar="STEP", help="only of this step")
    parser.add_argument("--json", action="store_true", help="print the records whole")
    arguments = parser.parse_known_and_refuse_others(argv)
    from tinyq.audit.report import show
    from tinyq.audit.verification.verify import FIELDS, open_ledger

    if arguments.record is not None and arguments.record not in FIELDS:
        raise UsageError(f"--record {arguments.record}: {did_you_mean(arguments.record, FIELDS)}")
    first, last = (arguments.first, arguments.last) if arguments.step is None else (arguments.step, arguments.step)
    wanted = show.Filter(arguments.record, arguments.phase, arguments.epoch, first, last)
    lines = [line for line in open_ledger(arguments.run) if wanted.wants(line.record)]
    if lines:
        print((show.as_json if arguments.json else show.as_table)(lines))


def _replay(argv):
    parser = _parser("replay")
    parser.add_argument("--step", type=int, metavar="N", help="this step")
    parser.add_argument("--from", dest="first", type=int, metavar="A", help="the steps from this one")
    parser.add_argument("--to", dest="last", type=int, metavar="B", help="up to this one")
    parser.add_argument("--random", type=int, metavar="K", help="so many steps, drawn anew each time")
    parser.add_argument("--dump", metavar="FILE.h5", help="write every activation, gradient and part of the update of "
                        "the one step that is named")
    _machine_flags(parser)
    arguments = parser.parse_known_and_refuse_others(argv)
    if arguments.dump and arguments.step is None:
        raise UsageError("--dump: name one step with --step N")
    from tinyq.audit.replay.replay import replay
    from tinyq.audit.step import dump

    source = _source(arguments)
    examine = (lambda captured, _: dump.write(arguments.dump, captured)) if arguments.dump else None
    done = replay(source, _steps_wanted(arguments, source.lines()), examine)
    if arguments.dump:
        print(f"written: {arguments.dump}")
    print(f"steps {', '.join(map(str, done.wanted[:20]))}{' ...' if len(done.wanted) > 20 else ''}")
    print(f"replayed: {done.compared} steps, those on the way included, and {done.records} records of phases and "
          "epochs agree with the ledger in every digest")


def _check(argv):
    parser = _parser("check")
    parser.add_argument("--step", type=int, metavar="N", help="this step")
    parser.add_argument("--random", type=int, metavar="K", help="so many steps, drawn anew each time")
    _machine_flags(parser)
    arguments = parser.parse_known_and_refuse_others(argv)
    arguments.first = arguments.last = None
    from tinyq.audit.replay.replay import replay
    from tinyq.audit.step.step_check import check
    from tinyq.audit.step.verdict import as_text, refuse_faults

    def examine(captured, streams):
        found = check(captured, streams)
        print(as_text(found), flush=True)
        refuse_faults(found, arguments.run, captured)

    source = _source(arguments)
    replay(source, _steps_wanted(arguments, source.lines()), examine)


def _report(argv):
    parser = _parser("report")
    parser.add_argument("-o", "--output", default="audit.html", metavar="FILE.html", help="the page (audit.html)")
    parser.add_argument("--points", type=int, default=32, metavar="N", help="steps whose figures are shown (32)")
    parser.add_argument("--checks", type=int, default=2, metavar="N", help="steps that are checked in float64 (2)")
    _machine_flags(parser)
    arguments = parser.parse_known_and_refuse_others(argv)
    if arguments.points < 2 or arguments.checks < 0:
        raise UsageError("report: --points must be at least 2, --checks at least 0")
    from tinyq.audit.report.findings import report_of
    from tinyq.audit.report.html_page import page
    from tinyq.files.atomic import write_text

    found = report_of(_source(arguments), arguments.points, arguments.checks)
    text = page(found)
    write_text(arguments.output, text)
    print(f"written: {arguments.output}, {Path(arguments.output).stat().st_size / 1024:,.0f} KiB")
    for verdict in found.verdicts:
        print(f"{verdict.what}: {'holds' if verdict.holds else 'FAILS'}: {_in_a_line(verdict)}")
    failed = [verdict for verdict in found.verdicts if not verdict.holds]
    if failed:
        raise AuditMismatch(f"{arguments.run}: {failed[0].what} fails: {_in_a_line(failed[0])}")


def _in_a_line(verdict):
    return "; ".join(verdict.found.splitlines())


def _steps_wanted(arguments, lines):
    from tinyq.audit.replay.replay import random_steps, steps_of

    if arguments.step is not None:
        return [arguments.step]
    if arguments.random is not None:
        if arguments.random < 1:
            raise UsageError(f"--random {arguments.random}: must be at least 1")
        return random_steps(lines, arguments.random)
    if arguments.first is None and arguments.last is None:
        raise UsageError("name the steps: --step N or --random K; replay takes --from A --to B too")
    known = steps_of(lines) or [0]
    first = known[0] if arguments.first is None else arguments.first
    last = known[-1] if arguments.last is None else arguments.last
    return list(range(first, last + 1))


def _machine_flags(parser):
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the kernels; the bits do not depend on it")
    parser.add_argument("--data-path", metavar="PATH", help="where the run's data lie now, if they were moved")
    parser.add_argument("--model", metavar="FILE.py:FUNCTION", help="where a network of your own lies now")


def _source(arguments):
    from pathlib import Path

    from tinyq.audit.ledger.environment import differences
    from tinyq.audit.replay.rerun import Source

    given = {"threads": arguments.threads, "data_path": arguments.data_path, "model": arguments.model}
    source = Source(Path(arguments.run), {key: value for key, value in given.items() if value is not None})
    for difference in differences(source.lines()[0].record["environment"]):
        tell(f"tinyq: note: {difference}")
    return source


COMMANDS = {
    "verify": (_verify, "chain, digests, checkpoints, rules of the method at every step, model"),
    "replay": (_replay, "steps done again with the real data, compared to the bit"),
    "check": (_check, "a step in float64, with error bounds, differences, and its update taken apart"),
    "report": (_report, "verdicts and series of every tensor as one HTML page"),
    "show": (_show, "the records, filtered"),
    "head": (_head, "the SHA-256 that stands for every record"),
}


def _parser(command):
    listed = "\n  ".join(f"{name:<10}{text}" for name, (_, text) in COMMANDS.items())
    about = COMMANDS[command][1] if command in COMMANDS else __doc__.partition(": ")[2]
    parser = Parser(prog=f"python -m tinyq.audit {command}", description=about, epilog=EXAMPLES + listed,
                    allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
    if command in COMMANDS:
        parser.add_argument("run", metavar="RUN", help="the folder of a run")
    return parser


if __name__ == "__main__":
    sys.exit(main())
