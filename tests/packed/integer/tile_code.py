"""Print the machine code, as text, that LLVM makes of the AMX kernel and its brackets for a processor that has AMX."""
import llvmlite.binding as llvm
import pretended_tiles  # noqa: F401  before isa.py looks
from llvmlite import ir

from tinyq.kernels.integer import amx, tiles
from tinyq.kernels.jit.intrinsics import outlined


def main():
    module = ir.Module()
    module.triple = llvm.get_default_triple()
    outlined(module, "brackets", 0, lambda builder: (amx.configure(builder), amx.release(builder)))
    outlined(module, "amx_tile", 7, tiles._emit_tile)
    for function in module.functions:
        function.linkage = "external"
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu="sapphirerapids", features="+amx-tile,+amx-int8", opt=3)
    print(machine.emit_assembly(parsed))


if __name__ == "__main__":
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    main()
