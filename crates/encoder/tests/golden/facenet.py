"""FaceNet's NN1, NN2 and NN4 in PyTorch, from the tables of the paper; golden values and benchmarks take them from here."""

import torch
from torch import nn
from torch.nn import functional as F


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
    def __init__(self, width, side, dim=8):
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
        self.fc = nn.Linear(w(4096), dim)

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
    def __init__(self, table, width, batch_norm, dim=8):
        super().__init__()
        w = lambda x: x if isinstance(x, str) else round(x * width)
        self.conv1 = Conv(3, w(64), 7, 2, batch_norm)
        self.conv2a, self.conv2 = Conv(w(64), w(64), 1, 1, batch_norm), Conv(w(64), w(192), 3, 1, batch_norm)
        inputs, self.names = w(192), []
        for name, row in table.items():
            self.names.append(f"inception{name}")
            setattr(self, self.names[-1], Inception(inputs, [w(x) for x in row], batch_norm))
            inputs = getattr(self, self.names[-1]).outputs
        self.fc = nn.Linear(inputs, dim)

    def forward(self, x):
        x = max_pool(norm(self.conv2(self.conv2a(norm(max_pool(self.conv1(x)))))))
        for name in self.names:
            x = getattr(self, name)(x)
        return self.fc(x.mean((2, 3)))
