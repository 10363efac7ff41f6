#!/usr/bin/env python3
"""What training on text teaches: nearkin beside sentence-transformers' trainer, with the same model, data, batches and steps.

    learn_text.py MODEL [--only TASK] [--same-draws]

Both sides train with AdamW at 2e-5, a warm-up over a tenth of the steps, linear decay, clipping at 1, dropout and at most 128
tokens, each with draws of its own; the weights of the last step count. `nearkin evaluate` measures the folders of both on texts
that no run has seen. Printed is the mean over the seeds with its standard deviation.

With --same-draws the trainer gets what the program drew, the order of the data and the head of the classifier, and the program's
rates, as its own warm-up is behind by a step. With --no-dropout besides nothing is left that chance decides.

    stsb       regression on the STS benchmark from MODEL; Spearman of the cosine on its test part
    nli        classification on NLI with all layers of MODEL started anew; Spearman on the STS benchmark's dev part
    nli-stsb   the same, then regression on the STS benchmark; Spearman on its test part
    fresh-stsb regression alone, with all layers started anew, beside which nli-stsb shows what its first stage is worth
    free-nli, free-nli-stsb, free-stsb  the same from MODEL without the module that scales its vectors to unit length, its layers
               kept, with fifty times the rate for the classifier
    wikisec    triplets of Wikipedia sections from MODEL; accuracy on triplets of other articles
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, stdev

from fresh_layers import fresh
from side_by_side import bound_threads, example, options, program, run_quietly

LABELS = ["contradiction", "entailment", "neutral"]
RATE = 2e-5

parser = options(__doc__.splitlines()[0], rounds=1)
parser.add_argument("model", type=Path)
parser.epilog = "--only takes names of tasks with commas between them"
parser.add_argument("--seeds", type=int, default=3, help="runs of each side (default: 3)")
parser.add_argument("--first", type=int, default=0, help="the first of the seeds (default: 0)")
parser.add_argument("--scale", type=float, default=1.0, help="factor on the steps of every task (default: 1)")
parser.add_argument("--no-dropout", action="store_true", help="train both sides without dropout")
parser.add_argument("--same-draws", action="store_true", help="give the trainer the program's order, head and rates")
parser.add_argument("--side", choices=["nearkin", "st"], help="one side alone")
parser.add_argument("--peer", metavar="JSON", help="one run of the other side; used by the script itself")
arguments = parser.parse_args()
bound_threads(arguments.threads)

DATA = Path(os.environ["NEARKIN_DATA"])
STSB = {"table": "sts-benchmark/train.tsv", "kind": "scored", "batch": 16, "steps": 360,
        "columns": {"first": "sentence1", "second": "sentence2", "score": "score"}}
NLI = {"table": "nli/train.tsv.gz", "kind": "pairs", "batch": 32, "steps": 400,
       "columns": {"first": "premise", "second": "hypothesis", "label": "label", "classes": LABELS}}
WIKI = {"table": "wikipedia-sections/train.tsv.gz", "kind": "triplets", "batch": 16, "steps": 200,
        "columns": {"anchor": "anchor", "positive": "positive", "negative": "negative"}}
# A classifier over the vectors of a trained model has more to learn than the model.
QUICK = {**NLI, "head": 50.0}
LOSS = {"scored": "cosine_regression", "pairs": "softmax_classification", "triplets": "triplet_euclidean"}
STSB_TEST = ["sts-benchmark/test.tsv", "sts"]
STSB_DEV = ["sts-benchmark/dev.tsv", "sts"]
WIKI_TEST = ["wikipedia-sections/test.tsv.gz", "triplets"]
# Each with the weights it starts from, its stages, and what is measured.
TASKS = {
    "stsb": ("model", [STSB], STSB_TEST),
    "nli": ("fresh", [NLI], STSB_DEV),
    "nli-stsb": ("fresh", [NLI, STSB], STSB_TEST),
    "fresh-stsb": ("fresh", [STSB], STSB_TEST),
    "free-nli": ("free", [QUICK], STSB_DEV),
    "free-nli-stsb": ("free", [QUICK, STSB], STSB_TEST),
    "free-stsb": ("free", [STSB], STSB_TEST),
    "wikisec": ("model", [WIKI], WIKI_TEST),
}

RECIPE = """
seed = {seed}
[encoder]
model = {model}
max_tokens = 128
dropout = {dropout}
[loss.{loss}]
[batches]
size = {batch}
[optimizer.adamw]
rate = {rate}
[train]
steps = {steps}
epochs = 1000
evaluate_every = {steps}
select = "last"
{rates}
[[data]]
name = "data"
table = {{ path = {table} }}
rows.{kind} = {{ {columns} }}
[[evaluate]]
name = "a few rows of it"
table = {{ path = {table}, limit = 64 }}
rows.{kind} = {{ {columns} }}
"""


def rust(stage, model, seed, scratch, rate=RATE, count=None):
    """Trains with the program and returns the model's folder."""
    inline = ", ".join(f"{key} = {json.dumps(value)}" for key, value in stage["columns"].items())
    text = RECIPE.format(
        seed=seed, rate=rate, model=json.dumps(str(model)), loss=LOSS[stage["kind"]], batch=stage["batch"],
        steps=count or steps(stage), dropout=float(not arguments.no_dropout),
        rates="rates = { loss = %s }" % stage["head"] if "head" in stage else "",
        table=json.dumps(str(DATA / stage["table"])), kind=stage["kind"], columns=inline,
    )
    recipe, run = Path(tempfile.mkstemp(suffix=".toml", dir=scratch)[1]), Path(tempfile.mkdtemp(dir=scratch))
    recipe.write_text(text)
    run_quietly([program(not arguments.no_build), "train", recipe, "--out", run / "run", "--threads", str(arguments.threads)])
    return run / "run" / "model"


def peer(stage, model, seed, scratch):
    """Trains with this script in a process of its own and returns the model's folder."""
    out = Path(tempfile.mkdtemp(dir=scratch))
    job = {"stage": stage, "model": str(model), "seed": seed, "out": str(out), "steps": steps(stage)}
    if arguments.same_draws and stage["kind"] == "pairs":
        # A run whose rate moves no weight keeps the head as it was drawn.
        job["head"] = str(rust(stage, model, seed, scratch, 1e-30, 1) / "head.safetensors")
    run_quietly([sys.executable, __file__, arguments.model, "--peer", json.dumps(job), "--threads", arguments.threads]
                + ["--no-dropout"] * arguments.no_dropout + ["--same-draws"] * arguments.same_draws)
    return out


def steps(stage):
    return max(1, round(stage["steps"] * arguments.scale))


def rows(stage):
    """The columns of a table, cell by cell."""
    path = DATA / stage["table"]
    with (gzip.open(path, "rt") if path.suffix == ".gz" else path.open()) as lines:
        header = next(lines).rstrip("\n").split("\t")
        table = [dict(zip(header, line.rstrip("\n").split("\t"))) for line in lines]
    names = [name for key, name in stage["columns"].items() if key != "classes"]
    columns = {name: [row[name] for row in table] for name in names}
    if "label" in columns:
        columns["label"] = [LABELS.index(label) for label in columns["label"]]
    if "score" in columns:
        columns["score"] = [float(score) / 5 for score in columns["score"]]
    return columns


def unscaled(model, scratch):
    """A copy of a folder without the module that scales vectors to unit length."""
    from sentence_transformers import SentenceTransformer

    modules = [module for module in SentenceTransformer(str(model), device="cpu") if type(module).__name__ != "Normalize"]
    out = Path(scratch) / "unscaled"
    SentenceTransformer(modules=modules, device="cpu").save(str(out))
    return out


def train_peer(job):
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from datasets import Dataset
    from safetensors.torch import load_file
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments, losses

    torch.set_num_threads(arguments.threads)
    stage = job["stage"]
    model = SentenceTransformer(job["model"], device="cpu")
    model.max_seq_length = 128
    if arguments.no_dropout:
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    columns = rows(stage)
    if arguments.same_draws:
        count = str(len(columns[next(iter(columns))]))
        binary = example("nearkin", "peer_order", build=False)
        order = subprocess.check_output([binary, str(job["seed"]), "data", count]).split()
        torch.utils.data.RandomSampler.__iter__ = lambda _: map(int, order)
    torch.manual_seed(job["seed"])
    if stage["kind"] == "pairs":
        loss = losses.SoftmaxLoss(model, model.get_embedding_dimension(), num_labels=len(LABELS))
        if "head" in job:
            loss.classifier.load_state_dict(load_file(job["head"]))
    elif stage["kind"] == "scored":
        loss = losses.CosineSimilarityLoss(model)
    else:
        euclidean = losses.TripletDistanceMetric.EUCLIDEAN
        loss = losses.TripletLoss(model, distance_metric=euclidean, triplet_margin=1.0)
    warmup, Trainer = job["steps"] // 10, SentenceTransformerTrainer
    if arguments.same_draws:
        warmup = -(-job["steps"] // 10)
        Trainer = with_rates(Trainer, warmup)
    with tempfile.TemporaryDirectory() as scratch:
        settings = SentenceTransformerTrainingArguments(
            output_dir=scratch, max_steps=job["steps"], per_device_train_batch_size=stage["batch"], learning_rate=RATE,
            weight_decay=0.01, warmup_steps=warmup, save_strategy="no", report_to="none", use_cpu=True,
            disable_tqdm=True, seed=job["seed"], data_seed=job["seed"],
            learning_rate_mapping={"classifier": RATE * stage["head"]} if "head" in stage else {},
        )
        data = Dataset.from_dict(columns)
        Trainer(model=model, args=settings, train_dataset=data, loss=loss).train()
    model.save(job["out"])


def with_rates(base, warmup):
    """The trainer with the program's rates: the first step is a step of the warm-up, the last is above zero."""
    from torch.optim.lr_scheduler import LambdaLR

    class Trainer(base):
        def create_scheduler(self, num_training_steps, optimizer=None):
            def share(step):
                return (step + 1) / warmup if step < warmup else 1 - (step - warmup) / max(1, num_training_steps - warmup)

            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, share)
            return self.lr_scheduler

    return Trainer


def score(folder, measure):
    """The measure of a folder, in percent."""
    table, protocol = measure
    command = [program(not arguments.no_build), "evaluate", folder, "--data", DATA / table, "--protocol", protocol, "--json"]
    found = json.loads(run_quietly(command))["scores"][protocol]
    value = found["correlations"]["cosine"]["spearman"] if protocol == "sts" else found["accuracy"]["euclidean"]
    return 100 * value["value"]


def run(side, task, starts, scratch, trained):
    """The scores of all seeds; stages in `trained` are taken from there, others are added to it."""
    start, stages, measure = TASKS[task]
    scores = []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        folder = starts[start]
        for stage in stages:
            key = (side, stage["table"], folder, seed)
            if key not in trained:
                trained[key] = side(stage, folder, seed, scratch)
            folder = trained[key]
        scores.append(score(folder, measure))
        print(f"{task} {side.__name__} seed {seed}: {scores[-1]:.2f}", file=sys.stderr, flush=True)
    return scores


def table(found, as_json):
    if as_json:
        print(json.dumps(found))
        return
    print(f"{'task':12}{'start':>8}{'nearkin':>16}{'sentence-transf.':>20}")
    for task, row in found.items():
        cells = [f"{mean(s):.2f} ± {stdev(s) if len(s) > 1 else 0:.2f}" if s else "" for s in (row["nearkin"], row["st"])]
        print(f"{task:12}{row['start']:8.2f}{cells[0]:>16}{cells[1]:>20}")


def main():
    if arguments.peer:
        return train_peer(json.loads(arguments.peer))
    if arguments.same_draws:
        example("nearkin", "peer_order", not arguments.no_build)
    found, trained = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        starts = {"model": arguments.model, "fresh": fresh(arguments.model, scratch), "free": unscaled(arguments.model, scratch)}
        wanted = arguments.only.split(",") if arguments.only else TASKS
        for task in wanted:
            sides = {"nearkin": rust, "st": peer}
            row = {name: run(side, task, starts, scratch, trained) if arguments.side in (None, name) else []
                   for name, side in sides.items()}
            start, _, measure = TASKS[task]
            found[task] = {"start": score(starts[start], measure), **row}
    table(found, arguments.json)


if __name__ == "__main__":
    main()
