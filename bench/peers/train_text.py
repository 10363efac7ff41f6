#!/usr/bin/env python3
"""Training on NLI pairs of natural lengths: nearkin beside sentence-transformers' trainer, pairs a second and peak memory.

    train_text.py MODEL

MODEL is the folder of a sentence encoder with a Transformer. Both sides train the classification objective (u, v, |u − v|) on
the same first pairs of $NEARKIN_DATA/nli/train.tsv.gz with AdamW, batches of 32, dropout, clipping at 1 and at most 128
tokens; each runs in a process of its own. Times are medians over the steps, the first five left out.
"""

import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from side_by_side import ROOT, alternate, bound_threads, options, peak, report

WARM = 5
BATCH = 32
LABELS = ["contradiction", "entailment", "neutral"]

parser = options(__doc__.splitlines()[0], rounds=1)
parser.add_argument("model", type=Path)
parser.add_argument("--steps", type=int, default=25, help="steps of each side a turn (default: 25)")
parser.add_argument("--peer", action="store_true", help="the other side alone; used by the script itself")
arguments = parser.parse_args()
bound_threads(arguments.threads)

RECIPE = """
[encoder]
model = {model}
max_tokens = 128

[loss.softmax_classification]

[batches]
size = 32

[train]
steps = {steps}
evaluate_every = {steps}
select = "last"

[[data]]
name = "nli"
table = {{ path = {table}, limit = {limit} }}
rows.pairs = {{ first = "premise", second = "hypothesis", label = "label", classes = {labels} }}

[[evaluate]]
name = "nothing much"
table = {{ path = {table}, limit = 64 }}
rows.pairs = {{ first = "premise", second = "hypothesis", label = "label", classes = {labels} }}
"""


def table():
    return Path(os.environ["NEARKIN_DATA"]) / "nli" / "train.tsv.gz"


def rust():
    """Runs the program and reads its journal."""
    if not arguments.no_build:
        subprocess.run(["cargo", "build", "--quiet", "--release"], cwd=ROOT, check=True)
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--offline"]
    binary = Path(json.loads(subprocess.check_output(command, cwd=ROOT))["target_directory"]) / "release/nearkin"
    with tempfile.TemporaryDirectory() as scratch:
        recipe = Path(scratch) / "nli.toml"
        text = RECIPE.format(
            model=json.dumps(str(arguments.model)), steps=arguments.steps, table=json.dumps(str(table())),
            limit=arguments.steps * BATCH, labels=json.dumps(LABELS),
        )
        recipe.write_text(text)
        run = Path(scratch) / "run"
        command = [binary, "train", recipe, "--out", run, "--threads", str(arguments.threads)]
        memory = peak(command)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rates = [line["items_per_second"] for line in lines if "items_per_second" in line]
    return {"step": 1e3 * BATCH / median(rates[WARM:]), "peak MiB": memory}


def peer():
    """Runs this script again for the other side."""
    command = [sys.executable, __file__, str(arguments.model), "--peer", "--steps", str(arguments.steps),
               "--threads", str(arguments.threads)]
    lines = subprocess.check_output(command, cwd=ROOT, stderr=subprocess.DEVNULL).decode().splitlines()
    return json.loads(lines[-1])


def train_peer():
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments
    from sentence_transformers.losses import SoftmaxLoss
    from transformers import TrainerCallback

    torch.set_num_threads(arguments.threads)
    with gzip.open(table(), "rt") as lines:
        header = next(lines).rstrip("\n").split("\t")
        rows = [dict(zip(header, line.rstrip("\n").split("\t"))) for line, _ in zip(lines, range(arguments.steps * BATCH))]
    data = Dataset.from_dict({
        "premise": [row["premise"] for row in rows], "hypothesis": [row["hypothesis"] for row in rows],
        "label": [LABELS.index(row["label"]) for row in rows],
    })
    model = SentenceTransformer(str(arguments.model), device="cpu")
    model.max_seq_length = 128
    loss = SoftmaxLoss(model, model.get_embedding_dimension(), num_labels=len(LABELS))
    times = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            times.append(-time.perf_counter())

        def on_step_end(self, *_, **__):
            times[-1] += time.perf_counter()

    with tempfile.TemporaryDirectory() as scratch:
        settings = SentenceTransformerTrainingArguments(
            output_dir=scratch, max_steps=arguments.steps, per_device_train_batch_size=BATCH, learning_rate=2e-5,
            warmup_steps=arguments.steps // 10, save_strategy="no", report_to="none", use_cpu=True, disable_tqdm=True,
        )
        SentenceTransformerTrainer(
            model=model, args=settings, train_dataset=data, loss=loss, callbacks=[Clock()]
        ).train()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"step": 1e3 * median(times[WARM:]), "peak MiB": memory}))


def main():
    if arguments.peer:
        return train_peer()
    found = alternate({"nearkin": rust, "st": peer}, arguments.turns)
    report(found["nearkin"], found["st"], "sentence-transf.", arguments.json, unit="ms, MiB")


if __name__ == "__main__":
    main()
