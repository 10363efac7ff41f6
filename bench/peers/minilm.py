#!/usr/bin/env python3
"""A sentence encoder of one size of batch, nothing to gain from packing: nearkin beside ONNX Runtime and PyTorch.

    minilm.py MODEL [--only PART]

MODEL is the folder of a sentence encoder with a BERT, mean pooling and normalization (bench/peers/minilm.sh fetches
all-MiniLM-L6-v2). Printed are milliseconds, medians over the rounds:

    forward 32x32, 32x128   32 texts of so many tokens each
    one sentence            a short text in, its vector out, warm, weights packed
    train 16x64             forward, backward and AdamW on 8 pairs of texts of 64 tokens, the classification objective, dropout on;
                            beside PyTorch with its fused AdamW, each in a process of its own, and the peak memory of that
                            process in MiB

ONNX Runtime gets the graph once as exported, with all its optimizations, and once fused by its own BERT optimizer; the faster
counts. `int8` is its dynamic quantization (per channel) beside nearkin's.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from side_by_side import ROOT, alternate, bound_threads, example, milliseconds, options, peak, program, report, run_json

WARM = 5
TEXTS, PAIRS = 32, 8
ONE = "A man is slicing a cucumber."

parser = options(__doc__.splitlines()[0], rounds=15)
parser.add_argument("model", type=Path)
parser.add_argument("--steps", type=int, default=20, help="training steps a turn (default: 20)")
parser.add_argument("--peer", action="store_true", help="PyTorch's training steps alone; used by the script itself")
arguments = parser.parse_args()
bound_threads(arguments.threads)
os.environ["HF_HUB_OFFLINE"] = "1"


def texts(count, tokens):
    """Texts of so many tokens, [CLS] and [SEP] among them, of words that are one token each."""
    words = "the a man woman dog cat house water music city road river green small old new plays runs eats sees".split()
    return [" ".join(words[(i * 7 + j * (1 + i % 3)) % len(words)] for j in range(tokens - 2)) for i in range(count)]


WORKS = {"forward 32x32": texts(TEXTS, 32), "forward 32x128": texts(TEXTS, 128), "one sentence": [ONE]}


def onnx_side(encoder, suffix):
    return lambda: {name + suffix: milliseconds(lambda: encoder.run(lines), rounds(name)) for name, lines in chosen()}


def chosen():
    return [(name, lines) for name, lines in WORKS.items() if arguments.only in name]


def rounds(name):
    return arguments.rounds * (10 if name == "one sentence" else 1)


def ours(binary, scratch):
    def measure():
        found = {}
        for name, lines in chosen():
            file = Path(scratch) / "texts.txt"
            file.write_text("\n".join(lines) + "\n")
            for compute, suffix in (("f32", ""), ("int8", " int8")):
                os.environ.update(COMPUTE=compute, PACKED="1")
                seconds = run_json([binary, arguments.model, file, 1 + rounds(name)])["seconds"]
                found[name + suffix] = 1e3 * median(seconds[1:])
        return found

    return measure


RECIPE = """
[encoder]
model = {model}

[loss.softmax_classification]

[batches]
size = 8

[train]
steps = {steps}
evaluate_every = {steps}
select = "last"

[[data]]
name = "pairs"
table.path = {table}
rows.pairs = {{ first = "first", second = "second", label = "label", classes = ["0", "1", "2"] }}

[[evaluate]]
name = "nothing much"
table = {{ path = {table}, limit = 8 }}
rows.pairs = {{ first = "first", second = "second", label = "label", classes = ["0", "1", "2"] }}
"""


def train_ours():
    binary = program(not arguments.no_build)
    with tempfile.TemporaryDirectory() as scratch:
        table, recipe, run = (Path(scratch) / name for name in ("pairs.tsv", "recipe.toml", "run"))
        lines = texts(2 * PAIRS * arguments.steps, 64)
        rows = [f"{a}\t{b}\t{i % 3}" for i, (a, b) in enumerate(zip(lines[::2], lines[1::2]))]
        table.write_text("\n".join(["first\tsecond\tlabel", *rows]) + "\n")
        recipe.write_text(RECIPE.format(model=json.dumps(str(arguments.model)), steps=arguments.steps,
                                        table=json.dumps(str(table))))
        memory = peak([binary, "train", recipe, "--out", run, "--threads", arguments.threads])
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rates = [line["items_per_second"] for line in lines if "items_per_second" in line]
    return {"train 16x64": 1e3 * PAIRS / median(rates[WARM:]), "train 16x64 peak MiB": memory}


def train_theirs():
    command = [sys.executable, __file__, arguments.model, "--peer", "--steps", arguments.steps, "--threads", arguments.threads]
    lines = subprocess.check_output([str(c) for c in command], cwd=ROOT, stderr=subprocess.DEVNULL).decode().splitlines()
    return json.loads(lines[-1])


def torch_steps():
    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(arguments.threads)
    model = AutoModel.from_pretrained(arguments.model).train()
    head = torch.nn.Linear(3 * model.config.hidden_size, 3)
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-5, fused=True)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    found = tokenizer(texts(2 * PAIRS, 64), return_tensors="pt")
    labels = torch.arange(PAIRS) % 3
    times = []
    for _ in range(arguments.steps):
        start = time.perf_counter()
        u, v = model(**found).last_hidden_state.mean(1).split(PAIRS)
        loss = torch.nn.functional.cross_entropy(head(torch.cat([u, v, (u - v).abs()], 1)), labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        times.append(1e3 * (time.perf_counter() - start))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"train 16x64": median(times[WARM:]), "train 16x64 peak MiB": memory}))


def main():
    if arguments.peer:
        torch_steps()
        return
    if arguments.only in "train 16x64":
        found = alternate({"rust": train_ours, "torch": train_theirs}, arguments.turns)
        report(found["rust"], found["torch"], "PyTorch", arguments.json, unit="")
    if not chosen():
        return
    binary = example("nearkin-encoder", "peer_encode", not arguments.no_build)
    with tempfile.TemporaryDirectory() as scratch:
        import onnx_text  # once the threads are bound

        made = onnx_text.encoders(arguments.model, scratch, arguments.threads)
        sides = {"rust": ours(binary, scratch), "plain": onnx_side(made["plain"], ""),
                 "fused": onnx_side(made["fused"], ""), "int8": onnx_side(made["int8"], " int8")}
        found = alternate(sides, arguments.turns)
    better = {name: min(found["plain"][name], found["fused"][name]) for name in found["plain"]}
    report(found["rust"], {**better, **found["int8"]}, "ONNX Runtime", arguments.json)


if __name__ == "__main__":
    main()
