#!/usr/bin/env python3
"""Texts in, vectors out: nearkin, ONNX Runtime fed with batches sorted by length, and sentence-transformers' own encode.

In floats and, marked int8, in bytes: nearkin's `--compute int8` beside ONNX Runtime's dynamic quantization.

    encode.py MODEL [TEXTS]

MODEL is the folder of a sentence encoder with a BERT, mean pooling and normalization, such as all-MiniLM-L6-v2
(bench/peers/minilm.sh fetches it). TEXTS holds one text a line; without it, the distinct sentences of the STS benchmark in
$NEARKIN_DATA. All sides get the texts in the same order, tokenize them, and give back float32 vectors in that order.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import alternate, bound_threads, example, options, report, run_json

parser = options(__doc__.splitlines()[0], rounds=1)
parser.add_argument("model", type=Path)
parser.add_argument("texts", type=Path, nargs="?")
parser.add_argument("--count", type=int, default=4096, help="texts to embed (default: 4096)")
arguments = parser.parse_args()
bound_threads(arguments.threads)
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np  # noqa: E402
import onnx_text  # noqa: E402
import torch  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402

torch.set_num_threads(arguments.threads)


def texts():
    """The texts, distinct, in the order of the file."""
    if arguments.texts:
        lines = arguments.texts.read_text().splitlines()
    else:
        folder = Path(os.environ["NEARKIN_DATA"]) / "sts-benchmark"
        rows = [line.split("\t") for part in ("test", "dev", "train")
                for line in (folder / f"{part}.tsv").read_text().splitlines()[1:]]
        lines = [text for row in rows for text in row[1:3]]
    return list(dict.fromkeys(lines))[: arguments.count]


def seconds(work):
    start = time.perf_counter()
    vectors = work()
    return time.perf_counter() - start, vectors


def main():
    lines = texts()
    binary = example("nearkin-encoder", "peer_encode", not arguments.no_build)
    with tempfile.TemporaryDirectory() as scratch:
        file, ours = Path(scratch) / "texts.txt", Path(scratch) / "vectors.bin"
        file.write_text("\n".join(lines) + "\n")
        onnx = onnx_text.encoders(arguments.model, scratch, arguments.threads)
        peer = SentenceTransformer(str(arguments.model), device="cpu")
        vectors = {}

        def rust():
            times = {}
            for compute, work in (("f32", "encode"), ("int8", "encode int8")):
                os.environ["COMPUTE"] = compute
                found = run_json([binary, arguments.model, file, arguments.rounds, ours])
                vectors[work] = np.fromfile(ours, "<f4").reshape(len(lines), -1)
                times[work] = 1e3 * float(np.median(found["seconds"]))
            return times

        def onnx_runtime():
            times = {}
            for kind in onnx:
                took, vectors[kind] = seconds(lambda: onnx[kind].encode(lines, peer.max_seq_length))
                times[kind] = 1e3 * took
            return times

        def sentence_transformers():
            took, vectors["st"] = seconds(lambda: peer.encode(lines, batch_size=onnx_text.BATCH))
            return {"encode": 1e3 * took}

        for encoder in onnx.values():
            encoder.encode(lines[:256], peer.max_seq_length)
        peer.encode(lines[:256], batch_size=onnx_text.BATCH)
        sides = {"nearkin": rust, "onnx": onnx_runtime, "st": sentence_transformers}
        found = alternate(sides, arguments.turns)
    for name, of in (("fused", "encode"), ("st", "encode"), ("int8", "encode int8")):
        apart = float(np.abs(vectors[of] - vectors[name]).max())
        print(f"largest difference of {of} from {name}: {apart:.1e}", file=sys.stderr)
    theirs = found["onnx"]
    beside = {"encode": min(theirs["plain"], theirs["fused"]), "encode int8": theirs["int8"]}
    report(found["nearkin"], beside, "ONNX Runtime", arguments.json)
    report(found["nearkin"], found["st"], "sentence-transf.", arguments.json)


if __name__ == "__main__":
    main()
