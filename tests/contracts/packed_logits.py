"""A folder's packed networks: python packed_logits.py FOLDER prints hashes of logits, and resident bytes."""
import hashlib
import sys
from pathlib import Path

from packed_networks import samples

from tinyq.packed.network import PackedNetwork


def main():
    for path in sorted(Path(sys.argv[1]).glob("*.tq.h5")):
        for kind in ("float32", "int8", "int16"):
            network, digest = PackedNetwork.load(path, kind), hashlib.sha256()
            for n in (1, 3, 16):
                digest.update(network(samples(n, network.graph.input_shape, seed=n)).tobytes())
            print(path.name, kind, digest.hexdigest(), network.resident_bytes)


if __name__ == "__main__":
    main()
