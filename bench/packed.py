"""A packed network's forward pass at 224x224 against what a user would pick instead, on the same ternary weights.

    pip install torch==2.13.0 onnx onnxscript onnxruntime && pip install --no-deps torchvision==0.28.0
    python bench/packed.py [--networks resnet18 resnet50 alexnet googlenet] [--batch 1 16] [--threads 2] [--rounds 9]
    TINYQ_ISA=avx2 python bench/packed.py                       # another instruction set
    python bench/packed.py --fc6                                # AlexNet's largest layer alone, beside NumPy

Each side has a process of its own; they take turns. Peers: PyTorch float32, ONNX Runtime float32, and ONNX Runtime int8
(quant_pre_process, then static quantisation, QDQ, unsigned activations, signed weights a channel, calibrated on the
batch); that every convolution of its became an integer one is asserted. tinyq packs with --edge-bits 8 and calibrates
on the same batch; "float" is its float32 evaluation of the same network unpacked.
"""
import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
from step import CLASSES, SIZE, batch_of, our_model, torch_model
from timing import Side, interleave_all, machine, peak_memory, serve

from tinyq import kernels
from tinyq.levels import parse
from tinyq.methods.straight_through import LevelView

OURS, PEERS = ("int8", "int16", "float32"), ("torch", "ort", "ort-int8")
SIDES = (*OURS, "float", *PEERS)
LABELS = {"int8": "tinyq int8", "int16": "tinyq int16", "float32": "tinyq float32", "float": "tinyq unpacked",
          "torch": "PyTorch float32", "ort": "ONNX Runtime float32", "ort-int8": "ONNX Runtime int8"}


def ternary(name):
    """The network with its initial weights on ternary levels, but for the first and the last layer."""
    model = our_model(name)
    for _, parameter in model.named_parameters():
        if parameter.constrained:
            scale = np.float32(np.abs(parameter.data).mean(dtype=np.float64))
            parameter.view = LevelView(parse("ternary"), scale)
            parameter.data[...] = parameter.view.shown(parameter.data)
    return model


def prepare(name, folder):
    """Every side's file of the network."""
    from tinyq.packed import format
    from tinyq.packed.network import calibrated, with_golden
    from tinyq.packed.pack import pack

    model, x = ternary(name), batch_of(4)[0]
    shape = (3, SIZE, SIZE)
    format.write(folder / "edges8.tq.h5", calibrated(pack(model, shape, {}, edge_bits=8), [x]))
    format.write(folder / "edges32.tq.h5", with_golden(pack(model, shape, {})))
    _export_onnx(name, model, x, folder / "float32.onnx")
    _quantise_onnx(folder / "float32.onnx", x, folder / "int8.onnx")


def _peer_model(name, model):
    import torch

    peer = torch_model(name)
    peer.load_state_dict({key: torch.from_numpy(a) for key, a in model.state_dict().items()})
    return peer.eval()


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


def tinyq_pass(kind, path, x):
    from tinyq.packed.network import PackedNetwork

    network = PackedNetwork.load(path, kind)
    return lambda: network(x)


def float_pass(name, x):
    from tinyq.inference import Fused

    network = Fused(ternary(name))
    return lambda: network(x)


def torch_pass(name, x, threads):
    import torch

    torch.set_num_threads(threads)
    model, x = _peer_model(name, ternary(name)), torch.from_numpy(x)

    def forward():
        with torch.inference_mode():
            return model(x).numpy()

    return forward


def onnx_pass(path, x, threads, integer):
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
    """Or the comparison means nothing."""
    import onnx

    kinds = [node.op_type for node in onnx.load(path).graph.node]
    assert "Conv" not in kinds and "FusedConv" not in kinds and "QLinearConv" in kinds, sorted(set(kinds))


def make(side, name, batch, threads, folder):
    """The pass of one side."""
    x, folder = batch_of(batch)[0], Path(folder)
    kernels.set_threads(threads)
    if side in OURS:
        return tinyq_pass(side, folder / ("edges32.tq.h5" if side == "float32" else "edges8.tq.h5"), x)
    if side == "float":
        return float_pass(name, x)
    if side == "torch":
        return torch_pass(name, x, threads)
    return onnx_pass(folder / ("int8.onnx" if side == "ort-int8" else "float32.onnx"), x, threads, side == "ort-int8")


def report(name, batch, args, folder):
    """One network's lines: every side's time, and what of it each of ours takes."""
    sides = {side: Side(__file__, "--threads", str(args.threads), "--serve", side, name, str(batch), str(folder))
             for side in args.sides}
    rounds = interleave_all(list(sides.values()), args.rounds, repeat=max(1, 16 // batch))
    memory = {key: peak_memory(side.process.pid) for key, side in sides.items()}
    for side in sides.values():
        side.close()
    times = {side: [r[i] for r in rounds] for i, side in enumerate(sides)}
    medians = {side: 1e3 * statistics.median(t) for side, t in times.items()}
    print(f"{name} batch {batch}: " + ", ".join(f"{LABELS[s]} {m:.2f} ms ({memory[s]:.0f} MiB)"
                                                for s, m in medians.items()))
    peers = [side for side in PEERS if side in medians]
    fastest = min(peers, key=medians.get)
    for side in [side for side in (*OURS, "float") if side in medians]:
        against = "ort" if side in ("float32", "float") and "ort" in medians else fastest
        ratios = [a / b for a, b in zip(times[side], times[against], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"    {LABELS[side]:16} {middle:.2f} of {LABELS[against]} (quartiles {low:.2f} to {high:.2f}, "
              f"{len(ratios)} rounds)", flush=True)


def report_fc6(args):
    """AlexNet's fc6 alone, 9216 to 4096, ternary, one sample, beside NumPy's product of the same matrix in float32."""
    import time

    from tinyq import nn
    from tinyq.packed.network import PackedNetwork, calibrated
    from tinyq.packed.pack import pack
    from tinyq.streams import Streams

    kernels.set_threads(args.threads)
    layer = nn.Sequential(nn.Linear(9216, 4096, bias=False)).initialise(Streams(0))
    weight = layer[0].weight
    weight.view = LevelView(parse("ternary"), np.float32(np.abs(weight.data).mean(dtype=np.float64)))
    weight.data[...] = weight.view.shown(weight.data)
    x = np.abs(Streams(1).key("x").normal((1, 9216))).astype(np.float32)
    packed = calibrated(pack(layer, (9216,), {}), [x])
    calls = {"NumPy": lambda: weight.data @ x[0],
             **{kind: (lambda network: lambda: network(x))(PackedNetwork(packed, kind)) for kind in OURS}}
    times = {name: [] for name in calls}
    for _ in range(10 * args.rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    print(f"fc6 batch 1, ternary: NumPy float32 {1e3 * statistics.median(times['NumPy']):.2f} ms")
    for kind in OURS:
        gains = [a / b for a, b in zip(times["NumPy"], times[kind], strict=True)]
        low, middle, high = statistics.quantiles(gains, n=4)
        print(f"    {LABELS[kind]:16} {1e3 * statistics.median(times[kind]):.2f} ms, {middle:.1f} times as fast "
              f"(quartiles {low:.1f} to {high:.1f}, {len(gains)} rounds)", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=["resnet18", "resnet50", "alexnet", "googlenet"])
    parser.add_argument("--sides", nargs="*", default=SIDES, choices=SIDES)
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 16])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--fc6", action="store_true", help="AlexNet's largest layer alone, beside NumPy")
    parser.add_argument("--serve", nargs=4, metavar=("SIDE", "NETWORK", "BATCH", "FOLDER"), help="be one side")
    args = parser.parse_args()
    if args.serve:
        side, name, batch, folder = args.serve
        return serve(make(side, name, int(batch), args.threads, folder))
    from tinyq.kernels.isa import ISA

    print(f"{machine()}; {args.threads} threads; integer kernels: {ISA.name if ISA else 'NumPy'}; {CLASSES} classes")
    for name in [] if args.fc6 else args.networks:
        with tempfile.TemporaryDirectory() as folder:
            prepare(name, Path(folder))
            for batch in args.batch:
                report(name, batch, args, folder)
    if args.fc6:
        report_fc6(args)


if __name__ == "__main__":
    main()
