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
from facenet import NN1, NN2, NN4, Inceptions
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


def alexnet(side):
    """torchvision's with fewer features, for a map that its adaptive average would otherwise stretch."""
    model = torchvision.models.alexnet()
    model.avgpool = nn.Identity()
    with torch.no_grad():
        places = model.features(torch.zeros(1, 3, side, side)).numel()
    for place, (inputs, outputs) in {1: (places, 48), 4: (48, 48), 6: (48, OUTPUTS)}.items():
        model.classifier[place] = nn.Linear(inputs, outputs)
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
        case(
            "alexnet",
            {"alexnet": {"layout": "torchvision", "hidden": 48, "dropout": 0.0}},
            alexnet(127),
            head="classifier.6",
            side=127,
        ),
        case("casia", {"casia": {"dropout": 0.0}}, Casia(), side=36),
    ]
    lines = ",\n".join(json.dumps(case) for case in cases)
    versions = f"PyTorch {torch.__version__.split('+')[0]}, torchvision {torchvision.__version__.split('+')[0]}, timm {timm.__version__}"
    content = f'{{\n"made_by": "architectures.py with {versions}, float64",\n"cases": [\n{lines}\n]\n}}\n'
    Path(__file__).with_name("architectures.json").write_text(content)


if __name__ == "__main__":
    main()
