"""Contenders of bench/packed.py: tinyq's packed network with each kind of activations, and its baselines.

All contenders run the same ternary weights. A network takes 224x224 images, or is "fc6": AlexNet's largest layer alone,
9216 to 4096, one sample.
"""
from pathlib import Path

import numpy as np
from step import batch_of, our_model, torch_model

from tinyq import kernels, nn
from tinyq.levels import parse
from tinyq.methods.straight_through import LevelQuantizer
from tinyq.streams import Streams

OURS, BASELINES = ("int8", "int16", "float32"), ("torch", "torch-cl", "ort", "ort-int8")
CONTENDERS = (*OURS, "unpacked", *BASELINES)
FC6, NUMPY = "fc6", "numpy"
LABELS = {"int8": "tinyq int8", "int16": "tinyq int16", "float32": "tinyq float32", "unpacked": "tinyq unpacked",
          "torch": "PyTorch, default layout", "torch-cl": "PyTorch, channels-last", "ort": "ONNX Runtime float32",
          "ort-int8": "ONNX Runtime int8", NUMPY: "NumPy float32"}


def ternary(name):
    """Network with initial weights on ternary levels, except an image network's first and last layer."""
    model = nn.Sequential(nn.Linear(9216, 4096, bias=False)).initialise(Streams(0)) if name == FC6 else our_model(name)
    for _, parameter in model.named_parameters():
        if parameter.constrained or name == FC6:
            scale = np.float32(np.abs(parameter.data).mean(dtype=np.float64))
            parameter.parametrization = LevelQuantizer(parse("ternary"), scale)
            parameter.data[...] = parameter.parametrization.effective(parameter.data)
    return model


def samples(name, batch):
    """Return the batch that all contenders compute on."""
    if name == FC6:
        return np.abs(Streams(1).key("x").normal((batch, 9216))).astype(np.float32)
    return batch_of(batch)[0]


def packed_file(contender, folder):
    """Return the path of a contender's file; its float layers have 8 bits for integer contenders, else 32."""
    return Path(folder) / ("edges32.tq.h5" if contender == "float32" else "edges8.tq.h5")


def prepare(name, contenders, folder):
    """Write the contenders' files of the network, calibrated on a batch."""
    from tinyq.packed.file import format
    from tinyq.packed.file.encode_model import pack
    from tinyq.packed.network import calibrated, with_golden

    model, x = ternary(name), samples(name, 4)
    format.write(packed_file("int8", folder), calibrated(pack(model, x.shape[1:], {}, float_layer_bits=8), [x]))
    format.write(packed_file("float32", folder), with_golden(pack(model, x.shape[1:], {})))
    if {"ort", "ort-int8"} & set(contenders):
        _export_onnx(name, model, x, folder / "float32.onnx")
    if "ort-int8" in contenders:
        _quantise_onnx(folder / "float32.onnx", x, folder / "int8.onnx")


def _peer_model(name, model):
    import torch

    baseline = torch_model(name)
    baseline.load_state_dict({key: torch.from_numpy(a) for key, a in model.state_dict().items()})
    return baseline.eval()


def _export_onnx(name, model, x, path):
    import torch

    torch.onnx.export(_peer_model(name, model), (torch.from_numpy(x[:1]),), str(path), input_names=["x"],
                      output_names=["y"], dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, dynamo=False)


def _quantise_onnx(path, x, target):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Batches(CalibrationDataReader):
        def __init__(self):
            self.left = [x[i:i + 1] for i in range(len(x))]

        def get_next(self):
            return {"x": self.left.pop()} if self.left else None

    ready = path.with_suffix(".ready.onnx")
    quant_pre_process(str(path), str(ready))
    quantize_static(str(ready), str(target), Batches(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)


def _packed_pass(contender, x, folder):
    from tinyq.packed.network import PackedNetwork

    network = PackedNetwork.load(packed_file(contender, folder), contender)
    return lambda: network(x)


def _unpacked_pass(name, x):
    from tinyq.inference.fused_network import Fused

    network = Fused(ternary(name))
    return lambda: network(x)


def _numpy_pass(x, folder):
    """Multiply the same weights as floats with one sample: BLAS's sgemv."""
    from tinyq.packed.file import format

    tensor, = format.read(packed_file("float32", folder)).tensors.values()
    w, sample = tensor.effective(), x[0]
    return lambda: w @ sample


def _torch_pass(name, x, threads, channels_last):
    import torch

    torch.set_num_threads(threads)
    layout = {"memory_format": torch.channels_last} if channels_last else {}
    model, x = _peer_model(name, ternary(name)).to(**layout), torch.from_numpy(x).to(**layout)

    def forward():
        with torch.inference_mode():
            return model(x).numpy()

    return forward


def _onnx_pass(path, x, threads, integer):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if integer:
        options.optimized_model_filepath = str(path.with_suffix(".optimised.onnx"))
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    if integer:
        _assert_integer(options.optimized_model_filepath)
    return lambda: session.run(None, {"x": x})[0]


def _assert_integer(path):
    """Check that every convolution became an integer one."""
    import onnx

    kinds = [node.op_type for node in onnx.load(path).graph.node]
    assert "Conv" not in kinds and "FusedConv" not in kinds and "QLinearConv" in kinds, sorted(set(kinds))


def make(contender, name, batch, threads, folder):
    """Forward pass of one contender."""
    x, folder = samples(name, batch), Path(folder)
    kernels.set_threads(threads)
    if contender in OURS:
        return _packed_pass(contender, x, folder)
    if contender == NUMPY:
        return _numpy_pass(x, folder)
    if contender == "unpacked":
        return _unpacked_pass(name, x)
    if contender.startswith("torch"):
        return _torch_pass(name, x, threads, contender == "torch-cl")
    quantised = contender == "ort-int8"
    return _onnx_pass(folder / ("int8.onnx" if quantised else "float32.onnx"), x, threads, quantised)
