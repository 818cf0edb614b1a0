"""The logits of integer networks as one hash: [TINYQ_ISA=...] python integer_hash.py."""
import hashlib

import numpy as np
from networks import SHAPES, packed, samples

from tinyq import kernels
from tinyq.packed.network import PackedNetwork


def main():
    digest = hashlib.sha256()
    for name, levels in (("lenet", "ternary"), ("resnet20", "shift2"), ("googlenet", "binary"), ("mlp:20,8", "shift1")):
        network = packed(name, levels)
        for kind in ("int8", "int16"):
            run = PackedNetwork(network, kind)
            for n in (1, 3, 16):
                logits = run(samples(n, SHAPES[name], seed=n))
                digest.update(logits.tobytes())
                if run.executor != "plain":
                    kernels.set_threads(1)
                    assert np.array_equal(run(samples(n, SHAPES[name], seed=n)), logits), (name, kind, n)
                    kernels.set_threads(2)
    print(run.executor, digest.hexdigest())


if __name__ == "__main__":
    main()
