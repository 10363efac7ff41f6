#!/usr/bin/env python3
"""Writes layers.json: the encoder's operations and the optimizers in PyTorch float64.

Every case names the operation, its settings, its inputs in the order of the Rust function (shape and formula, see
wave.py), the output and the gradient of sum(y * wave(y.size, 99)) with respect to each input.

Run with the environment of bench/peers: python crates/encoder/tests/golden/layers.py
"""

from pathlib import Path

import torch
from torch.nn import functional as F

from wave import away_from_kink, numbers, wave, weighted_sum, write

EPSILON = 1e-5


def source(name, shape, phase, scale=1.0, shift=0.0):
    return {"name": name, "shape": shape, "phase": phase, "scale": scale, "shift": shift}


def case(name, op, settings, sources, function):
    """Evaluates `function(*inputs) -> y` or `-> (y, {extra name: tensor})` and its gradients."""
    tensors = [wave(s["shape"], s["phase"], s["scale"], s["shift"]).requires_grad_() for s in sources]
    y, extra = function(*tensors), {}
    if isinstance(y, tuple):
        y, extra = y
    gradients = torch.autograd.grad(weighted_sum(y), tensors)
    return {
        "name": name,
        "op": op,
        "settings": settings,
        "inputs": sources,
        "output_shape": list(y.shape),
        "output": numbers(y),
        "gradients": [numbers(g) for g in gradients],
        **{key: numbers(value) for key, value in extra.items()},
    }


def maps(x):
    """[N, H, W, C] to PyTorch's [N, C, H, W]; kernels [O, kh, kw, C] likewise."""
    return x.permute(0, 3, 1, 2)


def channels_last(y):
    return y.permute(0, 2, 3, 1)


def convolutions():
    for kernel, stride, padding, x, outputs in [
        ([3, 3], [1, 1], [1, 1], [2, 5, 6, 3], 4),
        ([3, 3], [2, 2], [1, 1], [2, 6, 7, 3], 4),
        ([1, 1], [2, 2], [0, 0], [2, 5, 6, 4], 3),
        ([7, 7], [2, 2], [3, 3], [1, 9, 8, 2], 3),
        ([2, 3], [2, 1], [0, 1], [1, 5, 4, 3], 2),
    ]:
        apply = lambda x, w: channels_last(F.conv2d(maps(x), maps(w), None, stride, padding))
        side = "x".join(map(str, kernel))
        yield case(
            f"conv2d {side} stride {stride} padding {padding}",
            "conv2d",
            {"kernel": kernel, "stride": stride, "padding": padding},
            [source("x", x, 1), source("w", [outputs, *kernel, x[3]], 2)],
            apply,
        )


def batch_norms():
    shape = [3, 2, 4, 3]
    x, affine = source("x", shape, 3, 1.5, 0.4), source("affine", [2, 3], 4, 0.5, 0.7)

    def train(x, affine, residual=None, relu=False):
        mean, variance = torch.zeros(3).double(), torch.ones(3).double()
        y = F.batch_norm(maps(x), mean, variance, *affine, training=True, momentum=0.1, eps=EPSILON)
        y = channels_last(y) if residual is None else channels_last(y) + residual
        rows = x.reshape(-1, 3)
        extra = {
            "batch_mean": rows.mean(0),
            "batch_variance": rows.var(0, correction=0),
            "running_mean_after": mean,  # from 0 with momentum 0.1
            "running_variance_after": variance,  # from 1, of the unbiased variance
        }
        return away_from_kink(y) if relu else y, extra

    def evaluate(x, affine, mean, variance):
        return channels_last(F.batch_norm(maps(x), mean.detach(), variance.detach(), *affine, eps=EPSILON))

    residual = source("residual", shape, 5)
    settings = lambda relu, residual: {"epsilon": EPSILON, "relu": relu, "residual": residual}
    yield case("batch_norm", "batch_norm", settings(False, False), [x, affine], train)
    yield case(
        "batch_norm relu", "batch_norm", settings(True, False), [x, affine],
        lambda x, affine: train(x, affine, relu=True),
    )  # fmt: skip
    yield case(
        "batch_norm relu residual", "batch_norm", settings(True, True), [x, affine, residual],
        lambda x, affine, residual: train(x, affine, residual, relu=True),
    )  # fmt: skip
    pooled = lambda z: channels_last(F.max_pool2d(maps(away_from_kink(z)), 2))
    odd = source("x", [2, 5, 6, 3], 3, 1.5, 0.4)

    def train_pooled(x, affine):
        z, extra = train(x, affine)
        return pooled(z), extra

    yield case("batch_norm_pool", "batch_norm_pool", {"epsilon": EPSILON}, [odd, affine], train_pooled)
    mean, variance = wave([3], 6), wave([3], 7, 0.3, 1.2)
    given = {"running_mean": numbers(mean), "running_variance": numbers(variance)}
    yield case(
        "batch_norm_inference", "batch_norm_inference", settings(False, False) | given, [x, affine],
        lambda x, affine: evaluate(x, affine, mean, variance),
    )  # fmt: skip
    yield case(
        "batch_norm_pool_inference", "batch_norm_pool_inference", {"epsilon": EPSILON} | given, [odd, affine],
        lambda x, affine: pooled(evaluate(x, affine, mean, variance)),
    )  # fmt: skip


def rows():
    x, affine = source("x", [4, 6], 8), source("affine", [2, 6], 9, 0.5, 0.7)
    norm = lambda x, affine: F.layer_norm(x, (6,), *affine, eps=EPSILON)
    settings = {"epsilon": EPSILON}
    yield case("layer_norm", "layer_norm", settings | {"residual": False}, [x, affine], norm)
    yield case(
        "layer_norm residual", "layer_norm", settings | {"residual": True},
        [x, affine, source("residual", [4, 6], 10)],
        lambda x, affine, residual: norm(x + residual, affine),
    )  # fmt: skip
    weights = [source("x", [4, 5], 11), source("w", [3, 5], 12), source("b", [3], 13)]
    for name, act in [("none", lambda z: z), ("relu", away_from_kink), ("gelu", F.gelu)]:
        apply = lambda x, w, b: act(F.linear(x, w, b))
        yield case(f"linear {name}", "linear", {"activation": name}, weights, apply)
    yield case("normalize", "normalize", {}, [source("x", [4, 5], 21)], lambda x: F.normalize(x, eps=1e-12))
    targets = [2, 0, 4, 4, 1]
    yield case(
        "softmax_cross_entropy", "softmax_cross_entropy", {"targets": targets},
        [source("logits", [5, 6], 15, 2.0)],
        lambda z: F.cross_entropy(z, torch.tensor(targets)),
    )  # fmt: skip
    ids = [3, 0, 3, 5, 1, 3]
    yield case(
        "gather", "gather", {"ids": ids}, [source("table", [6, 4], 16)],
        lambda table: F.embedding(torch.tensor(ids), table),
    )  # fmt: skip


def attentions():
    heads, head_dim, offsets = 2, 3, [0, 3, 4, 9]

    def attention(qkv):
        parts = []
        for start, end in zip(offsets, offsets[1:]):
            q, k, v = qkv[start:end].reshape(end - start, 3, heads, head_dim).permute(1, 2, 0, 3)
            y = F.scaled_dot_product_attention(q[None], k[None], v[None])[0]
            parts.append(y.transpose(0, 1).reshape(end - start, heads * head_dim))
        return torch.cat(parts)

    settings = {"heads": heads, "head_dim": head_dim, "offsets": offsets}
    yield case("attention", "attention", settings, [source("qkv", [9, 3 * heads * head_dim], 17)], attention)


def pools():
    kinds = {
        "max": lambda x, k, s, p: F.max_pool2d(x, k, s, p),
        "average": lambda x, k, s, p: F.avg_pool2d(x, k, s, p, count_include_pad=False),
        "l2": lambda x, k, s, p: F.avg_pool2d(x * x, k, s, p, divisor_override=1).sqrt(),
    }
    x = source("x", [2, 5, 6, 3], 18)
    for kernel, stride, padding in [([2, 2], [2, 2], [0, 0]), ([3, 3], [2, 2], [1, 1]), ([3, 2], [1, 2], [1, 0])]:
        for kind, pool in kinds.items():
            apply = lambda x: channels_last(pool(maps(x), kernel, stride, padding))
            settings = {"kind": kind, "kernel": kernel, "stride": stride, "padding": padding}
            yield case(f"pool2d {kind} {kernel} stride {stride} padding {padding}", "pool2d", settings, [x], apply)
    yield case("global_average", "global_average", {}, [x], lambda x: x.mean((1, 2)))


def optimizers():
    """Five steps from wave(7, 30) with the gradient of step t = 1 … 5 equal to wave(7, 30 + t).

    The settings are sums of few powers of two, since the Rust rules hold them in f32 and the comparison in f64 is to
    see no rounding of them; epsilon is large, so that its place in the formula shows.
    """
    lr, epsilon, decay = 1 / 16, 2.0**-10, {"weight_decay": 1 / 8}
    adam = {"lr": lr, "betas": [7 / 8, 1 - 2.0**-10], "eps": epsilon}
    adagrad = {"lr": lr, "eps": epsilon}
    rules = [
        ("sgd", torch.optim.SGD, {"lr": lr}),
        ("sgd", torch.optim.SGD, {"lr": lr, "momentum": 7 / 8}),
        ("sgd", torch.optim.SGD, {"lr": lr, "momentum": 7 / 8, "nesterov": True} | decay),
        ("adamw", torch.optim.AdamW, adam | {"weight_decay": 0.0}),
        ("adamw", torch.optim.AdamW, adam | decay),
        ("adagrad", torch.optim.Adagrad, adagrad),
        ("adagrad", torch.optim.Adagrad, adagrad | decay),
    ]
    for rule, optimizer, settings in rules:
        parameter = wave([7], 30).requires_grad_()
        stepper, after = optimizer([parameter], **settings), []
        for t in range(1, 6):
            parameter.grad = wave([7], 30 + t)
            stepper.step()
            after.append(numbers(parameter))
        yield {"rule": rule, "settings": settings, "after_each_step": after}


def main():
    groups = (convolutions, batch_norms, rows, attentions, pools)
    content = {
        "made_by": f"layers.py with PyTorch {torch.__version__.split('+')[0]}, float64",
        "cases": [c for group in groups for c in group()],
        "optimizers": list(optimizers()),
    }
    write(Path(__file__).with_name("layers.json"), content)


if __name__ == "__main__":
    main()
