#!/usr/bin/env python3
"""Whether training on text ends where sentence-transformers' own trainer ends, once both take the data in the same order.

    same_order.py MODEL [--steps N] [--seed S] [--fresh]

Regression on the STS benchmark, batches of 16, AdamW at 2e-5 with a warm-up over a tenth of the steps and linear decay, no dropout:
what is left is the order of the data, and the trainer is given the program's. Printed is Spearman's correlation of the cosine on
the benchmark's test part for both. The trainer's warm-up is behind the program's by one step: it takes the first at a rate of 0.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from fresh_layers import fresh
from side_by_side import bound_threads, example, options, program, run_quietly

parser = options(__doc__.splitlines()[0], rounds=1)
parser.add_argument("model", type=Path)
parser.add_argument("--steps", type=int, default=180, help="steps of each side, within one epoch (default: 180)")
parser.add_argument("--seed", type=int, default=0, help="decides the order (default: 0)")
parser.add_argument("--fresh", action="store_true", help="begin with all layers of MODEL started anew")
arguments = parser.parse_args()
bound_threads(arguments.threads)

DATA = Path(os.environ["NEARKIN_DATA"]) / "sts-benchmark"
TABLE, BATCH = DATA / "train.tsv", 16

RECIPE = """
seed = {seed}
[encoder]
model = {model}
max_tokens = 128
dropout = 0.0
[loss.cosine_regression]
[batches]
size = {batch}
[train]
steps = {steps}
epochs = 1000
evaluate_every = {steps}
select = "last"
[[data]]
name = "data"
table = {{ path = {table} }}
rows.scored = {{ first = "sentence1", second = "sentence2", score = "score" }}
[[evaluate]]
name = "a few rows of it"
table = {{ path = {table}, limit = 64 }}
rows.scored = {{ first = "sentence1", second = "sentence2", score = "score" }}
"""


def rust(start, scratch):
    """Trains with the program and returns the model's folder."""
    recipe, run = scratch / "recipe.toml", scratch / "run"
    recipe.write_text(RECIPE.format(seed=arguments.seed, steps=arguments.steps, batch=BATCH, model=json.dumps(str(start)),
                                    table=json.dumps(str(TABLE))))
    run_quietly([program(not arguments.no_build), "train", recipe, "--out", run, "--threads", str(arguments.threads)])
    return run / "model"


def peer(start, scratch):
    """Trains with sentence-transformers' trainer, in the program's order, and returns the model's folder."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments, losses

    torch.set_num_threads(arguments.threads)
    header, *lines = TABLE.read_text().rstrip("\n").split("\n")
    rows = [dict(zip(header.split("\t"), line.split("\t"))) for line in lines]
    binary = example("nearkin", "peer_order", not arguments.no_build)
    order = subprocess.check_output([binary, str(arguments.seed), "data", str(len(rows))]).split()
    torch.utils.data.RandomSampler.__iter__ = lambda _: map(int, order)
    columns = {name: [row[name] for row in rows] for name in ("sentence1", "sentence2")}
    columns["score"] = [float(row["score"]) / 5 for row in rows]
    model = SentenceTransformer(str(start), device="cpu")
    model.max_seq_length = 128
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    settings = SentenceTransformerTrainingArguments(
        output_dir=scratch / "trainer", max_steps=arguments.steps, per_device_train_batch_size=BATCH, learning_rate=2e-5,
        weight_decay=0.01, warmup_steps=arguments.steps // 10, save_strategy="no", report_to="none", use_cpu=True, disable_tqdm=True,
    )
    data, loss = Dataset.from_dict(columns), losses.CosineSimilarityLoss(model)
    SentenceTransformerTrainer(model=model, args=settings, train_dataset=data, loss=loss).train()
    model.save(str(scratch / "peer"))
    return scratch / "peer"


def score(folder):
    command = [program(not arguments.no_build), "evaluate", folder, "--data", DATA / "test.tsv", "--protocol", "sts", "--json"]
    found = json.loads(run_quietly(command))["scores"]["sts"]["correlations"]["cosine"]["spearman"]
    return 100 * found["value"]


def main():
    if arguments.steps * BATCH > 5749:
        sys.exit("expected steps within one epoch")
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        start = fresh(arguments.model, scratch) if arguments.fresh else arguments.model
        found = {"start": score(start), "nearkin": score(rust(start, scratch)), "st": score(peer(start, scratch))}
    if arguments.json:
        print(json.dumps(found))
    else:
        print(f"start {found['start']:.2f}, nearkin {found['nearkin']:.2f}, sentence-transformers {found['st']:.2f}")


if __name__ == "__main__":
    main()
