"""The instruction sets of AArch64 processors, as the operating system reports them."""
import ctypes
import sys

import pytest

from tinyq.kernels.jit import arm_extensions
from tinyq.kernels.jit.arm_extensions import with_extensions

HWCAP, HWCAP2 = 16, 26
ASIMDDP, I8MM = 1 << 20, 1 << 13
# /proc/cpuinfo's words of real processors
CORTEX_A72, CORTEX_A76, NEOVERSE_V1 = (0x8FB, 0), (0x119FFB, 0), (0xCFFFFFFB, 0x17201)


@pytest.fixture
def on(monkeypatch):
    """on(system, words): the extensions that are found there."""
    def found(system, words=(0, 0)):
        monkeypatch.setattr(arm_extensions.platform, "system", lambda: system)
        monkeypatch.setattr(arm_extensions, "_auxiliary_word", dict(zip((HWCAP, HWCAP2), words, strict=True)).get)
        return arm_extensions.extensions.__wrapped__()

    return found


@pytest.mark.parametrize("words, expected", [
    (CORTEX_A72, set()), (CORTEX_A76, {"dotprod"}), (NEOVERSE_V1, {"dotprod", "i8mm"}), ((ASIMDDP, 0), {"dotprod"}),
    ((0, I8MM), {"i8mm"}), ((I8MM, ASIMDDP), set())])
def test_linux_s_capability_words_name_the_extensions(on, words, expected):
    assert on("Linux", words) == expected


def test_an_unknown_system_reports_no_extension(on):
    assert on("Plan 9", (ASIMDDP, I8MM)) == frozenset()


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_linux_answers():
    assert arm_extensions._auxiliary_word(HWCAP) > 0


def test_macos_is_asked_by_name(on, monkeypatch):
    class Library:
        def sysctlbyname(self, name, value, size, new, new_size):
            ctypes.cast(value, ctypes.POINTER(ctypes.c_int))[0] = 1
            return 0 if name == b"hw.optional.arm.FEAT_DotProd" else -1

    monkeypatch.setattr(arm_extensions.ctypes, "CDLL", lambda name: Library())
    assert on("Darwin") == {"dotprod"}


def test_neon_is_there_even_where_llvm_lists_nothing():
    assert with_extensions(frozenset(), frozenset(), False) == {"neon"}


def test_the_system_s_word_counts_not_llvm_s():
    assert with_extensions(frozenset({"neon", "sve"}), frozenset({"dotprod"}), False) == {"neon", "sve", "dotprod"}
    assert with_extensions(frozenset({"neon", "i8mm"}), frozenset({"dotprod"}), False) == {"neon", "dotprod"}


def test_a_user_s_list_restricts_the_extensions():
    assert with_extensions(frozenset({"neon"}), frozenset({"dotprod", "i8mm"}), True) == {"neon"}
    assert with_extensions(frozenset({"dotprod"}), frozenset({"dotprod", "i8mm"}), True) == {"neon", "dotprod"}
