"""Interpret pickles safely: build dicts, lists, numbers, texts and objects that the caller allows, run nothing else.

A pickle is a program for a stack machine; the standard library's machine calls any function that the program names.
This one looks a global up among the caller's functions and fails for any other.
"""
import struct
from collections.abc import Callable, Mapping

MAX_NUMBER_BYTES = 32                  # of an integer


class Unreadable(ValueError):
    """The pickle is broken or asks for something that is not allowed."""


class _Mark:
    pass


class Interpreter:
    """Read pickles of protocol 2 to 4, one after the other, from one buffer."""

    def __init__(self, data: bytes, functions: Mapping[str, object], persistent: Callable | None = None):
        """functions: {"module name": function that REDUCE calls, or a value}; persistent: persistent id to object."""
        self.data, self.at = memoryview(data), 0
        self.stack: list = []
        self.memo: dict = {}
        self.functions, self.persistent = functions, persistent

    def load(self) -> object:
        """Return the next object; Unreadable where there is none."""
        self.stack, self.memo = [], {}
        while True:
            code = bytes(self._take(1))
            if code == b".":
                return self._pop()
            if code not in _CODES:
                raise Unreadable(f"instruction {code!r} is not needed for weights")
            _CODES[code](self)

    def _take(self, count):
        if count < 0 or self.at + count > len(self.data):
            raise Unreadable("it ends too early")
        self.at += count
        return self.data[self.at - count:self.at]

    def _number(self, layout):
        return struct.unpack("<" + layout, self._take(struct.calcsize("<" + layout)))[0]

    def _line(self):
        for end in range(self.at, min(self.at + 200, len(self.data))):
            if self.data[end] == 10:
                text = bytes(self._take(end - self.at))
                self._take(1)
                return _text(text)
        raise Unreadable("a name is too long")

    def _pop(self):
        if not self.stack or self.stack[-1] is _Mark:
            raise Unreadable("its stack is empty")
        return self.stack.pop()

    def _top(self, kind):
        if not self.stack or type(self.stack[-1]) is not kind:
            raise Unreadable(f"a {kind.__name__} is missing")
        return self.stack[-1]

    def _since_mark(self):
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _Mark:
                items, self.stack[i:] = self.stack[i + 1:], []
                return items
        raise Unreadable("a mark is missing")

    def _push(self, value):
        self.stack.append(value)

    def _global(self, module, name):
        full = f"{module} {name}"
        if full not in self.functions:
            raise Unreadable(f"it wants to use {module}.{name}, which weights do not need; nothing was run")
        self._push(self.functions[full])

    def _stack_global(self):
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise Unreadable("a name is not a text")
        self._global(module, name)

    def _reduce(self):
        arguments, function = self._pop(), self._pop()
        known = any(function is allowed for allowed in self.functions.values())
        if type(arguments) is not tuple or not known or not callable(function):
            raise Unreadable("it calls something that is not a function")
        try:
            self._push(function(*arguments))
        except (TypeError, ValueError, OverflowError) as error:
            raise Unreadable(f"a call has unsuitable arguments: {error}") from error

    def _build(self):
        """Ignore attributes of an object (an OrderedDict's _metadata): objects here have none."""
        self._pop()

    def _put(self, key):
        if not self.stack or self.stack[-1] is _Mark:
            raise Unreadable("its stack is empty")
        self.memo[key] = self.stack[-1]

    def _get(self, key):
        if key not in self.memo:
            raise Unreadable("it refers to an object that is missing")
        self._push(self.memo[key])

    def _set_items(self, items):
        target = self._top(dict)
        if len(items) % 2:
            raise Unreadable("a key has no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int, bool, float, type(None)):
                raise Unreadable("a key is neither a text nor a number")
            target[key] = value

    def _set_item(self):
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _tuple(self, count):
        items = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(items)))

    def _long(self):
        count = self._number("B")
        if count > MAX_NUMBER_BYTES:
            raise Unreadable("a number is too long")
        self._push(int.from_bytes(self._take(count), "little", signed=True))

    def _persistent(self):
        if self.persistent is None:
            raise Unreadable("it refers to an object outside the pickle")
        self._push(self.persistent(self._pop()))


def _text(data):
    try:
        return bytes(data).decode()
    except UnicodeDecodeError:
        raise Unreadable("a text is not UTF-8") from None


def _append(machine, items):
    machine._top(list).extend(items)


_CODES = {
    b"\x80": lambda m: m._take(1), b"\x95": lambda m: m._take(8),                           # protocol, frame
    b"(": lambda m: m._push(_Mark), b"0": lambda m: m._pop(),
    b"N": lambda m: m._push(None), b"\x88": lambda m: m._push(True), b"\x89": lambda m: m._push(False),
    b"J": lambda m: m._push(m._number("i")), b"K": lambda m: m._push(m._number("B")),
    b"M": lambda m: m._push(m._number("H")), b"\x8a": lambda m: m._long(),
    b"G": lambda m: m._push(struct.unpack(">d", m._take(8))[0]),
    b"X": lambda m: m._push(_text(m._take(m._number("I")))),
    b"\x8c": lambda m: m._push(_text(m._take(m._number("B")))),
    b"}": lambda m: m._push({}), b"]": lambda m: m._push([]), b")": lambda m: m._push(()),
    b"t": lambda m: m._push(tuple(m._since_mark())),
    b"\x85": lambda m: m._tuple(1), b"\x86": lambda m: m._tuple(2), b"\x87": lambda m: m._tuple(3),
    b"s": lambda m: m._set_item(), b"u": lambda m: m._set_items(m._since_mark()),
    b"a": lambda m: _append(m, [m._pop()]), b"e": lambda m: _append(m, m._since_mark()),
    b"q": lambda m: m._put(m._number("B")), b"r": lambda m: m._put(m._number("I")),
    b"\x94": lambda m: m._put(len(m.memo)),
    b"h": lambda m: m._get(m._number("B")), b"j": lambda m: m._get(m._number("I")),
    b"c": lambda m: m._global(m._line(), m._line()), b"\x93": lambda m: m._stack_global(),
    b"R": lambda m: m._reduce(), b"b": lambda m: m._build(), b"Q": lambda m: m._persistent(),
}
