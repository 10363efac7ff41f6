#!/usr/bin/env python3
"""What training on images teaches: nearkin beside pytorch-metric-learning, with the same network, batches, steps and seeds.

    train_images.py [--only TASK]

Both sides train a network, the four-layer convnet but for faces-nn2, from the same random weights, of a seed, with AdamW,
warm-up and cosine decay, on batches of P classes with K images that each side draws by itself; half of the images are mirrored
where mirrors keep their class. Losses have pytorch-metric-learning's parameters. The weights of the last step count: those of
PyTorch are put into a nearkin model folder, and `nearkin evaluate` measures both on classes that no run has seen. Printed is
the mean over the seeds with its standard deviation, and that of the differences within a seed.

    omniglot   characters of three alphabets; trained on those of five others
    orl        people 31 to 40; trained on people 1 to 30
    cars196    cars 99 to 196; trained on cars 1 to 98
    faces      people of Labeled Faces in the Wild, N to Z; trained on those from A to M, all of four images or more
    faces-nn2  the same by FaceNet's NN2 with batch norms, a quarter of its channels and of its pixels a side

`--first-step` compares gradients instead: both sides get one batch of random images, nearkin takes a step of plain gradient
descent, and what its weights moved is put beside PyTorch's gradient in 32 and in 64 bits. No data set is needed.
"""

import json
import math
import os
import shutil
import sys
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

from side_by_side import ROOT, bound_threads, options, program, run_quietly

parser = options(__doc__.splitlines()[0], rounds=1)
parser.epilog = "--only takes names of tasks, or TASK/LOSS, with commas between them"
parser.add_argument("--seeds", type=int, default=3, help="runs of each side (default: 3)")
parser.add_argument("--scale", type=float, default=1.0, help="factor on the steps of every task (default: 1)")
parser.add_argument("--in-turns", action="store_true", help="PyTorch's classes and images come in turns, as nearkin's do")
parser.add_argument("--first-step", action="store_true", help="compare the gradients of one batch instead")
parser.add_argument("--peer", metavar="JSON", help="one run of the other side; used by the script itself")
arguments = parser.parse_args()
bound_threads(arguments.threads)

DATA = Path(os.environ.get("NEARKIN_DATA", "."))
WIDTHS, DIMENSION, WARM_UP = [64, 64, 64, 64], 128, 20
TASKS = {
    "omniglot": {
        "data": "omniglot/images.zip", "test": ["Greek/", "Early_Aramaic/", "Tagalog/"], "side": 28, "channels": 1,
        "classes": 32, "steps": 800, "rate": 2e-3, "flip": False,
        "losses": ["multi_similarity", "triplet_margin", "contrastive"],
    },
    "orl": {
        "data": "orl-faces/images.zip", "test": [f"s{person}" for person in range(31, 41)], "side": 48, "channels": 1,
        "classes": 15, "steps": 300, "rate": 1e-3, "flip": True,
        "losses": ["multi_similarity", "triplet_margin", "contrastive"],
    },
    "cars196": {
        "data": "cars196/images.zip", "test": ["099", "1"], "side": 64, "channels": 3,
        "classes": 16, "steps": 400, "rate": 1e-3, "flip": True,
        "losses": ["multi_similarity", "normalized_softmax", "triplet_margin"],
    },
    "faces": {
        "data": "lfw/images.zip", "test": list("NOPQRSTVWXYZ"), "side": 56, "channels": 3,
        "classes": 32, "steps": 200, "rate": 1e-3, "flip": True, "losses": ["multi_similarity"],
    },
}  # fmt: skip
NN2 = '[network.facenet]\nlayers = "nn2"\nwidth = 0.25\nbatch_norm = true'
TASKS["faces-nn2"] = TASKS["faces"] | {"network": NN2}
OF_A_CLASS = 4
LOSSES = {
    "multi_similarity": "[loss.multi_similarity]",
    "triplet_margin": "[loss.triplet_margin]\nmargin = 0.2\n[distance.l2]\n[miner.batch_hard]",
    "contrastive": "[loss.contrastive]\nsquared = false\n[distance.l2]\n[miner.all]",
    "normalized_softmax": "[loss.normalized_softmax]",
}

RECIPE = """
seed = {seed}
[data.source.zip]
path = {data}
[data.split.prefix]
test = {test}
[sampler.pk]
classes = {classes}
per_class = 4
[input]
height = {side}
width = {side}
color = "{color}"
fit = "stretch"
normalization = "centered"
[augment]
flip = {flip}
{network}
[head]
dim = 128
normalize = true
{loss}
[pretrained]
weights = {weights}
{optimizer}
[train]
steps = {steps}
evaluate_every = {steps}
select = "last"
"""

ADAMW = """[optimizer.adamw]
rate = {rate}
weight_decay = 0.0
[schedule]
warmup = 20
decay = "cosine"
"""
SGD = """[optimizer.sgd]
rate = {rate}
momentum = 0.0
weight_decay = 0.0
[schedule]
warmup = 0
decay = "constant"
"""


def nn2():
    """NN2 as above with the names that nearkin gives its weights."""
    import torch

    sys.path.insert(0, str(ROOT / "crates/encoder/tests/golden"))
    import facenet

    # The gradient of a root has no end at zero, where all of a window is zero.
    facenet.l2_pool = lambda x, stride=1: (9 * torch.nn.functional.avg_pool2d(x * x, 3, stride, 1) + 1e-12).sqrt()

    class Embedder(facenet.Inceptions):
        def __init__(self):
            super().__init__(facenet.NN2, 0.25, True, DIMENSION)
            self.embedding, self.fc = self.fc, torch.nn.Identity()

        def forward(self, x):
            return torch.nn.functional.normalize(self.embedding(super().forward(x)))

    return Embedder()


def network(task):
    """The network with the names that nearkin gives its weights."""
    from torch import nn

    if "network" in task:
        return nn2()

    class Block(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(outputs)

        def forward(self, x):
            return nn.functional.max_pool2d(self.norm(self.conv(x)).relu(), 2)

    class Embedder(nn.Module):
        def __init__(self):
            super().__init__()
            channels = [task["channels"], *WIDTHS]
            for index in range(len(WIDTHS)):
                setattr(self, f"block{index}", Block(channels[index], channels[index + 1]))
            self.embedding = nn.Linear(WIDTHS[-1] * (task["side"] >> len(WIDTHS)) ** 2, DIMENSION)

        def forward(self, x):
            for index in range(len(WIDTHS)):
                x = getattr(self, f"block{index}")(x)
            positions_first = x.permute(0, 2, 3, 1).flatten(1)  # as nearkin has them
            return nn.functional.normalize(self.embedding(positions_first))

    return Embedder()


def save(model, path):
    from safetensors.torch import save_file

    weights = {name: w.contiguous() for name, w in model.state_dict().items() if "num_batches" not in name}
    save_file(weights, path)


def training_images(task):
    """The images of classes that are not for the test, in [-1, 1], and their labels."""
    import numpy
    import torch
    from PIL import Image

    images, labels, numbers = [], [], {}
    with zipfile.ZipFile(DATA / task["data"]) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith((".png", ".jpg")) or name.startswith(tuple(task["test"])):
                continue
            with archive.open(name) as file:
                image = Image.open(file).convert("L" if task["channels"] == 1 else "RGB")
                image = image.resize((task["side"], task["side"]), Image.Resampling.BILINEAR)
            images.append(numpy.asarray(image).reshape(task["side"], task["side"], task["channels"]))
            labels.append(numbers.setdefault(name.rsplit("/", 1)[0], len(numbers)))
    pixels = torch.from_numpy(numpy.stack(images)).permute(0, 3, 1, 2)
    return pixels.float() / 127.5 - 1, labels


def peer_loss(name, classes):
    """The loss of pytorch-metric-learning, and its miner."""
    from pytorch_metric_learning import losses, miners

    return {
        "multi_similarity": lambda: (losses.MultiSimilarityLoss(), miners.MultiSimilarityMiner()),
        "triplet_margin": lambda: (losses.TripletMarginLoss(margin=0.2), miners.BatchHardMiner()),
        "contrastive": lambda: (losses.ContrastiveLoss(), None),
        "normalized_softmax": lambda: (losses.NormalizedSoftmaxLoss(classes, DIMENSION), None),
    }[name]()


def batches(of_class, classes, draws):
    """Items of P classes, K of each: drawn anew for every batch, or all classes and all images of a class in turns."""
    waiting, images = [], {c: [] for c in of_class}
    while True:
        if not arguments.in_turns:
            chosen = draws.choice(len(of_class), classes, replace=False)
            yield [item for c in chosen for item in draws.choice(of_class[c], OF_A_CLASS, replace=False)]
            continue
        if len(waiting) < classes:  # those still to come are late in the next turn, so that no class is twice in a batch
            turn = [c for c in draws.permutation(len(of_class)) if c not in waiting]
            waiting = waiting + turn + waiting
        chosen, waiting = waiting[:classes], waiting[classes:]
        for c in chosen:
            if len(images[c]) < OF_A_CLASS:
                images[c] = list(draws.permutation(of_class[c]))
        yield [images[c].pop() for c in chosen for _ in range(OF_A_CLASS)]


def train_peer(job):
    """One run of the PyTorch side: from the weights at `start` to those at `out`."""
    import numpy
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(job["seed"])
    draws = numpy.random.default_rng(job["seed"])
    task, steps = TASKS[job["task"]] | {"data": job["data"]}, job["steps"]
    images, labels = training_images(task)
    of_class = defaultdict(list)
    for item, label in enumerate(labels):
        of_class[label].append(item)
    model = network(task)
    model.load_state_dict(load_file(job["start"]), strict=False)
    loss, miner = peer_loss(job["loss"], len(of_class))
    optimizer = torch.optim.AdamW([*model.parameters(), *loss.parameters()], lr=task["rate"], weight_decay=0.0)
    factor = lambda step: min((step + 1) / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * max(step - WARM_UP, 0) / (steps - WARM_UP)))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    for _, items in zip(range(steps), batches(of_class, task["classes"], draws)):
        batch, targets = images[items], torch.tensor([labels[item] for item in items])
        if task["flip"]:
            mirrored = torch.from_numpy(draws.random(len(items)) < 0.5)
            batch[mirrored] = batch[mirrored].flip(3)
        optimizer.zero_grad()
        vectors = model(batch)
        loss(vectors, targets, miner(vectors, targets) if miner else None).backward()
        optimizer.step()
        schedule.step()
    save(model, job["out"])


def data_of(task, scratch):
    """The archive of a task, or of faces a copy without the people whose images make no batch."""
    if not task.startswith("faces"):
        return str(DATA / TASKS[task]["data"])
    path, items = scratch / "faces.zip", defaultdict(list)
    if not path.exists():
        with zipfile.ZipFile(DATA / TASKS[task]["data"]) as archive, zipfile.ZipFile(path, "w") as copy:
            for name in sorted(archive.namelist()):
                items[name.rsplit("/", 1)[0]].append(name)
            for name in (name for names in items.values() if len(names) >= OF_A_CLASS for name in names):
                copy.writestr(name, archive.read(name))
    return str(path)


def start_of(task, seed, scratch):
    """The file of the weights that both sides begin with."""
    import torch

    path = scratch / f"{task}-{seed}.safetensors"
    if not path.exists():
        torch.manual_seed(seed)
        save(network(TASKS[task]), path)
    return path


def train_rust(job, scratch):
    """Trains with the program and returns the model's folder."""
    task = TASKS[job["task"]] | {"data": job["data"]}
    recipe = scratch / "recipe.toml"
    recipe.write_text(RECIPE.format(
        seed=job["seed"], data=json.dumps(task["data"]), test=json.dumps(task["test"]), classes=task["classes"],
        side=task["side"], color="gray" if task["channels"] == 1 else "rgb", flip=json.dumps(task["flip"]),
        loss=LOSSES[job["loss"]], weights=json.dumps(job["start"]), steps=job["steps"],
        network=task.get("network", "[network.convnet]"),
        optimizer=task.get("optimizer", ADAMW).format(rate=task["rate"]),
    ))  # fmt: skip
    run = Path(tempfile.mkdtemp(dir=scratch)) / "run"
    run_quietly([program(not arguments.no_build), "train", recipe, "--out", run, "--threads", arguments.threads])
    return run / "model"


def scores(folder):
    """Recall@1 and MAP@R of the test part, in percent."""
    command = [program(not arguments.no_build), "evaluate", folder, "--json", "--threads", arguments.threads]
    found = json.loads(run_quietly(command))["model"]["retrieval"]
    return {"Recall@1": 100 * found["at"][0]["recall_at_k"]["value"], "MAP@R": 100 * found["map_at_r"]["value"]}


def one_seed(task, loss, seed, scratch):
    """The scores of both sides."""
    start = start_of(task, seed, scratch)
    steps = max(WARM_UP + 1, round(TASKS[task]["steps"] * arguments.scale))
    out = scratch / "peer.safetensors"
    job = {"task": task, "loss": loss, "seed": seed, "steps": steps, "start": str(start), "out": str(out)}
    job["data"] = data_of(task, scratch)
    ours = train_rust(job, scratch)
    command = [sys.executable, __file__, "--peer", json.dumps(job), "--threads", arguments.threads]
    run_quietly(command + ["--in-turns"] * arguments.in_turns)
    theirs = ours.with_name("peer")
    shutil.copytree(ours, theirs)
    shutil.copyfile(out, theirs / "model.safetensors")
    found = {"nearkin": scores(ours), "peer": scores(theirs)}
    print(f"{task}/{loss} seed {seed}: {found}", file=sys.stderr, flush=True)
    return found


STEP = 1000.0  # so far that the weights before are lost in rounding beside the gradient, not the other way around


def random_images(task, scratch):
    """A zip archive of one batch to train with, and of two classes to test."""
    import numpy
    from PIL import Image

    draws, path = numpy.random.default_rng(0), scratch / "random.zip"
    classes = [f"c{number:02}" for number in range(task["classes"])] + task["test"]
    with zipfile.ZipFile(path, "w") as archive:
        for name in (f"{label}/{item}.png" for label in classes for item in range(OF_A_CLASS)):
            with archive.open(name, "w") as file:
                Image.fromarray(draws.integers(0, 256, (task["side"], task["side"]), dtype=numpy.uint8)).save(file, "png")
    return path


def first_step(loss, scratch):
    """The largest relative difference of a weight's gradient from PyTorch's in 64 bits: nearkin's, and PyTorch's in 32 bits."""
    import torch
    from safetensors.torch import load_file

    task = TASKS["random"] = {
        "test": ["t0", "t1"], "side": 28, "channels": 1, "classes": 32, "rate": STEP, "flip": False, "optimizer": SGD,
    }  # fmt: skip
    task["data"] = str(random_images(task, scratch))
    start = start_of("random", 0, scratch)
    before = load_file(start)
    job = {"task": "random", "loss": loss, "seed": 0, "steps": 1, "start": str(start), "data": task["data"]}
    after = load_file(train_rust(job, scratch) / "model.safetensors")
    images, labels = training_images(task)
    gradients = {}
    for kind in (torch.float32, torch.float64):
        model = network(task)
        model.load_state_dict(before, strict=False)
        vectors, targets = model.to(kind)(images.to(kind)), torch.tensor(labels)
        criterion, miner = peer_loss(loss, task["classes"])
        criterion(vectors, targets, miner(vectors, targets) if miner else None).backward()
        gradients[kind] = {name: weight.grad.double() for name, weight in model.named_parameters()}
    exact = gradients[torch.float64]
    apart = lambda of: max(((of(name) - g).norm() / g.norm()).item() for name, g in exact.items())
    ours = apart(lambda name: (before[name].double() - after[name].double()) / STEP)
    return ours, apart(lambda name: gradients[torch.float32][name])


def spread(numbers):
    return f"{mean(numbers):.2f} ± {stdev(numbers) if len(numbers) > 1 else 0:.2f}"


def main():
    if arguments.peer:
        return train_peer(json.loads(arguments.peer))
    if arguments.first_step:
        for loss in ("multi_similarity", "triplet_margin", "contrastive"):
            with tempfile.TemporaryDirectory() as scratch:
                ours, theirs = first_step(loss, Path(scratch))
            print(f"{loss:20} nearkin {ours:.1e}  PyTorch, 32 bits {theirs:.1e}")
        return
    wanted = arguments.only.split(",") if arguments.only else list(TASKS)
    works = [(t, l) for t, task in TASKS.items() for l in task["losses"] if t in wanted or f"{t}/{l}" in wanted]
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for task, loss in works:
            found[f"{task}/{loss}"] = [one_seed(task, loss, seed, Path(scratch)) for seed in range(arguments.seeds)]
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"{'task':32}{'':10}{'nearkin':>16}{'PML':>16}{'difference':>16}")
    for name, seeds in found.items():
        for measure in ("Recall@1", "MAP@R"):
            ours, theirs = ([seed[side][measure] for seed in seeds] for side in ("nearkin", "peer"))
            cells = [spread(ours), spread(theirs), spread([a - b for a, b in zip(ours, theirs)])]
            print(f"{name:32}{measure:10}{cells[0]:>16}{cells[1]:>16}{cells[2]:>16}")


if __name__ == "__main__":
    main()
