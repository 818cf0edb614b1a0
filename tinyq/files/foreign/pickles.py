"""Interpret pickles safely: build dicts, lists, numbers, texts and objects that the caller knows, run nothing else.

A pickle is a program for a stack machine; the standard library's machine calls any function that the program names.
This one looks a global up among the caller's functions; any other global, and whatever is made with it, becomes an
Inert object, which does nothing. Protocols 0 to 5, and the texts of Python 2.
"""
import struct
from collections.abc import Callable, Mapping, Sequence

from tinyq.files.foreign.pickle_objects import KEYS, Inert, Unnamed
from tinyq.files.foreign.pickle_texts import Unreadable, escaped, old_text, quoted, real, text, whole

MAX_NUMBER_BYTES = 1024                # of an integer
MAX_INSTRUCTIONS = 20_000_000          # of an object: one byte each may make an object of a hundred


class _Mark:
    pass


class Interpreter:
    """Read pickles, one after the other, from one buffer."""

    def __init__(self, data: bytes, functions: Mapping[str, object], persistent: Callable | None = None):
        """functions: {"module name": function that a pickle may call, or a value}; persistent: persistent id to object.

        An object with a method `build` takes its state through it.
        """
        self.data, self.at, self._bytes = memoryview(data), 0, data
        self.stack: list = []
        self.memo: dict = {}
        self.functions, self.persistent = functions, persistent

    def load(self) -> object:
        """Return the next object; Unreadable where there is none."""
        self.stack, self.memo = [], {}
        for _ in range(MAX_INSTRUCTIONS):
            code = bytes(self.take(1))
            if code == b".":
                return self._pop()
            if code not in _CODES:
                raise Unreadable(f"instruction {code!r} is not one of a pickle of weights")
            _CODES[code](self)
        raise Unreadable("it has more parts than any checkpoint")

    def take(self, count: int) -> memoryview:
        """Return the next bytes; Unreadable where the buffer ends before."""
        if count < 0 or self.at + count > len(self.data):
            raise Unreadable("it ends too early")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, layout: str) -> int:
        """Return the next number, in the layout of struct, little-endian."""
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))[0]

    def _line(self):
        end = self._bytes.find(b"\n", self.at)
        if end < 0:
            raise Unreadable("it ends too early")
        line = bytes(self.take(end - self.at))
        self.take(1)
        return line

    def _pop(self):
        if not self.stack or self.stack[-1] is _Mark:
            raise Unreadable("its stack is empty")
        return self.stack.pop()

    def _top(self, kind):
        if not self.stack or not isinstance(self.stack[-1], (kind, Inert)):
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

    def _named(self, module, name):
        if not isinstance(name, str) or not isinstance(module, str):
            raise Unreadable("a name is not a text")
        full = f"{module} {name}"
        return self.functions[full] if full in self.functions else Inert(f"{module}.{name}")

    def _stack_global(self):
        name, module = self._pop(), self._pop()
        self._push(self._named(module, name))

    def _call(self, function: object, arguments: Sequence) -> None:
        """Push the result of a known function, or an inert object in place of an unknown one's."""
        if isinstance(function, Inert):
            self._push(Inert(function.name))
            return
        if not callable(function) or not any(function is known for known in self.functions.values()):
            raise Unreadable("it calls something that is not a function")
        try:
            self._push(function(*arguments))
        except (TypeError, ValueError, OverflowError) as error:
            raise Unreadable(f"a call has unsuitable arguments: {error}") from error

    def _reduce(self):
        arguments, function = self._pop(), self._pop()
        if type(arguments) is not tuple:
            raise Unreadable("the arguments of a call are missing")
        self._call(function, arguments)

    def _new_with_keywords(self):
        self._pop()
        self._reduce()

    def _old_object(self):
        function, *arguments = self._since_mark() or [None]
        self._call(function, arguments)

    def _old_instance(self):
        function = self._named(text(self._line()), text(self._line()))
        self._call(function, self._since_mark())

    def _build(self):
        """Give an object its state. Attributes of dicts (an OrderedDict's _metadata) are passed over."""
        state, target = self._pop(), self._pop()
        self._push(target)
        if isinstance(target, Inert):
            target.state = state
        elif hasattr(target, "build"):
            target.build(state)

    def _put(self, key):
        self.memo[key] = self._pop()
        self._push(self.memo[key])

    def _duplicate(self):
        self._push(self._pop())
        self._push(self.stack[-1])

    def _get(self, key):
        if key not in self.memo:
            raise Unreadable("it refers to an object that is missing")
        self._push(self.memo[key])

    def _set_items(self, items):
        target = self._top(dict)
        if len(items) % 2:
            raise Unreadable("a key has no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key if type(key) in KEYS else Unnamed()] = value         # a tuple, or unhashable

    def _set_item(self):
        value, key = self._pop(), self._pop()
        self._set_items([key, value])

    def _append(self, items):
        target = self._top(list)
        if type(target) is list:
            target.extend(items)

    def _dict(self):
        items = self._since_mark()
        self._push({})
        self._set_items(items)

    def _tuple(self, count):
        items = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(items)))

    def _number_or_flag(self):
        """Push the number of a line; 00 and 01 are False and True."""
        line = self._line()
        self._push(line == b"01" if line in (b"00", b"01") else whole(line))

    def _long(self, count):
        if count > MAX_NUMBER_BYTES:
            raise Unreadable("a number is too long")
        self._push(int.from_bytes(self.take(count), "little", signed=True))

    def _persistent(self, reference):
        if self.persistent is None:
            raise Unreadable("it refers to an object outside the pickle")
        self._push(self.persistent(reference))


_CODES: dict[bytes, Callable[[Interpreter], object]] = {
    b"\x80": lambda m: m.take(1), b"\x95": lambda m: m.take(8),                             # protocol, frame
    b"(": lambda m: m._push(_Mark), b"0": lambda m: m._pop(), b"1": lambda m: m._since_mark(),
    b"2": lambda m: m._duplicate(),
    b"N": lambda m: m._push(None), b"\x88": lambda m: m._push(True), b"\x89": lambda m: m._push(False),
    b"J": lambda m: m._push(m.number("i")), b"K": lambda m: m._push(m.number("B")),
    b"M": lambda m: m._push(m.number("H")), b"I": lambda m: m._number_or_flag(),
    b"L": lambda m: m._push(whole(m._line())),
    b"\x8a": lambda m: m._long(m.number("B")), b"\x8b": lambda m: m._long(m.number("I")),
    b"G": lambda m: m._push(struct.unpack(">d", m.take(8))[0]), b"F": lambda m: m._push(real(m._line())),
    b"X": lambda m: m._push(text(m.take(m.number("I")))), b"\x8c": lambda m: m._push(text(m.take(m.number("B")))),
    b"\x8d": lambda m: m._push(text(m.take(m.number("Q")))), b"V": lambda m: m._push(escaped(m._line())),
    b"T": lambda m: m._push(old_text(m.take(m.number("I")))), b"U": lambda m: m._push(old_text(m.take(m.number("B")))),
    b"S": lambda m: m._push(quoted(m._line())),
    b"B": lambda m: m._push(bytes(m.take(m.number("I")))), b"C": lambda m: m._push(bytes(m.take(m.number("B")))),
    b"\x8e": lambda m: m._push(bytes(m.take(m.number("Q")))), b"\x96": lambda m: m._push(bytes(m.take(m.number("Q")))),
    b"}": lambda m: m._push({}), b"]": lambda m: m._push([]), b")": lambda m: m._push(()),
    b"d": lambda m: m._dict(), b"l": lambda m: m._push(m._since_mark()),
    b"t": lambda m: m._push(tuple(m._since_mark())),
    b"\x85": lambda m: m._tuple(1), b"\x86": lambda m: m._tuple(2), b"\x87": lambda m: m._tuple(3),
    b"\x8f": lambda m: m._push([]), b"\x90": lambda m: m._append(m._since_mark()),          # sets, as lists
    b"\x91": lambda m: m._push(tuple(m._since_mark())),
    b"s": lambda m: m._set_item(), b"u": lambda m: m._set_items(m._since_mark()),
    b"a": lambda m: m._append([m._pop()]), b"e": lambda m: m._append(m._since_mark()),
    b"q": lambda m: m._put(m.number("B")), b"r": lambda m: m._put(m.number("I")),
    b"p": lambda m: m._put(whole(m._line())),
    b"\x94": lambda m: m._put(len(m.memo)),
    b"h": lambda m: m._get(m.number("B")), b"j": lambda m: m._get(m.number("I")),
    b"g": lambda m: m._get(whole(m._line())),
    b"c": lambda m: m._push(m._named(text(m._line()), text(m._line()))), b"\x93": lambda m: m._stack_global(),
    b"R": lambda m: m._reduce(), b"\x81": lambda m: m._reduce(), b"\x92": lambda m: m._new_with_keywords(),
    b"o": lambda m: m._old_object(), b"i": lambda m: m._old_instance(), b"b": lambda m: m._build(),
    b"Q": lambda m: m._persistent(m._pop()), b"P": lambda m: m._persistent(text(m._line())),
}

