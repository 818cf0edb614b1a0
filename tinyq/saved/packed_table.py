"""Summarise a packed network product by product: level set, size in the file and cost."""
import math

from tinyq.levels import set_of
from tinyq.packed.file.format import Packed
from tinyq.packed.file.graph import Node
from tinyq.packed.file.tensor import EncodedTensor
from tinyq.saved.layer_table import FLOAT, Layer


def packed_layers(packed: Packed) -> list[Layer]:
    """Make one Layer per product and per array of another operation.

    parameters: numbers of the weights and of the affine, into which biases and batch norm are folded.
    """
    products = [_product(node, packed.tensors[node.product_weight.name]) for node in packed.graph.products()]
    others = [Layer(name, "constant", (), array.shape, array.size, FLOAT, 32, 0, array.nbytes, array.nbytes,
                    array.nbytes, 0) for name, array in packed.constants.items()]
    return products + others


def _product(node: Node, tensor: EncodedTensor) -> Layer:
    coded = tensor.levels is not None
    held = sum(array.nbytes for array in tensor.arrays().values())
    numbers = tensor.rows * tensor.k + tensor.affine.size
    remainder = held - tensor.data.nbytes - tensor.scale.nbytes if coded else held
    return Layer(node.product_weight.name, "Linear" if node.params["options"] is None else "Conv2d", node.shape,
                 tensor.shape, numbers, FLOAT if tensor.levels is None else set_of(tensor.levels.tolist()).name,
                 math.ceil(tensor.code_bits), len(tensor.scale) if coded else 0, 4 * numbers, held, remainder,
                 math.prod(node.shape) * tensor.k)
