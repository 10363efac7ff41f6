#!/usr/bin/env python3
"""Whether steps of training move a text model as PyTorch's do: one batch, again and again, without dropout, on both sides.

    same_steps.py MODEL [--steps N] [--fresh]

The batch is the first 16 pairs of the STS benchmark, the loss the squared difference of cosine and score, the optimizer AdamW at 2e-5
without a warm-up. Printed is, over the tensors of the model, how far the change of the weights is from PyTorch's, relative to
its norm. Biases of keys are left out: they move a softmax by a constant, so that their gradient is rounding alone.
"""

import csv
import json
import os
import tempfile
from pathlib import Path

from fresh_layers import fresh
from side_by_side import bound_threads, options, program, run_quietly

parser = options(__doc__.splitlines()[0], rounds=1)
parser.add_argument("model", type=Path)
parser.add_argument("--steps", type=int, default=30, help="steps of each side (default: 30)")
parser.add_argument("--fresh", action="store_true", help="begin with all layers of MODEL started anew")
arguments = parser.parse_args()
bound_threads(arguments.threads)

TABLE = Path(os.environ["NEARKIN_DATA"]) / "sts-benchmark/train.tsv"
ROWS = 16
RATE, DECAY = 2e-5, 0.01

RECIPE = """
[encoder]
model = {model}
max_tokens = 128
dropout = 0.0
[loss.cosine_regression]
[batches]
size = {rows}
[optimizer.adamw]
rate = {rate}
weight_decay = {decay}
[schedule]
warmup_share = 0.0
decay = "constant"
[train]
steps = {steps}
epochs = 1000000
evaluate_every = {steps}
select = "last"
[[data]]
name = "data"
table = {{ path = {table}, limit = {rows} }}
rows.scored = {{ first = "sentence1", second = "sentence2", score = "score" }}
[[evaluate]]
name = "a few rows of it"
table = {{ path = {table}, limit = {rows} }}
rows.scored = {{ first = "sentence1", second = "sentence2", score = "score" }}
"""


def rust(start, scratch):
    """Trains with the program and returns the weights."""
    from safetensors.torch import load_file

    text = RECIPE.format(model=json.dumps(str(start)), table=json.dumps(str(TABLE)), rows=ROWS, rate=RATE,
                         decay=DECAY, steps=arguments.steps)
    recipe, run = scratch / "recipe.toml", scratch / "run"
    recipe.write_text(text)
    run_quietly([program(not arguments.no_build), "train", recipe, "--out", run, "--threads", str(arguments.threads)])
    return load_file(run / "model/model.safetensors")


def peer(start):
    """Trains with PyTorch and returns the weights before and after."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from sentence_transformers import SentenceTransformer, losses

    torch.set_num_threads(arguments.threads)
    model = SentenceTransformer(str(start), device="cpu")
    model.max_seq_length = 128
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    network = model[0].auto_model
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    with TABLE.open() as lines:
        rows = [row for row, _ in zip(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE), range(ROWS))]
    sides = [model.preprocess([row[side] for row in rows]) for side in ("sentence1", "sentence2")]
    scores = torch.tensor([float(row["score"]) / 5 for row in rows])
    decays = {False: [], True: []}
    for name, parameter in network.named_parameters():
        decays[not ("LayerNorm" in name or name.endswith("bias"))].append(parameter)
    groups = [{"params": decays[True], "weight_decay": DECAY}, {"params": decays[False], "weight_decay": 0.0}]
    optimizer, loss = torch.optim.AdamW(groups, lr=RATE), losses.CosineSimilarityLoss(model)
    model.train()
    for _ in range(arguments.steps):
        optimizer.zero_grad()
        loss([dict(side) for side in sides], scores).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return before, dict(network.named_parameters())


def main():
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        start = fresh(arguments.model, scratch) if arguments.fresh else arguments.model
        found = rust(start, scratch)
        before, after = peer(start)
    apart = {}
    for name, start in before.items():
        if name.endswith("attention.self.key.bias") or name.startswith("pooler."):
            continue
        change = (after[name].detach() - start).double()
        apart[name] = ((found[name] - start).double() - change).norm().item() / change.norm().item()
    worst = max(apart, key=apart.get)
    middle = sorted(apart.values())[len(apart) // 2]
    if arguments.json:
        print(json.dumps({"steps": arguments.steps, "worst": apart[worst], "tensor": worst, "median": middle}))
    else:
        print(f"{arguments.steps} steps: median {middle:.1e}, worst {apart[worst]:.1e} ({worst})")


if __name__ == "__main__":
    main()
