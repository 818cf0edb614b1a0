"""`python -m tinyq.audit`: check a run against its ledger, replay its steps, report what was found."""
import sys
from pathlib import Path

from tinyq.audit.audit_flags import add_machine_flags, add_trust_flag, any_command_parser, command_parser
from tinyq.errors import AuditMismatch, BadInput, Busy, UsageError, did_you_mean, exit_code_of
from tinyq.files.atomic import check_target
from tinyq.output.terminal import say, say_folded, say_json, tell


def audit(argv: list[str]) -> None:
    """Run the command that the first argument names."""
    if not argv or argv[0].startswith("-"):
        any_command_parser((__doc__ or "").partition(": ")[2]).parse(argv)
        raise UsageError(f"tinyq.audit: give a command; {did_you_mean('', COMMANDS)}")
    if argv[0] not in COMMANDS:
        raise UsageError(f"tinyq.audit {argv[0]}: no such command; {did_you_mean(argv[0], COMMANDS)}")
    COMMANDS[argv[0]](argv[1:])


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    return exit_code_of(audit, sys.argv[1:] if argv is None else argv)


def _verify(argv):
    parser = command_parser("verify")
    parser.add_argument("--head", metavar="SHA256",
                        help="a head that was kept elsewhere; the ledger must contain it")
    add_trust_flag(parser)
    arguments = parser.parse(argv)
    from tinyq.audit.verification.verify import verify
    from tinyq.files.lock import is_locked

    head = arguments.head and arguments.head.lower()
    if head and (len(head) != 64 or not set(head) <= set("0123456789abcdef")):
        raise UsageError(f"--head {arguments.head}: must be 64 hexadecimal digits, as training prints them at its end")
    try:
        found = verify(arguments.run, head, arguments.trust)
    except (AuditMismatch, BadInput) as error:
        if is_locked(arguments.run):
            raise Busy(f"{arguments.run}: a run is working in this folder; verify it when it has stopped") from error
        raise
    say_folded(*found, "verified: the run folder agrees with its ledger")


def _head(argv):
    arguments = command_parser("head").parse(argv)
    from tinyq.audit.ledger.history import read_history

    say(read_history(arguments.run).last.head)


def _show(argv):
    parser = command_parser("show")
    parser.add_argument("--record", metavar="KIND",
                        help="only this kind, such as step, epoch or checkpoint")
    parser.add_argument("--phase", metavar="NAME", help="only this phase")
    parser.add_argument("--epoch", type=int, metavar="N", help="only this epoch, counted from 1 through all phases")
    parser.add_argument("--step", type=int, metavar="N", help="only this step")
    parser.add_argument("--from", dest="first", type=int, metavar="A", help="only steps from A")
    parser.add_argument("--to", dest="last", type=int, metavar="B", help="only steps up to B")
    parser.add_argument("--json", action="store_true", help="print whole records instead of a table")
    arguments = parser.parse(argv)
    from tinyq.audit.ledger.records import FIELDS, records_of
    from tinyq.audit.report import show

    if arguments.record is not None and arguments.record not in FIELDS:
        raise UsageError(f"--record {arguments.record}: {did_you_mean(arguments.record, FIELDS)}")
    first, last = (arguments.first, arguments.last) if arguments.step is None else (arguments.step, arguments.step)
    wanted = show.Filter(arguments.record, arguments.phase, arguments.epoch, first, last)
    found, broken = show.find(records_of(arguments.run), wanted)
    if arguments.json:
        for line in found:
            say_json(line.record, indent=None)
    elif found:
        say(*show.as_table(found))
    if broken:
        raise broken
    if not found:
        raise UsageError(f"{arguments.run}: no record is of {wanted}; show without these flags prints them all")


def _replay(argv):
    parser = command_parser("replay")
    parser.add_argument("--all", action="store_true",
                        help="replay every step, and compare every checkpoint on the way")
    parser.add_argument("--final", action="store_true", help="rebuild the finished network and measure it again")
    parser.add_argument("--step", type=int, metavar="N", help="replay this step")
    parser.add_argument("--from", dest="first", type=int, metavar="A", help="replay the steps from A")
    parser.add_argument("--to", dest="last", type=int, metavar="B", help="replay the steps up to B")
    parser.add_argument("--random", type=int, metavar="K", help="replay K random steps")
    parser.add_argument("--jobs", type=int, default=1, metavar="N",
                        help="with --all: replay N parts of the run at a time, each in a process (default: 1)")
    parser.add_argument("--dump", metavar="FILE.h5",
                        help="write every activation, gradient and update term of the step named with --step")
    add_machine_flags(parser)
    arguments = parser.parse(argv)
    if arguments.dump and arguments.step is None:
        raise UsageError("--dump: name one step with --step N")
    given = [name for name, value in {
        "--all": arguments.all or None, "--step": arguments.step, "--random": arguments.random,
        "--from/--to": arguments.first if arguments.last is None else arguments.last}.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)}: name the steps in one way")
    if arguments.jobs < 1:
        raise UsageError(f"--jobs {arguments.jobs}: must be at least 1")
    if arguments.dump:
        check_target(arguments.dump)
    source = _source(arguments)
    if arguments.all:
        from tinyq.audit.replay.replay_all import replay_all

        _print_replayed(source, replay_all(source, arguments.jobs))
    elif given or not arguments.final:
        _print_replayed(source, _replay_steps(source, arguments))
    if arguments.final:
        from tinyq.audit.replay.final import replay_final

        say_folded(*replay_final(source))
    say("replayed: everything that was asked for agrees with the ledger")


def _replay_steps(source, arguments):
    from tinyq.audit.replay.replay import replay
    from tinyq.audit.step import dump

    examine = (lambda captured, _: dump.write(arguments.dump, captured)) if arguments.dump else None
    done = replay(source, _steps_wanted(arguments, source), examine)
    if arguments.dump:
        say(f"written: {arguments.dump}")
    return done


def _print_replayed(source, done):
    say_folded(f"steps: {done.wanted:,} of {source.history.steps:,} were asked for and compared, every digest equal",
               f"on the way: {done.summary}, all equal")


def _check(argv):
    parser = command_parser("check")
    parser.add_argument("--step", type=int, metavar="N", help="check this step")
    parser.add_argument("--random", type=int, metavar="K", help="check K random steps")
    add_machine_flags(parser)
    arguments = parser.parse(argv)
    arguments.first = arguments.last = None
    from tinyq.audit.replay.replay import replay
    from tinyq.audit.step.check_result import as_lines, raise_faults
    from tinyq.audit.step.step_check import check

    def examine(captured, streams):
        found = check(captured, streams)
        say(*as_lines(found))
        raise_faults(found, arguments.run, captured)

    source = _source(arguments)
    replay(source, _steps_wanted(arguments, source), examine)


def _compare(argv):
    parser = command_parser("compare", ("run", "A", "the folder of a run"), ("other", "B", "the folder of another run"))
    parser.add_argument("--replay", action="store_true",
                        help="repeat the step of A at which the runs part, and name the operation")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_machine_flags(parser)
    arguments = parser.parse(argv)
    from tinyq.audit.compare.named_operation import named_operation
    from tinyq.audit.compare.side_by_side import as_json, as_lines, compare

    found = compare(arguments.run, arguments.other)
    named = named_operation(_source(arguments), found) if arguments.replay else ""
    if arguments.json:
        say_json({**as_json(found), "operation": named})
    else:
        say_folded(*as_lines(found), *([f"  operation: {named}"] if named else []))


def _explain(argv):
    parser = command_parser("explain")
    parser.add_argument("--step", type=int, required=True, metavar="N", help="explain this step")
    parser.add_argument("--weight", required=True, metavar="NAME[I,J]", help="one weight, such as fc1.weight[0,3]")
    add_machine_flags(parser)
    arguments = parser.parse(argv)
    from tinyq.audit.explain.explanation import explain
    from tinyq.audit.explain.one_weight import weight_of
    from tinyq.audit.replay.replay import check_recorded, replay

    source = _source(arguments)
    check_recorded(source, [arguments.step])
    weight = weight_of(arguments.weight, source.history.phases)
    replay(source, [arguments.step], lambda captured, _: say(*explain(captured, weight)))


def _report(argv):
    parser = command_parser("report")
    parser.add_argument("-o", "--output", default="audit.html", metavar="FILE.html",
                        help="file to write (default: audit.html)")
    parser.add_argument("--points", type=int, default=32, metavar="N",
                        help="number of steps to plot, at least 2 (default: 32)")
    parser.add_argument("--checks", type=int, default=2, metavar="N",
                        help="number of steps to check in float64 (default: 2)")
    add_machine_flags(parser)
    arguments = parser.parse(argv)
    if arguments.points < 2 or arguments.checks < 0:
        raise UsageError("report: --points must be at least 2, --checks at least 0")
    from tinyq.audit.report.findings import make_report
    from tinyq.audit.report.html_page import page
    from tinyq.files.atomic import write_text
    from tinyq.files.lock import is_locked

    if is_locked(arguments.run):
        raise Busy(f"{arguments.run}: a run is working in this folder; make its report when it has stopped")
    check_target(arguments.output)
    found = make_report(_run_folder(arguments), arguments.points, arguments.checks)
    if found.history is not None:
        _tell_differences(found.history)
    write_text(arguments.output, page(found))
    say_folded(f"written: {arguments.output}, {Path(arguments.output).stat().st_size / 1024:,.0f} KiB",
               *(f"{check.name}: {check.outcome}: {_in_a_line(check)}" for check in found.checks))
    for check in found.checks:
        if check.outcome == "FAILED":
            raise AuditMismatch(f"{arguments.run}: {check.name} failed: {_in_a_line(check)}")
    for check in found.checks:
        if check.error is not None:
            raise check.error


def _in_a_line(check):
    return "; ".join(check.details.splitlines())


def _steps_wanted(arguments, source):
    from tinyq.audit.replay.replay import random_steps

    if arguments.step is not None:
        return [arguments.step]
    if arguments.random is not None:
        if arguments.random < 1:
            raise UsageError(f"--random {arguments.random}: must be at least 1")
        return random_steps(source, arguments.random)
    if arguments.first is None and arguments.last is None:
        raise UsageError("name the steps with --step N or --random K; replay also takes --all, --final, and "
                         "--from A --to B")
    first = 1 if arguments.first is None else arguments.first
    last = source.history.steps if arguments.last is None else arguments.last
    return list(range(first, last + 1))


def _source(arguments):
    source = _run_folder(arguments)
    _tell_differences(source.history)
    return source


def _run_folder(arguments):
    from tinyq.audit.replay.rerun import Source

    given = {"threads": arguments.threads, "data_path": arguments.data_path, "model": arguments.model}
    return Source(Path(arguments.run), {key: value for key, value in given.items() if value is not None},
                  arguments.trust)


def _tell_differences(history):
    from tinyq.audit.ledger.environment import differences

    for difference in differences(history.begin.record["environment"]):
        tell(f"tinyq: note: {difference}")


COMMANDS = {"verify": _verify, "replay": _replay, "check": _check, "compare": _compare, "explain": _explain,
            "report": _report, "show": _show, "head": _head}


if __name__ == "__main__":
    sys.exit(main())
