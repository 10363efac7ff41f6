#!/usr/bin/env python3
"""Kernels against numpy's OpenBLAS (matrix products) and PyTorch (everything else), on the CPU.

Where PyTorch can write into a given tensor it does, as the Rust side does. Convolution and batch norm
run in both of PyTorch's memory layouts and the faster one counts; the row `conv_…_total` sets the sum of
our three passes against PyTorch's forward and joint backward in its better layout.
"""

import re

import side_by_side


def gemm_works(names):
    import numpy as np

    for name in names:
        if shape := re.fullmatch(r"gemm_(\d+)x(\d+)x(\d+)", name):
            m, k, n = map(int, shape.groups())
            a, b = np.float32(np.random.randn(m, k)), np.float32(np.random.randn(n, k))
            out = np.empty((m, n), np.float32)
            yield name, [lambda a=a, b=b, out=out: np.matmul(a, b.T, out=out)]


def rowwise_works(rows, cols):
    import torch
    from torch.nn import functional as F

    x, dy, out = (torch.randn(rows, cols) for _ in range(3))
    gamma, beta = torch.randn(cols), torch.randn(cols)
    leaf, gamma_leaf, beta_leaf = (t.clone().requires_grad_() for t in (x, gamma, beta))

    def layer_norm_step():
        y = F.layer_norm(leaf, (cols,), gamma_leaf, beta_leaf)
        torch.autograd.grad(y, (leaf, gamma_leaf, beta_leaf), dy)

    size = f"{rows}x{cols}"
    aten = torch.ops.aten
    yield f"exp_{size}", [lambda: torch.exp(x, out=out)]
    yield f"gelu_{size}", [lambda: aten.gelu.out(x, out=out)]
    yield f"gelu_backward_{size}", [lambda: aten.gelu_backward.grad_input(dy, x, grad_input=out)]
    yield f"softmax_{size}", [lambda: torch.softmax(x, 1, out=out)]
    yield f"layer_norm_{size}", [lambda: F.layer_norm(x, (cols,), gamma, beta)]
    yield f"layer_norm_step_{size}", [layer_norm_step]


def batch_norm_works(batch, side, channels):
    import torch
    from torch.nn import functional as F

    def pool_step(layout):
        x = torch.randn(batch, channels, side, side).to(memory_format=layout).requires_grad_()
        dy = torch.randn(batch, channels, side // 2, side // 2).to(memory_format=layout)
        gamma, beta = torch.ones(channels).requires_grad_(), torch.zeros(channels).requires_grad_()

        def work():
            y = F.max_pool2d(F.relu(F.batch_norm(x, None, None, gamma, beta, training=True)), 2)
            torch.autograd.grad(y, (x, gamma, beta), dy)

        return work

    def step(layout, residual):
        image = lambda: torch.randn(batch, channels, side, side).to(memory_format=layout)
        x, shortcut = image().requires_grad_(), image().requires_grad_()
        dy, gamma, beta = image(), torch.ones(channels).requires_grad_(), torch.zeros(channels).requires_grad_()
        leaves = (x, gamma, beta, shortcut) if residual else (x, gamma, beta)

        def work():
            y = F.batch_norm(x, None, None, gamma, beta, training=True)
            y = F.relu(y + shortcut if residual else y)
            torch.autograd.grad(y, leaves, dy)

        return work

    layouts = (torch.contiguous_format, torch.channels_last)
    for residual, suffix in ((False, ""), (True, "_residual")):
        name = f"batch_norm_relu{suffix}_step_{batch}x{side}x{side}x{channels}"
        yield name, [step(layout, residual) for layout in layouts]
    yield f"batch_norm_relu_max_pool_step_{batch}x{side}x{side}x{channels}", [pool_step(l) for l in layouts]


def conv_works(names, batch=32):
    import torch
    from torch.nn import functional as F

    def passes(layout, inputs, outputs, side, stride):
        x = torch.randn(batch, inputs, side, side).to(memory_format=layout)
        w = torch.randn(outputs, inputs, 3, 3).to(memory_format=layout)
        forward = lambda: F.conv2d(x, w, None, stride, 1)
        dy = torch.randn_like(forward())

        def backward(mask):
            torch.ops.aten.convolution_backward(
                dy, x, w, None, [stride] * 2, [1, 1], [1, 1], False, [0, 0], 1, mask
            )

        def total():
            forward()
            backward([True, True, False])

        return {
            "forward": forward,
            "dx": lambda: backward([True, False, False]),
            "dw": lambda: backward([False, True, False]),
            "total": total,
        }

    shapes = {m.groups() for n in names if (m := re.fullmatch(r"conv_(\d+)_(\d+)_(\d+)_s(\d+)_.+", n))}
    for shape in sorted(shapes):
        inputs, outputs, side, stride = map(int, shape)
        layouts = (torch.contiguous_format, torch.channels_last)
        works = [passes(layout, inputs, outputs, side, stride) for layout in layouts]
        for kind in works[0]:
            yield f"conv_{inputs}_{outputs}_{side}_s{stride}_{kind}", [w[kind] for w in works]


def add_totals(rust):
    """Adds, for each convolution, the sum of its three passes."""
    for name in [n for n in rust if n.endswith("_forward") and n.startswith("conv_")]:
        stem = name.removesuffix("forward")
        if {stem + "dx", stem + "dw"} <= rust.keys():
            rust[stem + "total"] = rust[name] + rust[stem + "dx"] + rust[stem + "dw"]
    return rust


def main():
    asked = side_by_side.options(__doc__, rounds=9).parse_args()
    side_by_side.bound_threads(asked.threads)
    import torch

    torch.set_num_threads(asked.threads)
    binary = side_by_side.example("nearkin-kernels", "peer_kernels", not asked.no_build)
    rust = lambda: add_totals(side_by_side.run_json([binary, asked.rounds, asked.only]))
    names = rust().keys()
    works = [*gemm_works(names), *rowwise_works(4096, 1536), *batch_norm_works(32, 32, 64), *conv_works(names)]
    works = [(name, choices) for name, choices in works if name in names]

    def peer():
        best = lambda choices: min(side_by_side.milliseconds(c, asked.rounds) for c in choices)
        return {name: best(choices) for name, choices in works}

    medians = side_by_side.alternate({"rust": rust, "peer": peer}, asked.turns)
    side_by_side.report(medians["rust"], medians["peer"], "numpy/PyTorch", asked.json)


if __name__ == "__main__":
    main()
