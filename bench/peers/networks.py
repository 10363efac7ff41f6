#!/usr/bin/env python3
"""Embedding images: nearkin's networks beside PyTorch's, in both memory layouts, and ONNX Runtime's, forward in evaluation mode.

FaceNet's NN2 (220×220) and NN4 (96×96) and ResNet-50 (224×224), from random weights, one image and 32 of them; milliseconds,
and the peak memory of a process that does both. Every side of every network runs in a process of its own.
"""

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import side_by_side

DIMENSION = 128
SIDES = {"nn2": 220, "nn4": 96, "resnet50": 224}
LAYOUTS = ("nchw", "channels_last")
BATCHES = (1, 32)


def network(name):
    sys.path.insert(0, str(side_by_side.ROOT / "crates/encoder/tests/golden"))
    if name == "resnet50":
        import torchvision

        return torchvision.models.resnet50(num_classes=DIMENSION)
    import facenet

    return facenet.Inceptions({"nn2": facenet.NN2, "nn4": facenet.NN4}[name], 1, False, DIMENSION)


def images_of(name, batch):
    import numpy

    shape = (batch, 3, SIDES[name], SIDES[name])
    return numpy.sin(0.37 * numpy.arange(numpy.prod(shape))).astype(numpy.float32).reshape(shape)


def measure_onnx(name, rounds, threads):
    """The ONNX Runtime side of one process; the graph is exported by another, whose memory does not count."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as scratch:
        path = str(Path(scratch) / "network.onnx")
        subprocess.run([sys.executable, __file__, "--export", f"{name}={path}"], check=True, stdout=sys.stderr)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    found = {}
    for batch in BATCHES:
        images = images_of(name, batch)
        found[f"{name}/{batch}"] = side_by_side.milliseconds(lambda: session.run(None, {"images": images}), rounds)
    found[f"{name}/peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def export(name, path):
    import torch

    class Graph(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network(name).eval()

        def forward(self, images):
            return torch.nn.functional.normalize(self.network(images))

    axes = {"images": {0: "batch"}}
    with torch.no_grad():
        torch.onnx.export(Graph(), (torch.from_numpy(images_of(name, 1)),), path, input_names=["images"], output_names=["vectors"],
                          dynamic_axes=axes, opset_version=17, dynamo=False)


def measure(name, layout, rounds, threads):
    """The PyTorch side of one process."""
    import torch

    torch.set_num_threads(threads)
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    model = network(name).eval().to(memory_format=memory_format)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    found = {}
    with torch.inference_mode():
        for batch in BATCHES:
            images = torch.from_numpy(images_of(name, batch)).to(memory_format=memory_format)
            work = lambda: torch.nn.functional.normalize(model(images))
            found[f"{name}/{batch}"] = side_by_side.milliseconds(work, rounds)
    found[f"{name}/peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def main():
    parser = side_by_side.options(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--peer", help="NETWORK/SIDE: measure this side alone, in this process")
    parser.add_argument("--export", help="NETWORK=FILE: write the network as ONNX")
    asked = parser.parse_args()
    side_by_side.bound_threads(asked.threads)
    if asked.export:
        export(*asked.export.split("="))
        return
    if asked.peer:
        name, side = asked.peer.split("/")
        if side == "onnx":
            found = measure_onnx(name, asked.rounds, asked.threads)
        else:
            found = measure(name, side, asked.rounds, asked.threads)
        print(json.dumps(found))
        return
    binary = side_by_side.example("nearkin-encoder", "peer_networks", not asked.no_build)
    names = [name for name in SIDES if asked.only in name]
    common = ["--rounds", asked.rounds, "--threads", asked.threads]

    def every(command):
        return lambda: {k: v for name in names for k, v in side_by_side.run_json(command(name)).items()}

    sides = {"rust": every(lambda name: [binary, name, asked.rounds])}
    for side in (*LAYOUTS, "onnx"):
        sides[side] = every(lambda name, s=side: [sys.executable, __file__, "--peer", f"{name}/{s}", *common])
    medians = side_by_side.alternate(sides, asked.turns)
    better = {work: min(medians[layout][work] for layout in LAYOUTS) for work in medians["rust"]}
    side_by_side.report(medians["rust"], better, "PyTorch, better layout", asked.json, unit="")
    side_by_side.report(medians["rust"], medians["onnx"], "ONNX Runtime", asked.json, unit="")


if __name__ == "__main__":
    main()
