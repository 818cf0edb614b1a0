"""The bench of microcontrollers counts the instructions of an inference alone, and compares outputs in every run."""
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from embedded import table
from embedded.cmsis_code import CmsisCode
from embedded.cmsis_numbers import SIGN, Meaning, fixed_point, meaning_of, product
from embedded.emulated_cores import HOST, TARGETS, Memory
from embedded.exported import exported
from embedded.instructions import Network, Wrong, measured, outputs_of
from embedded.programs import Failed, TooLarge
from packed_networks import packed, samples
from small_models import SHAPE, small

from tinyq.packed.integer.lowering import lower
from tinyq.packed.integer.numpy_executor import NumpyExecutor
from tinyq.packed.integer.program import integer_levels

BENCH = Path(__file__).resolve().parents[2] / "bench"
# A loop of 1,000 times two instructions; 40 bytes of constants, 80 of variables.
FUNCTION = """\
#include <stdint.h>
const int32_t numbers[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
static volatile int32_t variables[20];
void net(const uint8_t *input, int32_t *output)
{
    volatile uint8_t stack[96];
    stack[0] = 1;
    *output = numbers[*input] + variables[*input] + stack[0] - 1;
    __asm__ volatile("movs r3, #250\\nlsls r3, r3, #2\\n1: subs r3, #1\\nbne 1b\\nnop\\nnop" ::: "r3", "cc", "memory");
}
"""


@pytest.fixture
def m4():
    missing = TARGETS["m4"].missing() or HOST.missing()         # the plugin is compiled for this machine
    if missing:
        pytest.skip(missing)
    return TARGETS["m4"]


def written(folder, text=FUNCTION):
    (folder / "net.c").write_text(text)
    return Network("net", [folder / "net.c"], (), np.array([[3], [5]], np.uint8), np.array([[4], [6]], np.int32), 1)


def test_an_inference_costs_the_instructions_of_its_functions(m4, tmp_path):
    network = written(tmp_path)
    found = measured(m4, network, tmp_path / "program", "-O2")
    without = written(tmp_path, FUNCTION.replace("1: subs r3, #1\\nbne 1b", "subs r3, #1\\nbne 1f\\n1:"))
    assert set(found.functions) == {"net"}
    assert found.instructions - measured(m4, without, tmp_path / "less", "-O2").instructions == 999 * 2
    assert (found.constants, found.ram) == (40, 80) and 0 < found.code < 100 and 96 <= found.stack < 200


def test_a_wrong_output_is_an_error(m4, tmp_path):
    network = dataclasses.replace(written(tmp_path), expected=np.array([[4], [7]], np.int32))
    with pytest.raises(Wrong, match="Cortex-M4: sample 1, output 0: 6 instead of 7"):
        measured(m4, network, tmp_path, "-O2")


def test_a_stack_that_is_too_small_is_an_error(m4, tmp_path):
    text = FUNCTION.replace("stack[96];", "stack[2100]; for (int i = 0; i < 2100; i++) stack[i] = 0;")
    with pytest.raises(Failed, match="the stack of 2048 bytes is too small"):
        measured(m4, written(tmp_path, text), tmp_path, "-O2")


def test_a_network_without_room_is_told_from_one_that_fails(m4, tmp_path):
    small_core = dataclasses.replace(m4, memory=Memory(0, 1 << 22, 0x20000000, 1 << 12))
    text = FUNCTION.replace("variables[20]", "variables[2000]")
    with pytest.raises(TooLarge):
        measured(small_core, written(tmp_path, text), tmp_path, "-O2")


def test_the_macros_of_an_export_are_the_bytes_that_are_measured(m4, tmp_path):
    found = measured(m4, exported(small("groups"), "int8", samples(2, SHAPE), tmp_path / "c"), tmp_path, "-Os")
    header = (tmp_path / "c" / "net.h").read_text()
    assert f"#define NET_FLASH_BYTES {found.constants} " in header
    assert f"#define NET_ARENA_BYTES {found.ram}\n" in header


def test_what_is_missing_for_a_core_is_named():
    assert dataclasses.replace(TARGETS["m4"], tools="nowhere-").missing() == "nowhere-gcc is not installed"
    absent = dataclasses.replace(TARGETS["m4"], emulator=("nowhere", "-M"))
    assert absent.missing().endswith("is not installed")
    if shutil.which("gcc"):
        assert HOST.missing() == ""


def test_a_row_holds_ratios_and_says_where_there_is_no_room():
    ours, theirs = ({"instructions": 10 * n, "code": n, "constants": n, "ram": n, "stack": n} for n in (1000, 4000))
    key = table.key_of("digits", "ternary", "int8", "-O2", "m4")
    assert table.row(key, {table.TINYQ: ours, table.CMSIS: theirs}) == (
        "| digits, Cortex-M4 | 10,000 | 40,000 | **0.25** | 2,000 | 8,000 | **0.25** | 1,000 | 4,000 | 1,000 | 4,000 |")
    assert table.row(key, {table.TINYQ: ours}).startswith("| digits, Cortex-M4 | 10,000 | - | - |")
    assert "| no room | - |" in table.row(key, {})
    assert len({line.count("|") for line in (*table.head().splitlines(), table.row(key, {}))}) == 1


def test_a_row_names_what_is_unusual():
    key = table.key_of("digits", "binary", "int16", "-Os", "rv32")
    assert table.title(key) == "digits, binary, int16, -Os, RV32IMAC"


def test_the_page_holds_the_rows_of_the_result_file():
    lines = (BENCH / "README.md").read_text().splitlines()
    results = json.loads((BENCH / "edge.json").read_text())
    assert results and all(table.row(key, found) in lines for key, found in results.items())


@pytest.mark.parametrize("number", [0.5, 1.0, 0.9999999999, 3.7, 1e-6])
def test_a_multiplier_in_fixed_point_is_its_number(number):
    multiplier, shift = fixed_point(number)
    assert 2**30 <= multiplier < 2**31 and multiplier * 2.0 ** (shift - 31) == pytest.approx(number, rel=2**-31)


def test_the_sums_of_cmsis_nn_give_the_codes_of_tinyq():
    """Its bias is a whole number of sums: the codes may differ by one."""
    network = packed("digits_cnn", "ternary")
    program = lower(network, "int8")
    op = program.products[1]
    codes = NumpyExecutor(program, None).codes(samples(3, (1, 8, 8)))
    x, y = meaning_of(program.quants[op.x]), meaning_of(program.quants[op.y])
    numbers = product(op, program.quants, x, y, program.shapes[op.x])
    centre = codes[op.x].astype(np.int64)[:, :, 2:5, 3:6] - SIGN - x.zero               # under output (3, 4)
    sums = (centre[:, None].transpose(0, 1, 3, 4, 2) * numbers.weights).sum(axis=(2, 3, 4)) + numbers.bias
    found = np.rint(sums * (numbers.multiplier * 2.0 ** (numbers.shift - 31))) + y.zero
    expected = codes[op.y][:, :, 3, 4].astype(np.int64) - SIGN
    assert np.abs(np.clip(found, -128, 127) - expected).max() <= 1
    assert np.array_equal(np.abs(numbers.weights), np.abs(integer_levels(op)).transpose(0, 2, 3, 1))


def test_a_residual_network_becomes_calls_of_cmsis_nn():
    network = packed("resnet20", "ternary")
    text = CmsisCode(lower(network, "int8"), network, Meaning(0.1, 0)).text()
    calls = {name: text.count(f"    {name}(") for name in ("arm_convolve_wrapper_s8", "arm_elementwise_add_s8",
                                                            "arm_avgpool_s8", "arm_fully_connected_wrapper_s8")}
    assert list(calls.values()) == [19, 9, 1, 1]
    assert "static int8_t arena[12288];" in text                    # 3 images of 16x16x16


def test_an_operation_that_cmsis_nn_lacks_is_an_error():
    network = small("far_padding")
    CmsisCode(lower(network, "int8"), network, Meaning(0.1, 0))
    network = small("scaled")
    with pytest.raises(ValueError, match="has no translation to CMSIS-NN"):
        CmsisCode(lower(network, "int8"), network, Meaning(0.1, 0))


def test_outputs_of_this_machine_are_compared_too(tmp_path):
    if HOST.missing():
        pytest.skip(HOST.missing())
    network = exported(small("residual"), "int16", samples(4, SHAPE), tmp_path / "c")
    assert np.array_equal(outputs_of(HOST, network, tmp_path, "-O1"), network.expected)
