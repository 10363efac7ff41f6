#!/usr/bin/env python3
"""Sentence encoders of every module that nearkin knows, made and saved by sentence-transformers, read and written by nearkin.

    modules.py MODEL

MODEL is the folder of a sentence encoder with a Transformer. Each line names what was made, the largest difference of its
vectors in nearkin, and of the vectors that sentence-transformers computes from the folder that nearkin wrote.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from side_by_side import bound_threads, example, options

parser = options(__doc__.splitlines()[0], rounds=1)
parser.add_argument("model", type=Path)
arguments = parser.parse_args()
bound_threads(arguments.threads)
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402
from sentence_transformers.models import Dense, LayerNorm, Normalize, Pooling, StaticEmbedding, Transformer  # noqa: E402
from sentence_transformers.models import WordEmbeddings  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

TEXTS = ["A man is playing a guitar.", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich", "", "!?",
         "The the THE (cat) sat, on the mat's edge…", "word " * 400, "naïve café 東京 🙂"]
WORDS = "the 1 2 3\ncat -1 0.5 2\nmat's 0 0 1\nsat 3 3 3\non 1 0 1\nguitar -2 1 1\n"


def made(scratch):
    """{name: model}"""
    torch.manual_seed(0)
    transformer = lambda: Transformer(str(arguments.model))
    width = transformer().get_embedding_dimension()
    modes = ["cls", "mean", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
    tokenizer = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    tokenizer.no_truncation()
    (scratch / "words.txt").write_text(WORDS)
    words = WordEmbeddings.from_text_file(str(scratch / "words.txt"))
    for mode in modes:
        yield f"pooling {mode}", [transformer(), Pooling(width, pooling_mode=mode)]
    yield "pooling mean and cls", [transformer(), Pooling(width, pooling_mode=("cls", "mean"))]
    yield "dense, layer norm, normalize", [
        transformer(), Pooling(width), Dense(width, 100), Dense(100, 64, activation_function=torch.nn.GELU()),
        Dense(64, 64, bias=False, activation_function=torch.nn.ReLU()),
        Dense(64, 32, activation_function=torch.nn.Identity()), LayerNorm(32), Normalize()]
    yield "static embedding", [StaticEmbedding(tokenizer, embedding_dim=48), Normalize()]
    yield "word embeddings", [words, Pooling(3, pooling_mode="mean")]


def main():
    binary = example("nearkin-encoder", "peer_encode", not arguments.no_build)
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        texts = scratch / "texts.txt"
        texts.write_text("\n".join(TEXTS) + "\n")
        for number, (name, modules) in enumerate(made(scratch)):
            theirs, ours, vectors = (scratch / f"{number}-{part}" for part in ("st", "nearkin", "vectors"))
            model = SentenceTransformer(modules=modules, device="cpu")
            model.save_pretrained(str(theirs))
            want = model.encode(TEXTS)
            ours.mkdir()
            run = subprocess.run([binary, theirs, texts, "1", vectors, ours], capture_output=True, text=True)
            if run.returncode:
                print(f"{name:32} {run.stderr.strip()}")
                failed += 1
                continue
            found = np.fromfile(vectors, "<f4").reshape(len(TEXTS), -1)
            again = SentenceTransformer(str(ours), device="cpu").encode(TEXTS)
            apart = [float(np.abs(x - want).max()) for x in (found, again)]
            failed += max(apart) > 2e-5
            print(f"{name:32} {apart[0]:.1e} {apart[1]:.1e}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
