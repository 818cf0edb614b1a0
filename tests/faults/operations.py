"""Every call that changes a file below one folder, numbered: to record it, to let it fail, to be killed at it.

The product has no hook for this: the functions of `os` are replaced for the length of a with block.
"""
import errno
import os
import signal
from contextlib import contextmanager
from pathlib import Path

ON_DESCRIPTORS = ("write", "fsync", "close", "pread", "ftruncate")
ON_PATHS = ("mkdir", "unlink", "replace")


@contextmanager
def watched(folder, around):
    """Inside it around(number, name, path, arguments, call) stands for each call, and must return what it returns."""
    watch = _Watch(folder, around)
    before = {name: getattr(os, name) for name in ("open", *ON_DESCRIPTORS, *ON_PATHS)}
    for name, call in before.items():
        setattr(os, name, watch.wrapped(name, call))
    try:
        yield watch
    finally:
        for name, call in before.items():
            setattr(os, name, call)


class _Watch:
    def __init__(self, folder, around):
        self.folder, self.around, self.count = os.path.abspath(folder), around, 0
        self.paths = {}                         # of descriptors that are open

    def wrapped(self, name, call):
        def operation(*arguments, **options):
            path = self.paths.get(arguments[0]) if name in ON_DESCRIPTORS else self._below(arguments[0])
            if path is None:
                return call(*arguments, **options)
            self.count += 1
            result = self.around(self.count, name, path, arguments, lambda *a: call(*(a or arguments), **options))
            if name == "open":
                self.paths[result] = path
            if name == "close":
                del self.paths[arguments[0]]
            return result
        return operation

    def _below(self, path):
        path = os.path.abspath(os.fspath(path))
        return path if path.startswith(self.folder + os.sep) or path == self.folder else None


def error(number):
    return OSError(number, os.strerror(number))


class Failing:
    """The call with this number fails, or with `for_ever` it and all of its kind that follow on a full or dead disk."""

    def __init__(self, at, kind, for_ever=False):
        """kind: the name of an errno, or "short" for a write that takes half and then, the disk being full, no more."""
        self.at, self.kind, self.for_ever, self.hit = at, kind, for_ever, False
        self.number = getattr(errno, kind, errno.ENOSPC)

    def __call__(self, number, name, path, arguments, call):
        if number != self.at and not (self.for_ever and number > self.at and self._strikes(name, arguments)):
            return call()
        if number == self.at and not self._strikes(name, arguments):
            return call()
        self.hit = True
        if name == "close":
            call()                              # the descriptor is gone all the same
        if self.kind == "short" and number == self.at and name == "write" and len(arguments[1]) > 1:
            return call(arguments[0], bytes(arguments[1][:len(arguments[1]) // 2]))
        raise error(self.number)

    def _strikes(self, name, arguments):
        """Whether such a call can fail for this reason: a full disk still deletes, closes and reads."""
        if self.kind == "EIO":
            return True
        if name == "open":
            return bool(arguments[1] & os.O_CREAT)
        return name in ("write", "fsync", "mkdir", "replace")


class Killing:
    """SIGKILL before or after the call with this number."""

    def __init__(self, at, after):
        self.at, self.after = at, after

    def __call__(self, number, name, path, arguments, call):
        if number == self.at and not self.after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = call()
        if number == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


class Recording:
    """The calls that succeeded, as power.py replays them: (name, path, data or second path)."""

    def __init__(self):
        self.calls = []

    def __call__(self, number, name, path, arguments, call):
        result = call()
        if name == "open":
            self.calls.append(("open", path, arguments[1]))
        elif name == "write":
            self.calls.append(("write", path, bytes(arguments[1][:result])))
        elif name == "replace":
            self.calls.append(("replace", path, os.path.abspath(os.fspath(arguments[1]))))
        elif name in ("fsync", "mkdir", "unlink"):
            self.calls.append((name, path, None))
        return result

    def mark(self, what, value):
        """Note that something has happened by now which is no call."""
        self.calls.append((what, value, None))


def below(folder):
    """{relative path: bytes} of all files of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}
