"""The logits of a folder's packed networks as one hash: [TINYQ_ISA=...] python integer_hash.py FOLDER."""
import hashlib
import sys
from pathlib import Path

import numpy as np
from packed_networks import samples

from tinyq import kernels
from tinyq.packed.network import PackedNetwork


def main():
    digest = hashlib.sha256()
    for path in sorted(Path(sys.argv[1]).glob("*.tq.h5")):
        for kind in ("int8", "int16"):
            run = PackedNetwork.load(path, kind)
            for n in (1, 3, 16):
                x = samples(n, run.graph.input_shape, seed=n)
                logits = run(x)
                digest.update(logits.tobytes())
                if run.executor != "numpy":
                    kernels.set_threads(1)
                    assert np.array_equal(run(x), logits), (path, kind, n)
                    kernels.set_threads(2)
    print(run.executor, digest.hexdigest())


if __name__ == "__main__":
    main()
