"""The logits of integer networks as one hash: [TINYQ_ISA=...] python integer_hash.py THREADS."""
import hashlib
import sys

from networks import SHAPES, packed, samples

from tinyq import kernels
from tinyq.packed.network import PackedNetwork


def main():
    kernels.set_threads(int(sys.argv[1]))
    digest = hashlib.sha256()
    for name, levels in (("lenet", "ternary"), ("resnet20", "shift2"), ("googlenet", "binary"), ("mlp:20,8", "shift1")):
        network = packed(name, levels)
        for kind in ("int8", "int16"):
            run = PackedNetwork(network, kind)
            for n in (1, 3, 16):
                digest.update(run(samples(n, SHAPES[name], seed=n)).tobytes())
    print(run.executor, digest.hexdigest())


if __name__ == "__main__":
    main()
