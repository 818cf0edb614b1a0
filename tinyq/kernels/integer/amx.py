"""The instructions of AMX's eight tile registers, each of 16 rows of 64 bytes; registers are named by number."""
from llvmlite import ir

from tinyq.kernels.simd.llvm import I8, VOID, call, pointer

TILE_ROWS, ROW_BYTES, REGISTERS = 16, 64, 8
_PALETTE, _BYTES_AT, _ROWS_AT = 1, 16, 48               # Intel's manual, the memory that LDTILECFG reads


def configure(builder):
    """Give every register its full size; without it a tile instruction ends the process."""
    call(builder, "llvm.x86.ldtilecfg", VOID, builder.bitcast(_configuration(builder.module), I8.as_pointer()))


def release(builder):
    """Release the registers, so that a thread switch need not save them."""
    call(builder, "llvm.x86.tilerelease", VOID)


def zero(builder, register):
    """All bytes 0."""
    call(builder, "llvm.x86.tilezero", VOID, I8(register))


def load(builder, register, address, stride):
    """Load 16 rows of 64 bytes from an address (integer) on, `stride` bytes apart."""
    call(builder, "llvm.x86.tileloadd64", VOID, I8(register), pointer(builder, address, I8), stride)


def store(builder, register, address, stride):
    """Store the rows to memory."""
    call(builder, "llvm.x86.tilestored64", VOID, I8(register), pointer(builder, address, I8), stride)


def add_products(builder, sums, codes, levels):
    """sums[r, c] += the products of codes[r, 4 q + i], unsigned, and levels[q, 4 c + i], signed, over q and i."""
    call(builder, "llvm.x86.tdpbusd", VOID, I8(sums), I8(codes), I8(levels))


def _configuration(module):
    name = "tinyq_tile_configuration"
    if name in module.globals:
        return module.globals[name]
    data = bytearray(64)
    data[0] = _PALETTE
    for register in range(REGISTERS):
        data[_BYTES_AT + 2 * register] = ROW_BYTES
        data[_ROWS_AT + register] = TILE_ROWS
    kind = ir.ArrayType(I8, len(data))
    constant = ir.GlobalVariable(module, kind, name)
    constant.linkage, constant.global_constant, constant.align = "internal", True, len(data)
    constant.initializer = ir.Constant(kind, data)
    return constant
