#!/usr/bin/env python3
"""Whether steps of training move a text model as PyTorch's do: one batch, again and again, without dropout, on both sides.

    same_steps.py MODEL [--steps N] [--fresh] [--task stsb|nli] [--dropout]

The batch is the first 16 pairs of the STS benchmark, the loss the squared difference of cosine and score; or 32 pairs of NLI and
their classes, both sides from the head that the program draws. The optimizer is AdamW at 2e-5 without a warm-up. Printed is,
over the tensors of the model and its head, how far the change of the weights is from PyTorch's, relative to its norm. Biases of
keys are left out: they move a softmax by a constant, so that their gradient is rounding alone.

With --dropout the weights stay as they are, and both sides pass the batch as many times with dropout of their own: printed are the
mean loss and norm of the gradient of each with their standard errors, which tell whether dropout drops as much of the same.
"""

import csv
import gzip
import json
import os
import tempfile
from pathlib import Path
from statistics import mean, stdev

from fresh_layers import fresh
from side_by_side import bound_threads, options, program, run_quietly

parser = options(__doc__.splitlines()[0], rounds=1)
parser.add_argument("model", type=Path)
parser.add_argument("--steps", type=int, default=30, help="steps of each side (default: 30)")
parser.add_argument("--task", choices=["stsb", "nli"], default="stsb", help="regression or classification (default: stsb)")
parser.add_argument("--dropout", action="store_true", help="compare losses and gradients under dropout, at fixed weights")
parser.add_argument("--fresh", action="store_true", help="begin with all layers of MODEL started anew")
arguments = parser.parse_args()
bound_threads(arguments.threads)

LABELS = ["contradiction", "entailment", "neutral"]
TASKS = {
    "stsb": {"table": "sts-benchmark/train.tsv", "rows": 16, "loss": "cosine_regression", "kind": "scored",
             "texts": ["sentence1", "sentence2"], "aim": 'score = "score"'},
    "nli": {"table": "nli/train.tsv.gz", "rows": 32, "loss": "softmax_classification", "kind": "pairs",
            "texts": ["premise", "hypothesis"], "aim": f'label = "label", classes = {json.dumps(LABELS)}'},
}
TASK = TASKS[arguments.task]
TABLE, ROWS = Path(os.environ["NEARKIN_DATA"]) / TASK["table"], TASK["rows"]
RATE, DECAY = 2e-5, 0.01

RECIPE = """
[encoder]
model = {model}
max_tokens = 128
dropout = {dropout}
[loss.{loss}]
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
rows.{kind} = {{ first = "{texts[0]}", second = "{texts[1]}", {aim} }}
[[evaluate]]
name = "a few rows of it"
table = {{ path = {table}, limit = {rows} }}
rows.{kind} = {{ first = "{texts[0]}", second = "{texts[1]}", {aim} }}
"""


def rust(start, scratch, rate=RATE, steps=arguments.steps):
    """Trains with the program and returns the weights, those of the head among them, and what it wrote of its steps."""
    from safetensors.torch import load_file

    text = RECIPE.format(**TASK | {"model": json.dumps(str(start)), "table": json.dumps(str(TABLE))}, rate=rate, decay=DECAY,
                         steps=steps, dropout=float(arguments.dropout))
    recipe, run = scratch / f"{rate}-{steps}.toml", scratch / f"run-{rate}-{steps}"
    recipe.write_text(text)
    run_quietly([program(not arguments.no_build), "train", recipe, "--out", run, "--threads", str(arguments.threads)])
    weights, head = load_file(run / "model/model.safetensors"), run / "model/head.safetensors"
    weights |= {f"head.{name}": values for name, values in load_file(head).items()} if head.exists() else {}
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return weights, [line for line in lines if "loss" in line]


def batch(model):
    """The texts of either side, tokenized, and what the loss wants of them."""
    import torch

    with (gzip.open(TABLE, "rt") if TABLE.suffix == ".gz" else TABLE.open()) as lines:
        rows = [row for row, _ in zip(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE), range(ROWS))]
    sides = [model.preprocess([row[side] for row in rows]) for side in TASK["texts"]]
    if arguments.task == "nli":
        return sides, torch.tensor([LABELS.index(row["label"]) for row in rows])
    return sides, torch.tensor([float(row["score"]) / 5 for row in rows])


def peer(start, head):
    """Trains with PyTorch and returns the weights before and after, and losses and norms of gradients at fixed weights in place of
    that with dropout; of the classifier, those of `head` are the first."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from sentence_transformers import SentenceTransformer, losses

    torch.set_num_threads(arguments.threads)
    model = SentenceTransformer(str(start), device="cpu")
    model.max_seq_length = 128
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout) and not arguments.dropout:
            module.p = 0.0
    learned = dict(model[0].auto_model.named_parameters())
    if arguments.task == "nli":
        loss = losses.SoftmaxLoss(model, model.get_embedding_dimension(), num_labels=len(LABELS))
        loss.classifier.load_state_dict(head)
        learned |= {f"head.{name}": p for name, p in loss.classifier.named_parameters()}
    else:
        loss = losses.CosineSimilarityLoss(model)
    before = {name: p.detach().clone() for name, p in learned.items()}
    decays = {False: [], True: []}
    for name, parameter in learned.items():
        decays[not ("LayerNorm" in name or name.endswith("bias"))].append(parameter)
    groups = [{"params": decays[True], "weight_decay": DECAY}, {"params": decays[False], "weight_decay": 0.0}]
    optimizer, (sides, aims) = torch.optim.AdamW(groups, lr=RATE), batch(model)
    model.train()
    found = []
    for _ in range(arguments.steps):
        optimizer.zero_grad()
        value = loss([dict(side) for side in sides], aims)
        value.backward()
        norm = torch.nn.utils.clip_grad_norm_(learned.values(), 1.0)
        found.append({"loss": value.item(), "gradient_norm": norm.item()})
        if not arguments.dropout:
            optimizer.step()
    return before, learned, found


def under_dropout(ours, theirs):
    """Prints means and standard errors of both sides."""
    for name in ("loss", "gradient_norm"):
        means = []
        for side in (ours, theirs):
            values = [step[name] for step in side]
            means.append((mean(values), stdev(values) / len(values) ** 0.5))
        (a, e), (b, f) = means
        print(f"{name}: nearkin {a:.6f} ± {e:.6f}, PyTorch {b:.6f} ± {f:.6f}, {(a - b) / (e * e + f * f) ** 0.5:+.1f} standard errors")


def main():
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        start = fresh(arguments.model, scratch) if arguments.fresh else arguments.model
        found, steps = rust(start, scratch, 1e-30 if arguments.dropout else RATE)
        drawn = rust(start, scratch, 1e-30, 1)[0] if arguments.task == "nli" else {}
        head = {name.removeprefix("head."): values for name, values in drawn.items() if name.startswith("head.")}
        before, after, theirs = peer(start, head)
    if arguments.dropout:
        return under_dropout(steps, theirs)
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
