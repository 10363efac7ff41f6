#!/usr/bin/env python3
"""Embedding images: nearkin's networks beside PyTorch's, in both memory layouts, forward in evaluation mode.

FaceNet's NN2 (220×220) and NN4 (96×96) and ResNet-50 (224×224), from random weights, one image and 32 of them; milliseconds,
and the peak memory of a process that does both. Every side of every network runs in a process of its own.
"""

import json
import resource
import sys

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
            shape = (batch, 3, SIDES[name], SIDES[name])
            images = torch.sin(0.37 * torch.arange(float(torch.Size(shape).numel()))).reshape(shape)
            images = images.to(memory_format=memory_format)
            work = lambda: torch.nn.functional.normalize(model(images))
            found[f"{name}/{batch}"] = side_by_side.milliseconds(work, rounds)
    found[f"{name}/peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return found


def main():
    parser = side_by_side.options(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--torch", help="NETWORK/LAYOUT: measure PyTorch alone, in this process")
    asked = parser.parse_args()
    side_by_side.bound_threads(asked.threads)
    if asked.torch:
        print(json.dumps(measure(*asked.torch.split("/"), asked.rounds, asked.threads)))
        return
    binary = side_by_side.example("nearkin-encoder", "peer_networks", not asked.no_build)
    names = [name for name in SIDES if asked.only in name]
    common = ["--rounds", asked.rounds, "--threads", asked.threads]

    def every(command):
        return lambda: {k: v for name in names for k, v in side_by_side.run_json(command(name)).items()}

    sides = {"rust": every(lambda name: [binary, name, asked.rounds])}
    for layout in LAYOUTS:
        sides[layout] = every(lambda name, l=layout: [sys.executable, __file__, "--torch", f"{name}/{l}", *common])
    medians = side_by_side.alternate(sides, asked.turns)
    better = {work: min(medians[layout][work] for layout in LAYOUTS) for work in medians["rust"]}
    side_by_side.report(medians["rust"], better, "PyTorch, better layout", asked.json, unit="")


if __name__ == "__main__":
    main()
