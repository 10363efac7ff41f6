#!/usr/bin/env python3
"""A ResNet-18-like training step against PyTorch's eager mode in both memory layouts, on the CPU.

32 images of 3×64×64; stem 3×3 without pooling, stages of 64, 128, 256 and 512 channels with two basic blocks each,
global average, 128 normalized numbers; squared distance to a fixed target; SGD with momentum. Every side runs in a
process of its own, so that its peak memory is its own.
"""

import json
import resource
import sys

import side_by_side

BATCH, SIDE, DIMENSION = 32, 64, 128
LAYOUTS = ("nchw", "channels_last")


def network():
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            conv = lambda i, side, stride: nn.Conv2d(i, outputs, side, stride, side // 2, bias=False)
            self.body = nn.Sequential(
                conv(inputs, 3, stride), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True),
                conv(outputs, 3, 1), nn.BatchNorm2d(outputs),
            )  # fmt: skip
            same = inputs == outputs and stride == 1
            down = lambda: nn.Sequential(conv(inputs, 1, stride), nn.BatchNorm2d(outputs))
            self.shortcut = nn.Identity() if same else down()
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            y = self.body(x)
            y += self.shortcut(x)
            return self.relu(y)

    class Embedder(nn.Module):
        def __init__(self):
            super().__init__()
            layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
            inputs = 64
            for outputs in (64, 128, 256, 512):
                layers += [Block(inputs, outputs, 1 if outputs == 64 else 2), Block(outputs, outputs, 1)]
                inputs = outputs
            self.body = nn.Sequential(*layers)
            self.head = nn.Linear(512, DIMENSION)

        def forward(self, x):
            return nn.functional.normalize(self.head(self.body(x).mean((2, 3))))

    return Embedder()


def measure(layout, rounds, threads):
    """The PyTorch side of one process."""
    import torch

    torch.set_num_threads(threads)
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    wave = lambda *shape: torch.sin(0.37 * torch.arange(float(torch.Size(shape).numel()))).reshape(shape)
    images = wave(BATCH, 3, SIDE, SIDE).to(memory_format=memory_format)
    target = wave(BATCH, DIMENSION)
    model = network().to(memory_format=memory_format)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step():
        optimizer.zero_grad()
        (model(images) - target).square().sum().backward()
        optimizer.step()

    step_ms = side_by_side.milliseconds(step, rounds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    model.eval()
    with torch.no_grad():
        forward_ms = side_by_side.milliseconds(lambda: model(images), rounds)
    return {"step_ms": step_ms, "forward_ms": forward_ms, "peak_rss_mib": peak}


def main():
    parser = side_by_side.options(__doc__, rounds=5)
    parser.add_argument("--torch", choices=LAYOUTS, help="measure PyTorch alone, in this process")
    asked = parser.parse_args()
    side_by_side.bound_threads(asked.threads)
    if asked.torch:
        print(json.dumps(measure(asked.torch, asked.rounds, asked.threads)))
        return
    binary = side_by_side.example("nearkin-encoder", "peer_resnet", not asked.no_build)
    common = ["--rounds", asked.rounds, "--threads", asked.threads]
    torch_side = lambda layout: lambda: side_by_side.run_json(
        [sys.executable, __file__, "--torch", layout, *common]
    )
    sides = {"rust": lambda: side_by_side.run_json([binary])}
    sides |= {layout: torch_side(layout) for layout in LAYOUTS}
    medians = side_by_side.alternate(sides, asked.turns)
    better = min(LAYOUTS, key=lambda layout: medians[layout]["step_ms"])
    if not asked.json:
        for layout in LAYOUTS:
            print(f"PyTorch {layout}:", ", ".join(f"{n} {v:.0f}" for n, v in medians[layout].items()))
    side_by_side.report(medians["rust"], medians[better], f"PyTorch {better}", asked.json, unit="")


if __name__ == "__main__":
    main()
