"""Define the exceptions and the exit code of each (tinyq/run/README.md, Exit codes); run commands with them."""
import difflib
import errno
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Collection, Iterable

from tinyq.output.terminal import forget, tell
from tinyq.output.torch_names import NAMES, NOTHING, PARAMETERS
from tinyq.output.work import Work

_NO_ROOM = "failed to map segment", "annot allocate memory"
_PACKAGES = {"numba": "numba", "llvmlite": "numba", "tqdm": "tqdm", "PIL": "pillow", "h5py": "h5py",
             "onnx": "onnx", "onnxruntime": "onnxruntime"}       # by module


NEAR = 0.65                             # least similarity of a suggestion, of 1
MAX_LISTED = 400                        # characters of all choices
# What other programs call a setting: ours, by theirs.
OTHER_WORDS = {
    "learning_rate": "lr", "learningrate": "lr", "base_lr": "lr", "bs": "batch_size", "batch": "batch_size",
    "optimizer": "opt", "optimiser": "opt", "dataset": "data", "arch": "model", "architecture": "model",
    "network": "model", "net": "model", "scheduler": "schedule", "lr_schedule": "schedule", "lr_scheduler": "schedule",
    "wd": "weight_decay", "decay": "weight_decay", "out": "output", "out_dir": "output", "output_dir": "output",
    "save_dir": "output", "data_dir": "data_path", "data_root": "data_path", "root": "data_path",
    "num_workers": "workers", "num_threads": "threads", "random_seed": "seed", "checkpoint": "weights",
    "pretrained": "weights", "warmup_epochs": "warmup", "num_epochs": "epochs", "steps": "max_steps",
    "iterations": "max_steps", "max_iter": "max_steps", "log_interval": "print_freq", "quantization": "levels",
    "step_size": "lr_steps", "milestones": "lr_steps", "gamma": "lr_gamma", "patience": "lr_patience",
}


own_code: set[str] = set()              # files of the user's own that ran; their errors are named by their lines


class TinyqError(Exception):
    """An internal fault; the message is one line: what, which file, what to do."""

    exit_code = 70
    layer: tuple[object, str, str] | None = None    # (layer of a network, line that called it, message without these)


class UsageError(TinyqError):
    """A flag, key or name is unknown, or cannot be used together with others."""

    exit_code = 2


class UnknownName(UsageError):
    """A setting, method, model or dataset of this name does not come with tinyq, nor with an active plug-in."""


class BadInput(TinyqError):
    """Input data is missing, malformed or not what it claims to be."""

    exit_code = 65


class CannotCreate(TinyqError):
    """An output cannot be created."""

    exit_code = 73


class InputOutputError(TinyqError):
    """Reading or writing failed half way, as on a full disk."""

    exit_code = 74


class Busy(TinyqError):
    """Another run has locked a folder that this run needs."""

    exit_code = 75


class AuditMismatch(TinyqError):
    """A recorded step and its replay differ."""

    exit_code = 76


class Diverged(TinyqError):
    """Training produced a NaN or an infinity and was stopped before it could spread."""

    exit_code = 70


def needs_all_of_tinyq(module: str) -> str:
    """Return the message for a module that the runtime alone (tinyq/runtime) does not hold."""
    return (f"{module} is not in tinyq's runtime alone, which is installed here; pip install . in a checkout of tinyq "
            "replaces it by all of tinyq")


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest choice, and all choices unless they are many."""
    choices = sorted(choices)
    near, listed = nearest(name, choices), ", ".join(choices)
    suggestion = f"did you mean {near!r}?" if near else ""
    if len(listed) > MAX_LISTED:
        return suggestion or f"none of the {len(choices)} names there are comes near it"
    return f"{suggestion} choose from: {listed}".lstrip()


def absent(what: str, name: str, names: Iterable[str]) -> AttributeError:
    """Return the error for an attribute that `what` does not have: what to write instead of torch's or NumPy's name.

    names: the attributes that it has.
    """
    if name.startswith("_"):                                # asked for by Python and NumPy, often
        return AttributeError(f"{what} has no {name!r}")
    known = NAMES.get(name)
    if known and known.startswith(NOTHING):
        return AttributeError(f"{what} has no {name!r}: {known.removeprefix(NOTHING)}")
    return AttributeError(f"{what} has no {name!r}; " + (f"write {known}" if known else did_you_mean(name, names)))


def check_parameters(what: str, given: Iterable[str], own: Collection[str]) -> None:
    """Raise UsageError, with the name that was meant, for a parameter that is not one of `what`'s own."""
    for name in given:
        if name not in own:
            meant = PARAMETERS.get(name)
            raise UsageError(f"{what}: no parameter {name}; "
                             + (f"write {meant}" if meant in own else did_you_mean(name, own)))


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that was probably meant, in other letters or other programs' words; None where none is near."""
    spelled = {_letters(choice): choice for choice in choices}
    letters = _letters(name)
    meant = OTHER_WORDS.get(letters, letters)
    near = difflib.get_close_matches(meant, spelled, n=1, cutoff=NEAR)
    return spelled[near[0]] if near else None


def _letters(name: str) -> str:
    return name.lower().lstrip("-").replace("-", "_")


def exit_code_of(command: Callable[[list[str]], int | None], argv: list[str]) -> int:
    """Run a command line; an error becomes one line on stderr and its documented exit code.

    With `--debug` among the arguments the traceback comes before that line.
    """
    debug = "--debug" in argv
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")   # a file's name need not be UTF-8, nor the terminal
    try:
        with Work("still working"):
            code = command([a for a in argv if a != "--debug"]) or 0
        if sys.stdout is not None:              # None: closed before Python began
            sys.stdout.flush()                  # here, where what fails can still be reported
        return code
    except KeyboardInterrupt:
        tell("tinyq: interrupted")
        return 130
    except BrokenPipeError:
        forget(sys.stdout)
        return 141
    except Exception as error:
        if debug:
            tell(*"".join(traceback.format_exception(error)).splitlines())
        if _is_of_memory(error):
            tell("tinyq: out of memory; try a smaller --batch-size (with --accumulate, the same samples a step) or "
                 "fewer --workers; --dry-run estimates what a step takes")
            return TinyqError.exit_code
        if isinstance(error, OSError) and _is_of_output(error):
            forget(sys.stdout)
            error = InputOutputError(f"standard output: {error.strerror}; some of what was printed is lost")
        tell(f"tinyq: {_text(error)}")
        return _exit_code(error)


def _is_of_memory(error: BaseException | None) -> bool:
    """Return True if memory ran out: Python's own, or a library's that then cannot be loaded or says nothing."""
    if error is None or isinstance(error, TinyqError):
        return False
    unloaded = isinstance(error, (ImportError, OSError)) and any(text in str(error) for text in _NO_ROOM)
    return isinstance(error, (MemoryError, SystemError)) or unloaded or _is_of_memory(error.__context__)


def _is_of_output(error: OSError) -> bool:
    """Return True if a print or the last flush failed: errors of tinyq's own files carry a file name."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
    return error.filename is None and error.errno in full


def _text(error):
    if place := _users_line(error):
        return f"{place} failed: {type(error).__name__}: {error}; --debug shows the traceback"
    if isinstance(error, FileNotFoundError) and _working_folder_is_gone():
        return f"{error.strerror}: the working directory was removed; change to another one"
    if isinstance(error, (TinyqError, OSError)):            # the text of an OSError names the file
        return str(error)
    if _missing_part(error):
        return needs_all_of_tinyq(_missing_part(error))
    if _missing_package(error):
        return f"this needs {_missing_package(error)}, which is not installed: pip install {_missing_package(error)}"
    return f"internal error: {type(error).__name__}: {error}; run again with --debug"


def _users_line(error: BaseException) -> str:
    """Return path:line of the innermost line of a user's own code that led to an unexpected error; "" without one."""
    if isinstance(error, TinyqError):
        return ""
    lines = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
             if frame.filename in own_code]
    return lines[-1] if lines else ""


def _working_folder_is_gone():
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def _missing_part(error):
    """Return the module of tinyq that a failed import needed, where the runtime alone is installed; else ""."""
    module = (error.name if isinstance(error, ModuleNotFoundError) else None) or ""
    alone = module.startswith("tinyq.") and importlib.util.find_spec("tinyq.nn") is None
    return module if alone else ""


def _missing_package(error):
    """Return the package that a failed import needed, if it is one of tinyq's: devices may lack some."""
    module = error.name if isinstance(error, ModuleNotFoundError) else None
    return _PACKAGES.get((module or "").partition(".")[0])


def _exit_code(error: Exception) -> int:
    if _users_line(error):
        return UsageError.exit_code
    if isinstance(error, OSError):
        return InputOutputError.exit_code
    if _missing_part(error) or _missing_package(error):
        return UsageError.exit_code
    return error.exit_code if isinstance(error, TinyqError) else TinyqError.exit_code
