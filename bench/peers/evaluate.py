#!/usr/bin/env python3
"""Exact search of items among themselves, and Recall@K with MAP@R: nearkin beside faiss and pytorch-metric-learning.

    evaluate.py [--items 60000] [--dim 512] [--classes 6000]

Random unit vectors around the centers of their classes. Each work runs in a process of its own, so that its peak memory is
its own; times are without reading the file. faiss (IndexFlatIP) only searches; the calculator of pytorch-metric-learning finds
what nearkin's retrieval does, to the same depth. What the sides found is compared.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import bound_threads, example, options, run_json

CUTS = [1, 10, 100, 1000]

parser = options(__doc__.splitlines()[0], rounds=1)
parser.add_argument("--items", type=int, default=60_000)
parser.add_argument("--dim", type=int, default=512)
parser.add_argument("--classes", type=int, default=6_000)
parser.add_argument("--peer", nargs=2, metavar=("WORK", "FILE"), help="one work of the other side; used by the script itself")
arguments = parser.parse_args()
bound_threads(arguments.threads)


def data(folder):
    import numpy

    draws = numpy.random.default_rng(0)
    centers = draws.standard_normal((arguments.classes, arguments.dim), dtype=numpy.float32)
    labels = draws.permutation(numpy.arange(arguments.items) % arguments.classes)
    items = centers[labels] + 2 * draws.standard_normal((arguments.items, arguments.dim), dtype=numpy.float32)
    items /= numpy.linalg.norm(items, axis=1, keepdims=True)
    file = folder / "items.npy"
    numpy.save(file, items)
    (folder / "items.labels.txt").write_text("".join(f"{label}\n" for label in labels))
    return file


def read(file):
    import numpy

    labels = Path(file).with_suffix(".labels.txt").read_text().split()
    return numpy.load(file), numpy.array([int(label) for label in labels])


def peer(work, file):
    items, labels = read(file)
    if work.startswith("top"):
        import faiss

        faiss.omp_set_num_threads(arguments.threads)
        k = int(work.split()[1])
        start = time.perf_counter()
        index = faiss.IndexFlatIP(items.shape[1])
        index.add(items)
        scores, found = index.search(items, k + 1)
        seconds = time.perf_counter() - start
        last = [n for n in found[-1].tolist() if n != len(items) - 1][k - 1]
        answer = [last, float(scores[-1][-1])]
    else:
        import torch
        from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

        torch.set_num_threads(arguments.threads)
        items, labels = torch.from_numpy(items), torch.from_numpy(labels)
        # To the depth of Recall@1000: its own Recall@1 and MAP@R see no deeper than R.
        calculator = AccuracyCalculator(include=("precision_at_1", "mean_average_precision_at_r"), k=max(CUTS))
        start = time.perf_counter()
        found = calculator.get_accuracy(items, labels)
        seconds = time.perf_counter() - start
        answer = {"recall": [found["precision_at_1"]], "map_at_r": found["mean_average_precision_at_r"]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak, "found": answer}))


def main():
    works = [w for w in ["top 8", "top 1000", "measures"] if arguments.only in w]
    binary = example("nearkin", "peer_evaluate", not arguments.no_build)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        file = data(Path(folder))
        for work in works:
            ours = [binary, file, *(work.split() if work != "measures" else [work, *CUTS])]
            theirs = [sys.executable, __file__, "--peer", work, file, "--threads", arguments.threads]
            turns = [(run_json(ours), run_json(theirs)) for _ in range(arguments.turns)]
            found[work] = [summary([turn[side] for turn in turns]) for side in (0, 1)]
            check(work, *found[work])
    if arguments.json:
        print(json.dumps(found))
        return
    print(f"{'work':10}  {'nearkin s':>10}  {'peer s':>10}  {'ratio':>6}  {'nearkin MiB':>12}  {'peer MiB':>10}")
    for work, (ours, theirs) in found.items():
        ratio = theirs["seconds"] / ours["seconds"]
        print(f"{work:10}  {ours['seconds']:10.2f}  {theirs['seconds']:10.2f}  {ratio:6.2f}  "
              f"{ours['peak_mib']:12.0f}  {theirs['peak_mib']:10.0f}")


def summary(runs):
    from statistics import median

    return {
        "seconds": median(run["seconds"] for run in runs),
        "peak_mib": max(run["peak_mib"] for run in runs),
        "found": runs[0]["found"],
    }


def check(work, ours, theirs):
    """Both sides have to have found the same."""
    a, b = ours["found"], theirs["found"]
    if work == "measures":
        pairs = [(a["recall"][0], b["recall"][0]), (a["map_at_r"], b["map_at_r"])]
    else:
        pairs = [(a[1], b[1])]
    if any(abs(x - y) > 1e-5 for x, y in pairs):
        raise SystemExit(f"{work}: nearkin found {a}, the peer {b}")


if arguments.peer:
    peer(*arguments.peer)
else:
    main()
