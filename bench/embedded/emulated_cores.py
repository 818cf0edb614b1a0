"""Processors that QEMU emulates: how a program is compiled for each, and how it is started.

Debian: gcc-arm-none-eabi picolibc-arm-none-eabi gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-arm
qemu-system-misc qemu-user gcc-powerpc-linux-gnu libc6-dev-powerpc-cross.
"""
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache

K, M = 1 << 10, 1 << 20
STACK = 2 * K                           # bytes reserved by the linker's script


@dataclass(frozen=True)
class Memory:
    """Start and size of flash and of RAM."""

    flash: int
    flash_size: int
    ram: int
    ram_size: int


@dataclass(frozen=True)
class Target:
    """A processor.

    tools: prefix of its compiler and of nm. emulator: command to which a program's path is added. memory: of a board
    without an operating system, whose programs print through semihosting; None: a Linux process.
    """

    title: str
    tools: str
    flags: tuple[str, ...]
    emulator: tuple[str, ...]
    memory: Memory | None

    @property
    def compiler(self) -> list[str]:
        """Command that compiles."""
        return [f"{self.tools}gcc", *self.flags, *(("--specs=picolibc.specs",) if self.memory else ())]

    @property
    def linker(self) -> list[str]:
        """Command that links."""
        if self.memory is None:
            return [*self.compiler, *(("-static",) if self.emulator else ())]
        symbols = {"__flash": self.memory.flash, "__flash_size": self.memory.flash_size, "__ram": self.memory.ram,
                   "__ram_size": self.memory.ram_size, "__stack_size": STACK}
        return [*self.compiler, "--crt0=semihost", "--oslib=semihost",
                *(f"-Wl,--defsym={name}={value:#x}" for name, value in symbols.items())]

    def missing(self) -> str:
        """Return what is not installed here, as a reason to skip; "" where the target can be used."""
        return _missing(self)


@cache
def _missing(target):
    for program in (f"{target.tools}gcc", *target.emulator[:1]):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if target.memory:
        asked = [f"{target.tools}gcc", "-print-file-name=picolibc.specs"]
        if subprocess.run(asked, capture_output=True, text=True).stdout.strip() == "picolibc.specs":
            return f"picolibc for {target.tools}gcc is not installed"
    return ""


HOST = Target("this machine", "", (), (), None)


def _board(program, machine, *more):
    return (program, *more, "-M", machine, "-nographic", "-monitor", "none", "-serial", "none", "-chardev",
            "stdio,id=printed", "-semihosting-config", "enable=on,target=native,chardev=printed", "-kernel")


def _cortex(title, cpu, machine, memory, *flags):
    return Target(title, "arm-none-eabi-", ("-mthumb", f"-mcpu={cpu}", *flags), _board("qemu-system-arm", machine),
                  memory)


MPS2 = Memory(0, 4 * M, 0x20000000, 4 * M)
AN547 = Memory(0x10000000, 512 * K, 0x30000000, 512 * K)
VIRT = Memory(0x80000000, 4 * M, 0x80400000, 4 * M)
SOFT = "-mfloat-abi=soft"

TARGETS = {
    "m0": _cortex("Cortex-M0", "cortex-m0", "microbit", Memory(0, 256 * K, 0x20000000, 16 * K)),
    "m3": _cortex("Cortex-M3", "cortex-m3", "mps2-an385", MPS2),
    "m4": _cortex("Cortex-M4", "cortex-m4", "mps2-an386", MPS2, SOFT),
    "m4f": _cortex("Cortex-M4F", "cortex-m4", "mps2-an386", MPS2, "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    "m7": _cortex("Cortex-M7", "cortex-m7", "mps2-an500", MPS2, SOFT),
    "m33": _cortex("Cortex-M33", "cortex-m33", "mps2-an505", Memory(0x10000000, 4 * M, 0x38000000, 2 * M), SOFT),
    "m55": _cortex("Cortex-M55", "cortex-m55", "mps3-an547", AN547, "-mfloat-abi=hard"),
    "m55-nomve": _cortex("Cortex-M55 without MVE", "cortex-m55+nomve", "mps3-an547", AN547, SOFT),
    "rv32": Target("RV32IMAC", "riscv64-unknown-elf-", ("-march=rv32imac", "-mabi=ilp32", "-mcmodel=medany"),
                   _board("qemu-system-riscv32", "virt", "-bios", "none"), VIRT),
    "ppc": Target("PowerPC, big-endian", "powerpc-linux-gnu-", (), ("qemu-ppc",), None),
}
