"""Numbers by formula, so that golden files hold only results.

    wave(n, phase)[i] = shift + scale * (sin(0.37 i + 0.11 phase) + 0.5 sin(0.0173 i^2 + phase)),   i = 0 … n-1

in row-major order of the shapes the Rust operations take (maps [N, H, W, C], kernels [O, kh, kw, C]). The loss whose
gradients are recorded is sum(y * wave(y.size, 99)).
"""

import json

import torch

WEIGHTS_PHASE = 99


def wave(shape, phase, scale=1.0, shift=0.0):
    i = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    x = torch.sin(0.37 * i + 0.11 * phase) + 0.5 * torch.sin(0.0173 * i * i + phase)
    return (shift + scale * x).reshape(shape)


def numbers(tensor):
    """Row-major numbers with 12 significant digits."""
    return [float(f"{x:.12g}") for x in tensor.detach().flatten().tolist()]


def weighted_sum(y):
    return (y * wave(y.shape, WEIGHTS_PHASE)).sum()


def away_from_kink(z):
    """ReLU of `z`, after a check that no number is so near to zero that rounding could flip it."""
    assert z.abs().min() > 1e-4, f"an input of ReLU is {z.abs().min():.1e}"
    return torch.relu(z)


def write(path, content):
    """One case, optimizer or parameter a line."""
    lines = lambda items: "[\n" + ",\n".join(json.dumps(item) for item in items) + "\n]"
    body = [
        f"{json.dumps(key)}: {lines(value) if isinstance(value, list) else json.dumps(value)}"
        for key, value in content.items()
    ]
    path.write_text("{\n" + ",\n".join(body) + "\n}\n")
