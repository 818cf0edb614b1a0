"""Data that a function of the user's own returns: arrays, samples one by one, and what is refused."""
import numpy as np
import pytest

from tinyq import data
from tinyq.errors import BadInput, UsageError

BEGINNING = """import numpy as np
X, Y = np.arange(120.0).reshape(60, 2), np.arange(60) % 3


class Counted:
    def __init__(self, count=60, given=60):
        self.count, self.given = count, given

    def __len__(self):
        return self.count


class Indexable(Counted):
    def __getitem__(self, k):
        return X[:self.given][k], Y[k]


class Iterable(Counted):
    def __iter__(self):
        return ((X[k], Y[k]) for k in range(self.given))


def named(*path):
    return """


@pytest.fixture
def load(tmp_path):
    def load(returned, path=None, **options):
        (tmp_path / "own.py").write_text(BEGINNING + returned + "\n")
        return data.load(f"{tmp_path}/own.py:named", path, **options)
    return load


def samples(bundle):
    parts = [bundle.arrays(part) for part in bundle.read["splits"]]
    return np.sort(np.concatenate([x for x, _ in parts])[:, 0]), np.sort(np.concatenate([y for _, y in parts]))


@pytest.mark.parametrize("returned", [
    "X, Y", "[X, Y]", "X.tolist(), Y.tolist()", "{'x': X, 'y': Y}", "Indexable()", "Iterable()", "list(zip(X, Y))",
    "[(x.tolist(), int(y)) for x, y in zip(X, Y)]"])
def test_samples_without_parts_are_the_same_data_in_every_form(load, returned):
    assert load(returned).manifest["sha256"] == load("X, Y").manifest["sha256"]


@pytest.mark.parametrize("returned", [
    "(X[:40], Y[:40]), (X[40:], Y[40:])", "{'x_train': X[:40], 'y_train': Y[:40], 'x_test': X[40:], 'y_test': Y[40:]}",
    "{'train': (X[:40], Y[:40]), 'test': list(zip(X[40:], Y[40:]))}",
    "{'train': Indexable(40), 'test': (X[40:], Y[40:]), 'class_names': ['0', '1', '2']}"])
def test_parts_are_the_same_data_in_every_form(load, returned):
    bundle = load(returned, validation=0)
    assert (len(bundle.train), len(bundle.test)) == (40, 20)
    assert bundle.manifest["sha256"] == load("(X[:40], Y[:40]), (X[40:], Y[40:])", validation=0).manifest["sha256"]


def test_the_function_is_given_the_data_path_if_it_takes_an_argument(load, tmp_path):
    np.save(tmp_path / "y.npy", np.arange(60) % 2)
    assert load("X, np.load(path[0])", str(tmp_path / "y.npy")).class_names == ("0", "1")
    (tmp_path / "none.py").write_text("import numpy as np\ndef f(*, x=1): return np.ones((9, 1)), np.arange(9) % 2\n")
    assert len(data.load(f"{tmp_path}/none.py:f", "ignored").train) == 8


@pytest.mark.parametrize("returned, message", [
    ("X", "returned one array; return x_train"), ("(k for k in zip(X, Y))", "returned a generator without a length"),
    ("None", "returned a NoneType without a length"), ("{'x': X}", "'x' has no y"), ("{}", "neither x_train"),
    ("{'x': X, 'y': Y, 'z': Y}", "returned 'z', which is no name"),
    ("[X[0], X[1]] * 9", "sample 0 is a ndarray, not a pair"),
    ("Iterable(60, 50)", "has a length of 60, and gives 50 samples"), ("Iterable(50, 60)", "and gives more samples"),
    ("Indexable(0)", "has a length of 0, and gives 0 samples"),
    ("[(X[0], 0), (X[0, :1], 1)] * 9", "they must be alike"),
    ("[(X[0], 0), (X[0], 'a')] * 9", "the target of sample 1 is <U1"), ("[('a', 0), ('b', 1)] * 9", "must be numbers"),
    ("X.astype(object), Y", "are object; they must be numbers"), ("X * np.nan, Y", "hold nan in sample 0"),
    ("[(np.broadcast_to(X[0, 0], 1 << 29), 0)] * 9", "9 samples of 4,294,967,296 bytes are over the limit"),
])
def test_what_cannot_be_trained_on_is_refused_in_one_line(load, returned, message):
    with pytest.raises(BadInput, match=message) as raised:
        load(returned)
    assert "\n" not in str(raised.value) and "own.py:named" in str(raised.value)


@pytest.mark.parametrize("returned, message", [
    ("X[99]", "own.py:[0-9]+ failed: IndexError"), ("Indexable(60, 50)", "own.py:[0-9]+ failed: IndexError"),
    ("1 / 0", "failed: ZeroDivisionError"), ("[[1, 2], [1], [3]], [0, 1, 0]", "failed: ValueError")])
def test_an_error_of_the_users_code_names_its_line(load, returned, message):
    with pytest.raises((UsageError, BadInput), match=message):
        load(returned)


def test_a_function_must_be_named(tmp_path):
    with pytest.raises(UsageError, match="data own: name your function"):
        data.load("own")
    (tmp_path / "own.py").write_text("")
    with pytest.raises(UsageError, match="defines no named"):
        data.load(f"{tmp_path}/own.py:named")
