"""Print the table of networks: parameters, multiply-accumulates, bytes as float32 and constrained to each set.

    python bench/networks.py

Bytes are calculated: codes at the set's width, one float32 scale per layer, and the parameters that stay float (first
and last layer, biases, batch norm). RPR needs one scale per filter, listed separately.
"""
from tinyq import levels, models
from tinyq.saved.layer_table import FLOAT, layers, totals

NETWORKS = {"lenet": (10, (1, 28, 28)), "resnet20": (10, (3, 32, 32)), "cifar_resnet18": (10, (3, 32, 32)),
            **dict.fromkeys(("alexnet", "alexnet_bn", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
                             "wide_resnet50_2", "resnext50_32x4d", "googlenet"), (1000, (3, 224, 224)))}
SETS = ("binary", "ternary", "shift1", "shift2")


def row(name, classes, shape):
    """Format one row of the table."""
    model = models.build(name, classes, shape)
    found = {chosen: layers(model, shape, levels.parse(chosen)) for chosen in SETS}
    sums = {chosen: totals(of) for chosen, of in found.items()}
    any_set = sums["ternary"]
    filters = sum(layer.weight[0] - layer.scales for layer in found["ternary"] if layer.set != FLOAT)
    sizes = " | ".join(f"{sums[chosen]['bytes_packed']:,}" for chosen in SETS)
    return (f"| `{name}` | {any_set['parameters']:,} | {any_set['macs'] / 1e6:,.1f} M | {any_set['bytes_float']:,} "
            f"| {sizes} | {any_set['bytes_remainder']:,} | {4 * filters:,} |")


def main():
    print(f"| network | parameters | MACs | bytes float | {' | '.join(SETS)} | of these float | RPR's scales, more |")
    print("|" + "---|" * (6 + len(SETS)))
    for name, (classes, shape) in NETWORKS.items():
        print(row(name, classes, shape), flush=True)


if __name__ == "__main__":
    main()
