"""The machine code of a kernel for another processor: python bench/common/machine_code.py ISA CPU KERNEL.

ISA: a name of tinyq/kernels/jit/isa.py; CPU: LLVM's name. KERNEL: a name of MODULES below.
"""
import functools
import importlib
import subprocess
import sys

from llvmlite import binding, ir

from tinyq.kernels.jit import isa, target

TRIPLES = {True: "aarch64-unknown-linux-gnu", False: "x86_64-unknown-linux-gnu"}
# module -> its kernels
MODULES = {
    "gemm.level_runs": ("coded_float_row_2", "coded_float_row_4", "decode_floats_2", "decode_floats_4"),
    "integer.coded_rows": ("coded_row_2", "coded_row_4", "even_row", "sum_of_row"),
    "integer.code_moves": ("copy_bytes", "copy_runs", "raise_codes", "fill_codes"),
    "integer.dots": ("byte_tile", "small_tile", "short_tile", "byte_row", "short_row", "decode_2", "decode_4"),
    "integer.requantise": ("finish_bytes", "finish_bytes_added", "finish_shorts", "finish_shorts_added",
                           "finish_ints"),
    "simd.register_tile": ("tile", "narrow_tile", "packed_tile", "narrow_packed_tile",
                           "gathering_tile", "narrow_gathering_tile", "pixel_tile"),
}


@functools.cache
def machine_code(instruction_set: str, cpu: str, kernel: str) -> str:
    """Return the assembly of a kernel; made in a process of its own, because tile sizes are chosen once."""
    command = [sys.executable, __file__, instruction_set, cpu, kernel]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def pretend(name: str) -> isa.Isa:
    """Make the kernels believe that the processor has this instruction set and no other; return it."""
    chosen = next(known for known in isa.ISAS if known.name == name)
    target.target_features = lambda: chosen.needs | (set() if chosen.neon else {"fma"})       # fma chooses AVX2's tile
    target.tiles_refused = lambda: None
    isa.ISA = isa.SHAPE = chosen
    return chosen


def module_of(kernel: str) -> ir.Module:
    """Return an LLVM module with the kernel, the functions it calls and a caller of its own name."""
    name = next(module for module, kernels in MODULES.items() if kernel in kernels)
    found = vars(importlib.import_module(f"tinyq.kernels.{name}"))[kernel]      # after pretend(): sizes are chosen once
    module = ir.Module()
    for count in range(1, 13):                              # numbers of parameters
        definition = found._defn(None, *range(count))
        if definition:
            break
    signature, generate = definition
    function = ir.Function(module, ir.FunctionType(ir.IntType(64), [ir.IntType(64)] * count), kernel)
    builder = ir.IRBuilder(function.append_basic_block())
    builder.ret(generate(_NoResult(), builder, signature, list(function.args)))
    for function in module.functions:
        if function.name.startswith("tinyq_"):
            function.linkage = "external"
    return module


class _NoResult:
    """What of numba's context an emitter without a result needs."""

    def get_dummy_value(self):
        """Return any number."""
        return ir.IntType(64)(0)


def assembly(module: ir.Module, triple: str, cpu: str) -> str:
    """Return the assembly of an optimised module."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    module.triple = triple
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    machine = binding.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=3, reloc="static",
                                                                       codemodel="jitdefault", jit=True)
    passes = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(parsed, passes)
    return machine.emit_assembly(parsed)


if __name__ == "__main__":
    chosen = pretend(sys.argv[1])
    print(assembly(module_of(sys.argv[3]), TRIPLES[chosen.neon], sys.argv[2]))
