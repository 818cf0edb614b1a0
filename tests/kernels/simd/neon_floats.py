"""Compare what only NEON's float kernels consist of with NumPy: the tile of packed rows, weights in codes."""
import numpy as np
from numba import njit

from tinyq.kernels.gemm import level_runs
from tinyq.kernels.reference.gemm.matmul import matmul
from tinyq.kernels.simd.register_tile import FLUSH, PACKED_ROWS, PANEL, narrow_packed_tile, packed_tile
from tinyq.kernels.simd.vectors import LANES, MR, NEON, NR
from tinyq.streams import Streams

K = 37
LEVELS = {2: [-1, 0.3, 1], 4: [-1, -0.5, -0.25, 0, 0.25, 0.5, 0.7]}


@njit
def by_tile(a, b, rows, panel, narrow, y):
    """y += a' b."""
    if narrow:
        narrow_packed_tile(len(a), a.ctypes.data, rows.ctypes.data, MR, b.ctypes.data, panel.ctypes.data, y.ctypes.data,
                           y.ctypes.data, FLUSH)
    else:
        packed_tile(len(a), a.ctypes.data, rows.ctypes.data, MR, b.ctypes.data, panel.ctypes.data, y.ctypes.data,
                    y.ctypes.data, FLUSH)


@njit
def by_codes(bits, x, codes, table, target, totals):
    """Decode the first panel into target; add x times all panels to totals."""
    codes_at, table_at, target_at = codes.ctypes.data, table.ctypes.data, target.ctypes.data
    if bits == 2:
        level_runs.decode_floats_2(codes_at, x.size * NR, table_at, target_at)
        level_runs.coded_float_row_2(x.size, x.ctypes.data, codes_at, codes.shape[1], table_at, totals.ctypes.data)
    else:
        level_runs.decode_floats_4(codes_at, x.size * NR, table_at, target_at)
        level_runs.coded_float_row_4(x.size, x.ctypes.data, codes_at, codes.shape[1], table_at, totals.ctypes.data)


def main():
    assert NEON and level_runs.can_decode()
    draw = Streams(4).key("neon").normal
    for columns in (NR, LANES):
        a, b = draw((K, MR)).astype(np.float32), draw((K, NR)).astype(np.float32)
        y = np.zeros((MR, columns), np.float32)
        by_tile(a, b, PACKED_ROWS, PANEL, columns == LANES, y)
        assert np.array_equal(y, matmul(np.ascontiguousarray(a.T), np.ascontiguousarray(b[:, :columns]))), columns
    for bits, levels in LEVELS.items():
        levels = np.array(levels, np.float32)
        panels = levels[Streams(5).key("panels").integers(0, len(levels), (level_runs.PANELS_AT_ONCE, K, NR))]
        codes, table = level_runs.encode(panels.reshape(len(panels), -1), levels)
        assert codes.nbytes <= panels.nbytes * bits / 32 + len(panels) * 4 * LANES and level_runs.bits_for(
            len(levels)) == bits
        x, target, totals = draw(K).astype(np.float32), np.zeros(K * NR + 256, np.float32), np.zeros(
            (len(panels), NR), np.float32)
        by_codes(bits, x, codes, table, target, totals)
        assert np.array_equal(target[:K * NR].reshape(K, NR), panels[0]), bits
        for panel, total in zip(panels, totals, strict=True):
            assert np.array_equal(total, matmul(x[None], panel)[0]), bits
    print("equal")


if __name__ == "__main__":
    main()
