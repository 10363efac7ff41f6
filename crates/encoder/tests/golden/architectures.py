#!/usr/bin/env python3
"""Writes architectures.json: networks of torchvision, timm and facenet-pytorch, and FaceNet's and CASIA's from their papers'
tables, in PyTorch float64 with weights by formula.

    u(name, i) in (-1, 1): the integer hash of i and the FNV-1a hash of the name, see `u` below

Every tensor of a network is u of its name, in the order of PyTorch's layout, with a scale and a shift that follow from its
name and shape (`filling`). Images are u("images", i), channels last. The last layer is replaced by one of 8 outputs,
"embedding". Dropout is off. Recorded are the outputs in evaluation and in training, and for each parameter the sum of its
gradient times u("gradient of NAME", i), where the loss is sum(y * u("loss", i)) in training.

Run with the environment of bench/peers and torchvision, timm and facenet-pytorch (pip install --no-deps):
    python crates/encoder/tests/golden/architectures.py
"""

import json
import math
import types
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from facenet_pytorch import InceptionResnetV1
from torch import nn
from torch.nn import functional as F

OUTPUTS = 8


def u(name, count):
    hashed = 0x811C9DC5
    for byte in name.encode():
        hashed = ((hashed ^ byte) * 0x01000193) & 0xFFFFFFFF
    x = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(hashed)
    for multiplier in (0x7FEB352D, 0x846CA68B):
        x = (x ^ (x >> np.uint32(16))) * np.uint32(multiplier)
    x ^= x >> np.uint32(16)
    return (x.astype(np.float64) + 0.5) / 2.0**31 - 1.0


def tensor(name, shape):
    return torch.from_numpy(u(name, math.prod(shape))).reshape(tuple(shape))


def filling(name, shape):
    """Scale and shift of a tensor."""
    if name.endswith("running_var"):
        return 0.3, 1.0
    if len(shape) > 1:
        return math.sqrt(6 / math.prod(shape[1:])), 0.0
    if name.endswith("weight"):
        return 0.2, 1.0
    return 0.1, 0.0


def renamed(name, head):
    return "embedding" + name[len(head) :] if head and name.startswith(head + ".") else name


def fill(model, head):
    state = {}
    for name, value in model.state_dict().items():
        own = renamed(name, head)
        scale, shift = filling(own, value.shape)
        state[name] = value if name.endswith("num_batches_tracked") else shift + scale * tensor(own, value.shape)
    model.load_state_dict(state)


def case(name, network, model, head="fc", side=64, batch=4, head_settings=None, skip=()):
    model = model.double()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    images = tensor("images", (batch, side, side, 3)).permute(0, 3, 1, 2)
    fill(model, head)
    model.eval()
    with torch.no_grad():
        evaluated = model(images)
    model.train()
    parameters = {n: p for n, p in model.named_parameters() if not n.startswith(tuple(skip) or ("\0",))}
    trained = model(images)
    loss = (trained * tensor("loss", trained.shape)).sum()
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    sums = {}
    for (key, parameter), gradient in zip(parameters.items(), gradients):
        key = renamed(key, head)
        sums[key] = [round_(x) for x in ((gradient * tensor(f"gradient of {key}", parameter.shape)).sum(), gradient.norm())]
    print(name, tuple(trained.shape), sum(p.numel() for p in parameters.values()))
    return {
        "name": name,
        "network": network,
        "head": head_settings or {"dim": OUTPUTS, "normalize": False},
        "side": side,
        "batch": batch,
        "count": sum(p.numel() for p in parameters.values()),
        "evaluated": [round_(x) for x in evaluated.flatten()],
        "trained": [round_(x) for x in trained.detach().flatten()],
        "gradients": sums,
    }


def round_(x):
    return float(f"{float(x):.9g}")


# FaceNet and CASIA, from the tables of the papers.


class Conv(nn.Module):
    """Convolution with a bias, or, with batch norm, without."""

    def __init__(self, inputs, outputs, side, stride=1, norm=False):
        super().__init__()
        if norm:
            self.conv = nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False)
            self.bn = nn.BatchNorm2d(outputs, eps=0.001)
        else:
            self.weight = nn.Parameter(torch.zeros(outputs, inputs, side, side))
            self.bias = nn.Parameter(torch.zeros(outputs))
            self.stride, self.padding = stride, side // 2

    def forward(self, x):
        if hasattr(self, "bn"):
            return F.relu(self.bn(self.conv(x)))
        return F.relu(F.conv2d(x, self.weight, self.bias, self.stride, self.padding))


def norm(x):
    return F.local_response_norm(x, 5, 1e-4, 0.75, 1.0)


def max_pool(x, stride=2):
    return F.max_pool2d(x, 3, stride, 1)


def l2_pool(x, stride=1):
    return (F.avg_pool2d(x * x, 3, stride, 1) * 9).sqrt()


def maxout(x):
    first, second = x.chunk(2, 1)
    return torch.maximum(first, second)


class NN1(nn.Module):
    def __init__(self, width, side):
        super().__init__()
        w = lambda channels: round(channels * width)
        rows = [("1", 3, 64, 7, 2), ("2a", 64, 64, 1, 1), ("2", 64, 192, 3, 1), ("3a", 192, 192, 1, 1), ("3", 192, 384, 3, 1)]
        rows += [("4a", 384, 384, 1, 1), ("4", 384, 256, 3, 1), ("5a", 256, 256, 1, 1), ("5", 256, 256, 3, 1)]
        rows += [("6a", 256, 256, 1, 1), ("6", 256, 256, 3, 1)]
        for name, inputs, outputs, kernel, stride in rows:
            setattr(self, f"conv{name}", Conv(inputs if inputs == 3 else w(inputs), w(outputs), kernel, stride))
        for _ in range(5):
            side = (side + 1) // 2
        self.fc1 = nn.Linear(side * side * w(256), 2 * w(4096))
        self.fc2 = nn.Linear(w(4096), 2 * w(4096))
        self.fc = nn.Linear(w(4096), OUTPUTS)

    def forward(self, x):
        x = norm(max_pool(self.conv1(x)))
        x = max_pool(norm(self.conv2(self.conv2a(x))))
        x = max_pool(self.conv3(self.conv3a(x)))
        x = self.conv6(self.conv6a(self.conv5(self.conv5a(self.conv4(self.conv4a(x))))))
        # Channels last, as the Rust side flattens.
        x = max_pool(x).permute(0, 2, 3, 1).flatten(1)
        return self.fc(maxout(self.fc2(maxout(self.fc1(x)))))


class Inception(nn.Module):
    def __init__(self, inputs, row, batch_norm):
        super().__init__()
        one, reduce3, three, reduce5, five, self.pool, projection = row
        self.stride = 1 if projection else 2
        conv = lambda i, o, side=1, stride=1: Conv(i, o, side, stride, batch_norm)
        self.branch1 = conv(inputs, one) if one else None
        self.branch3_reduce, self.branch3 = conv(inputs, reduce3), conv(reduce3, three, 3, self.stride)
        self.branch5_reduce = conv(inputs, reduce5) if five else None
        self.branch5 = conv(reduce5, five, 5, self.stride) if five else None
        self.projection = conv(inputs, projection) if projection else None
        self.outputs = one + three + five + (projection or inputs)

    def forward(self, x):
        parts = [self.branch1(x)] if self.branch1 else []
        parts.append(self.branch3(self.branch3_reduce(x)))
        if self.branch5:
            parts.append(self.branch5(self.branch5_reduce(x)))
        pooled = l2_pool(x, self.stride) if self.pool == "L2" else max_pool(x, self.stride)
        parts.append(self.projection(pooled) if self.projection else pooled)
        return torch.cat(parts, 1)


NN2 = {
    "3a": (64, 96, 128, 16, 32, "m", 32),
    "3b": (64, 96, 128, 32, 64, "L2", 64),
    "3c": (0, 128, 256, 32, 64, "m", 0),
    "4a": (256, 96, 192, 32, 64, "L2", 128),
    "4b": (224, 112, 224, 32, 64, "L2", 128),
    "4c": (192, 128, 256, 32, 64, "L2", 128),
    "4d": (160, 144, 288, 32, 64, "L2", 128),
    "4e": (0, 160, 256, 64, 128, "m", 0),
    "5a": (384, 192, 384, 48, 128, "L2", 128),
    "5b": (384, 192, 384, 48, 128, "m", 128),
}
NN4 = {**NN2, "5a": (384, 192, 384, 0, 0, "L2", 128), "5b": (384, 192, 384, 0, 0, "m", 128)}


class Inceptions(nn.Module):
    def __init__(self, table, width, batch_norm):
        super().__init__()
        w = lambda x: x if isinstance(x, str) else round(x * width)
        self.conv1 = Conv(3, w(64), 7, 2, batch_norm)
        self.conv2a, self.conv2 = Conv(w(64), w(64), 1, 1, batch_norm), Conv(w(64), w(192), 3, 1, batch_norm)
        inputs, self.names = w(192), []
        for name, row in table.items():
            self.names.append(f"inception{name}")
            setattr(self, self.names[-1], Inception(inputs, [w(x) for x in row], batch_norm))
            inputs = getattr(self, self.names[-1]).outputs
        self.fc = nn.Linear(inputs, OUTPUTS)

    def forward(self, x):
        x = max_pool(norm(self.conv2(self.conv2a(norm(max_pool(self.conv1(x)))))))
        for name in self.names:
            x = getattr(self, name)(x)
        return self.fc(x.mean((2, 3)))


class Casia(nn.Module):
    def __init__(self):
        super().__init__()
        inputs = 3
        for stage, pair in enumerate([(32, 64), (64, 128), (96, 192), (128, 256), (160, 320)], 1):
            for place, outputs in enumerate(pair, 1):
                setattr(self, f"conv{stage}{place}", nn.Conv2d(inputs, outputs, 3, padding=1))
                inputs = outputs
        self.fc = nn.Linear(inputs, OUTPUTS)

    def forward(self, x):
        for stage in range(1, 5):
            x = F.relu(getattr(self, f"conv{stage}2")(F.relu(getattr(self, f"conv{stage}1")(x))))
            x = F.max_pool2d(x, 2, 2, ceil_mode=True)
        return self.fc(self.conv52(F.relu(self.conv51(x))).mean((2, 3)))


def mobilenet():
    model = torchvision.models.mobilenet_v3_small()
    model.classifier[3] = nn.Linear(1024, OUTPUTS)
    return model


def constellation():
    """Inception-v3 with the dense layer and the sigmoid of the constellation paper."""
    model = torchvision.models.inception_v3(num_classes=OUTPUTS, aux_logits=False, init_weights=False)
    plain = type(model).forward
    model.forward = types.MethodType(lambda self, x: torch.sigmoid(plain(self, x)), model)
    return model


def main():
    large = {"stem": "large"}
    residual = lambda blocks, **more: {"resnet": {"blocks": blocks, **large, **more}}
    v3 = {"dim": OUTPUTS, "normalize": False, "activation": "sigmoid"}
    own = {"dim": 512, "normalize": True, "linear": False}
    models = torchvision.models
    cases = [
        case("resnet18", residual([2] * 4), models.resnet18(num_classes=OUTPUTS)),
        case("resnet34", residual([3, 4, 6, 3]), models.resnet34(num_classes=OUTPUTS)),
        case("resnet50", residual([3, 4, 6, 3], bottleneck=True), models.resnet50(num_classes=OUTPUTS)),
        case(
            "googlenet",
            {"googlenet": {"dropout": 0.0}},
            models.googlenet(num_classes=OUTPUTS, aux_logits=False, init_weights=False),
        ),
        case("inception_v3", {"inception_v3": {}}, constellation(), side=107, head_settings=v3),
        case(
            "inception_resnet_v1",
            {"inception_resnet_v1": {"dropout": 0.0}},
            InceptionResnetV1(),
            head="",
            side=107,
            head_settings=own,
        ),
        case("mobilenet_v3", {"mobilenet_v3": {"dropout": 0.0}}, mobilenet(), head="classifier.3"),
        case(
            "vit_small_patch16",
            {"vit": {}},
            timm.create_model("vit_small_patch16_224", img_size=32, num_classes=OUTPUTS),
            head="head",
            side=32,
        ),
        case("nn1", {"facenet": {"layers": "nn1", "width": 0.125}}, NN1(0.125, 41), side=41),
        case("nn2", {"facenet": {"layers": "nn2", "width": 0.25}}, Inceptions(NN2, 0.25, False), side=49),
        case(
            "nn4",
            {"facenet": {"layers": "nn4", "width": 0.25, "batch_norm": True}},
            Inceptions(NN4, 0.25, True),
            side=64,
        ),
        case("casia", {"casia": {"dropout": 0.0}}, Casia(), side=36),
    ]
    lines = ",\n".join(json.dumps(case) for case in cases)
    versions = f"PyTorch {torch.__version__.split('+')[0]}, torchvision {torchvision.__version__.split('+')[0]}, timm {timm.__version__}"
    content = f'{{\n"made_by": "architectures.py with {versions}, float64",\n"cases": [\n{lines}\n]\n}}\n'
    Path(__file__).with_name("architectures.json").write_text(content)


if __name__ == "__main__":
    main()
