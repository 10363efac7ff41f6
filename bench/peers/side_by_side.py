"""Runs the Rust side and the peer in turns, A B A B, and prints their medians and ratios.

Both sides get the same number of threads, and a peer is measured in the same run as the Rust side, because the
machine's speed differs more between two runs than the two sides do.
"""

import argparse
import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]


def options(description, rounds):
    """The parser of the arguments that every peer benchmark takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--turns", type=int, default=3, help="how often each side runs (default: 3)")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"timings a turn (default: {rounds})")
    parser.add_argument("--threads", type=int, default=2, help="threads of each side (default: 2)")
    parser.add_argument("--only", default="", metavar="PART", help="only names that contain PART")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--no-build", action="store_true", help="use the Rust binary as it is")
    return parser


def bound_threads(threads):
    """Bounds the thread pools; has to come before numpy and torch are imported."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ["THREADS"] = str(threads)  # read by the Rust side


def example(package, name, build=True):
    """Builds an example of the workspace, in release mode, and returns the path of its binary."""
    if build:
        command = ["cargo", "build", "--quiet", "--release", "--package", package, "--example", name]
        subprocess.run(command, cwd=ROOT, check=True)
    return release_folder() / "examples" / name


@functools.cache
def program(build=True):
    """Builds the program at the first call, in release mode, and returns the path of its binary."""
    if build:
        subprocess.run(["cargo", "build", "--quiet", "--release"], cwd=ROOT, check=True)
    return release_folder() / "nearkin"


def release_folder():
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps", "--offline"]
    return Path(json.loads(subprocess.check_output(command, cwd=ROOT))["target_directory"]) / "release"


def run_json(command):
    """Runs a command and returns the JSON object that it prints."""
    return json.loads(subprocess.check_output([str(part) for part in command], cwd=ROOT))


def run_quietly(command):
    """Runs a command and returns what it prints; its last words where it fails."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return done.stdout


def peak(command):
    """Peak memory of a command in MiB, measured by a process that starts nothing else."""
    script = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, "
        "stderr=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    return float(subprocess.check_output([sys.executable, "-c", script, *map(str, command)], cwd=ROOT))


def milliseconds(work, rounds):
    """Median time of so many calls after one to warm up; without rounds, the time of that one."""
    times = []
    for _ in range(1 + rounds):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return median(times[1:] or times)


def alternate(sides, turns):
    """Calls each side in turn and returns the median over the turns of every name it reports.

    A side is a function that returns {name: number}.
    """
    seen = {side: {} for side in sides}
    for _ in range(turns):
        for side, measure in sides.items():
            for name, number in measure().items():
                seen[side].setdefault(name, []).append(number)
    return {side: {name: median(n) for name, n in names.items()} for side, names in seen.items()}


def report(rust, peer, peer_name, as_json, unit="ms"):
    """Prints every work both sides did, with peer / rust: above 1 the Rust side is the better one."""
    rows = [(name, rust[name], peer[name], peer[name] / rust[name]) for name in rust if name in peer]
    alone = sorted(rust.keys() ^ peer.keys())
    if as_json:
        works = {n: {"rust": r, "peer": p, "ratio": q} for n, r, p, q in rows}
        print(json.dumps({"peer": peer_name, "unit": unit, "works": works, "without_peer": alone}))
        return
    width = max([len(row[0]) for row in rows] + [4])
    print(f"{'work':{width}}  {'Rust ' + unit:>10}  {peer_name + ' ' + unit:>16}  ratio")
    for name, ours, theirs, ratio in rows:
        print(f"{name:{width}}  {ours:10.2f}  {theirs:16.2f}  {ratio:5.2f}")
    if alone:
        print("on one side only:", ", ".join(alone))


def report_beside(rust, peer, products, as_json):
    """Prints every work of the Rust side with its time over that of `products`, and the peer's over its own."""
    works = {
        name: {"rust": ours, "products": ours / products, "peer": peer.get(name), "ratio": ratio(peer.get(name), ours)}
        for name, ours in rust.items()
    }
    if as_json:
        print(json.dumps({"unit": "ms", "works": works}))
        return
    width = max(len(name) for name in [*works, "work"])
    print(f"{'work':{width}}     Rust ms  products     peer ms   ratio")
    for name, row in works.items():
        theirs = "" if row["peer"] is None else f"{row['peer']:12.2f}{row['ratio']:8.2f}"
        print(f"{name:{width}}  {row['rust']:10.2f}{row['products']:10.2f}{theirs}")


def ratio(theirs, ours):
    return None if theirs is None else theirs / ours
