#!/usr/bin/env python3
"""Texts in, vectors out: nearkin, ONNX Runtime fed with batches sorted by length, and sentence-transformers' own encode.

    encode.py MODEL [TEXTS]

MODEL is the folder of a sentence encoder with a BERT, mean pooling and normalization, such as all-MiniLM-L6-v2
(bench/peers/minilm.sh fetches it). TEXTS holds one text a line; without it, the distinct sentences of the STS benchmark in
$NEARKIN_DATA. All sides get the texts in the same order, tokenize them, and give back float32 vectors in that order.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import ROOT, alternate, bound_threads, example, options, report, run_json

parser = options(__doc__.splitlines()[0], rounds=1)
parser.add_argument("model", type=Path)
parser.add_argument("texts", type=Path, nargs="?")
parser.add_argument("--count", type=int, default=4096, help="texts to embed (default: 4096)")
arguments = parser.parse_args()
bound_threads(arguments.threads)
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
import torch  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402
from transformers import AutoModel, AutoTokenizer  # noqa: E402

torch.set_num_threads(arguments.threads)
BATCH = 32


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


class Graph(torch.nn.Module):
    """The token vectors and their mean over the sentence, scaled to unit length."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        hidden = self.model(input_ids, attention_mask, token_type_ids).last_hidden_state
        mask = attention_mask.unsqueeze(-1).float()
        mean = (hidden * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(mean)


class Onnx:
    def __init__(self, folder, scratch):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        path = Path(scratch) / "model.onnx"
        model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
        ids = torch.ones(2, 8, dtype=torch.long)
        names = ["input_ids", "attention_mask", "token_type_ids"]
        with torch.no_grad():
            torch.onnx.export(
                Graph(model), (ids, ids, ids * 0), str(path), input_names=names, output_names=["vectors"],
                dynamic_axes={name: {0: "batch", 1: "length"} for name in names}, opset_version=17, dynamo=False,
            )
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = arguments.threads
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])

    def encode(self, texts, longest):
        tokens = self.tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: -len(tokens[i]))
        vectors = None
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            length = len(tokens[part[0]])
            ids = np.zeros((len(part), length), dtype=np.int64)
            mask = np.zeros_like(ids)
            for row, i in enumerate(part):
                ids[row, : len(tokens[i])] = tokens[i]
                mask[row, : len(tokens[i])] = 1
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            out = self.session.run(None, feed)[0]
            vectors = np.empty((len(texts), out.shape[1]), np.float32) if vectors is None else vectors
            vectors[part] = out
        return vectors


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
        onnx, peer = Onnx(arguments.model, scratch), SentenceTransformer(str(arguments.model), device="cpu")
        vectors = {}

        def rust():
            found = run_json([binary, arguments.model, file, arguments.rounds, ours])
            vectors["nearkin"] = np.fromfile(ours, "<f4").reshape(len(lines), -1)
            return {"encode": 1e3 * float(np.median(found["seconds"]))}

        def onnx_runtime():
            took, vectors["onnx"] = seconds(lambda: onnx.encode(lines, peer.max_seq_length))
            return {"encode": 1e3 * took}

        def sentence_transformers():
            took, vectors["st"] = seconds(lambda: peer.encode(lines, batch_size=BATCH))
            return {"encode": 1e3 * took}

        onnx.encode(lines[:256], peer.max_seq_length)
        peer.encode(lines[:256], batch_size=BATCH)
        sides = {"nearkin": rust, "onnx": onnx_runtime, "st": sentence_transformers}
        found = alternate(sides, arguments.turns)
    for name in ("onnx", "st"):
        apart = float(np.abs(vectors["nearkin"] - vectors[name]).max())
        print(f"largest difference from {name}: {apart:.1e}", file=sys.stderr)
    report(found["nearkin"], found["onnx"], "ONNX Runtime", arguments.json)
    report(found["nearkin"], found["st"], "sentence-transf.", arguments.json)


if __name__ == "__main__":
    main()
