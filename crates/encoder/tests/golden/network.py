#!/usr/bin/env python3
"""Writes network.json: a small residual network, whole, in PyTorch float64.

    Resnet { blocks: [1, 1], width: 4, stem: Small }, Head { dim: 5, normalize: true }, images [4, 8, 8, 3], Mode::Train

Parameters are numbered in the order of the list in the file; number k is wave(shape, k) with the scale and shift given
there (see wave.py), the images are wave([4, 8, 8, 3], 98). Recorded are the embeddings and, for each parameter, the
gradient of sum(y * wave(y.size, 99)).

Run with the environment of bench/peers: python crates/encoder/tests/golden/network.py
"""

from pathlib import Path

import torch
from torch.nn import functional as F

from wave import away_from_kink, numbers, wave, weighted_sum, write

IMAGES_PHASE = 98
WIDTH, DIMENSION, EPSILON = 4, 5, 1e-5


def shapes():
    """{name: shape} with kernels as [O, kh, kw, C]."""
    found = {}

    def conv_and_norm(conv, norm, inputs, outputs, side):
        found[f"{conv}.weight"] = [outputs, side, side, inputs]
        found[f"{norm}.weight"] = [outputs]
        found[f"{norm}.bias"] = [outputs]

    conv_and_norm("conv1", "bn1", 3, WIDTH, 3)
    inputs = WIDTH
    for stage in (1, 2):
        block, outputs = f"layer{stage}.0", WIDTH << (stage - 1)
        conv_and_norm(f"{block}.conv1", f"{block}.bn1", inputs, outputs, 3)
        conv_and_norm(f"{block}.conv2", f"{block}.bn2", outputs, outputs, 3)
        if inputs != outputs:
            conv_and_norm(f"{block}.downsample.0", f"{block}.downsample.1", inputs, outputs, 1)
        inputs = outputs
    found["embedding.weight"] = [DIMENSION, inputs]
    found["embedding.bias"] = [DIMENSION]
    return found


def filling(shape):
    """Scale and shift of a parameter: kernels and matrices small, the rest around one half."""
    if len(shape) == 1:
        return 0.3, 0.5
    return round(1.5 / torch.Size(shape[1:]).numel() ** 0.5, 3), 0.0


def forward(p, x):
    def conv(x, name, stride):
        w = p[f"{name}.weight"].permute(0, 3, 1, 2)
        return F.conv2d(x, w, None, stride, w.shape[2] // 2)

    def norm(x, name):
        return F.batch_norm(x, None, None, p[f"{name}.weight"], p[f"{name}.bias"], training=True, eps=EPSILON)

    x = away_from_kink(norm(conv(x.permute(0, 3, 1, 2), "conv1", 1), "bn1"))
    for stage in (1, 2):
        block = f"layer{stage}.0"
        y = away_from_kink(norm(conv(x, f"{block}.conv1", stage), f"{block}.bn1"))
        y = norm(conv(y, f"{block}.conv2", 1), f"{block}.bn2")
        if stage > 1:
            x = norm(conv(x, f"{block}.downsample.0", stage), f"{block}.downsample.1")
        x = away_from_kink(y + x)
    return F.normalize(F.linear(x.mean((2, 3)), p["embedding.weight"], p["embedding.bias"]))


def main():
    entries, parameters = [], {}
    for k, (name, shape) in enumerate(shapes().items()):
        scale, shift = filling(shape)
        entries.append({"name": name, "shape": shape, "phase": k, "scale": scale, "shift": shift})
        parameters[name] = wave(shape, k, scale, shift).requires_grad_()
    y = forward(parameters, wave([4, 8, 8, 3], IMAGES_PHASE))
    gradients = torch.autograd.grad(weighted_sum(y), list(parameters.values()))
    for entry, gradient in zip(entries, gradients):
        entry["gradient"] = numbers(gradient)
    content = {
        "made_by": f"network.py with PyTorch {torch.__version__.split('+')[0]}, float64",
        "images": {"shape": [4, 8, 8, 3], "phase": IMAGES_PHASE},
        "embeddings": numbers(y),
        "parameters": entries,
    }
    write(Path(__file__).with_name("network.json"), content)


if __name__ == "__main__":
    main()
