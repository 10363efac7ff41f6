#!/usr/bin/env python3
"""The 10,000-sentence task of Sentence-BERT (section 1): most similar pair and hierarchical clustering, beside a cross-encoder.

    NEARKIN_DATA=data python bench/peers/ten_thousand.py [--sentences 10000] [--model FOLDER] [--cross FOLDER]

Distinct sentences of the STS benchmark and of NLI in $NEARKIN_DATA go through nearkin's commands: embed, mine paraphrases (the
most similar pair), cluster (average linkage). A cross-encoder has to read each of the n(n - 1)/2 pairs instead: its
pairs/s, measured by `nearkin evaluate` on pairs of the same sentences drawn at random, give the time it would take. Without
--cross it is one of the same Transformer, trained for a step: the time does not depend on what the weights are.
"""

import argparse
import gzip
import json
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RECIPE = """
[cross_encoder]
model = '{model}'
[train]
steps = 1
[[data]]
name = "pairs"
table = {{ path = '{table}', limit = 16 }}
rows.scored = {{ first = "sentence1", second = "sentence2", score = "score" }}
"""


def column(path, name):
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path)
    with opened as file:
        place = next(file).rstrip("\n").split("\t").index(name)
        yield from (line.rstrip("\n").split("\t")[place] for line in file)


def sentences(count):
    """Distinct sentences in a random order."""
    data = Path(os.environ["NEARKIN_DATA"])
    sources = [(data / f"sts-benchmark/{part}.tsv", f"sentence{k}") for part in ("train", "dev", "test") for k in (1, 2)]
    sources += [(data / f"nli/{part}.tsv.gz", name) for part in ("dev", "train") for name in ("premise", "hypothesis")]
    found = {}
    for path, name in sources:
        for text in column(path, name):
            if len(found) >= 2 * count:
                break
            if text.strip():
                found.setdefault(text.strip())
    if len(found) < count:
        raise SystemExit(f"only {len(found)} distinct sentences in {data}, {count} were asked for")
    return random.Random(0).sample(list(found), count)


def nearkin(threads, *arguments):
    """Seconds of a command, and what it prints."""
    binary = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/nearkin"
    command = [str(part) for part in (binary, "--threads", threads, *arguments)]
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - start, done.stdout


def table(path, rows):
    path.write_text("score\tsentence1\tsentence2\n" + "".join(f"{k % 6}\t{a}\t{b}\n" for k, (a, b) in enumerate(rows)))
    return path


def pairs_a_second(cross, texts, options, folder):
    """From the time of many pairs less that of few, so that starting the program does not count."""
    draw = random.Random(1)
    seconds = []
    few, many = 32, 32 + options.pairs
    for count in (few, many):
        pairs = table(folder / f"{count}.tsv", [draw.sample(texts, 2) for _ in range(count)])
        command = ("evaluate", cross, "--data", pairs, "--protocol", "sts", "--json")
        seconds.append(min(nearkin(options.threads, *command)[0] for _ in range(options.rounds)))
    return (many - few) / max(seconds[1] - seconds[0], 1e-9)


def trained(model, texts, folder, threads):
    pairs = table(folder / "train.tsv", list(zip(texts[:16], texts[16:32])))
    recipe = folder / "cross.toml"
    recipe.write_text(RECIPE.format(model=model, table=pairs))
    nearkin(threads, "train", recipe, "--out", folder / "cross", "--json")
    return folder / "cross/model"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=10_000, help="how many (default: 10000, at least 64)")
    parser.add_argument("--model", type=Path, help="sentence encoder (default: all-MiniLM-L6-v2 by minilm.sh)")
    parser.add_argument("--cross", type=Path, help="cross-encoder (default: the model's Transformer with a head)")
    parser.add_argument("--pairs", type=int, default=2000, help="pairs that the cross-encoder is timed on (default: 2000)")
    parser.add_argument("--rounds", type=int, default=3, help="timings of the cross-encoder, of which the best counts (default: 3)")
    parser.add_argument("--threads", type=int, default=2, help="threads (default: 2)")
    parser.add_argument("--within", type=float, default=0.5, help="largest distance of a cluster (default: 0.5)")
    parser.add_argument("--no-build", action="store_true", help="use the binary as it is")
    options = parser.parse_args()
    if options.sentences < 64:
        parser.error("--sentences: at least 64, of which pairs can be drawn")
    if not options.no_build:
        subprocess.run(["cargo", "build", "--release", "-p", "nearkin-cli"], cwd=ROOT, check=True)
    model = options.model or Path(subprocess.check_output([HERE / "minilm.sh"], text=True).strip())
    texts = sentences(options.sentences)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        lines, vectors = folder / "texts.txt", folder / "vectors.npy"
        lines.write_text("\n".join(texts) + "\n")
        embedding, _ = nearkin(options.threads, "embed", model, lines, "-o", vectors)
        pair, found = nearkin(options.threads, "mine", "paraphrases", vectors, "--max-pairs", 1)
        clustering, _ = nearkin(options.threads, "cluster", vectors, "--within", options.within, "-o", folder / "clusters.tsv")
        clusters = len(set(column(folder / "clusters.tsv", "cluster")))
        cross = options.cross or trained(model, texts, folder, options.threads)
        rate = pairs_a_second(cross, texts, options, folder)
    best = json.loads(found.splitlines()[0])
    n = len(texts)
    count = n * (n - 1) // 2
    print(f"{n:,} distinct sentences, {options.threads} threads")
    print(f"  embed                        {embedding:10.2f} s")
    print(f"  most similar pair            {pair:10.2f} s   {best['score']:.3f}: {best['sentence1']!r} and {best['sentence2']!r}")
    print(f"  hierarchical clustering      {clustering:10.2f} s   {clusters:,} clusters")
    print(f"  cross-encoder                {rate:10.1f} pairs/s")
    print(f"    {count:,} pairs would take {count / rate / 3600:10.2f} h, {count / rate / (embedding + pair):,.0f} times embed and most similar pair")


if __name__ == "__main__":
    main()
