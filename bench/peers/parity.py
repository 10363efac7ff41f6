#!/usr/bin/env python3
"""nearkin and sentence-transformers on one model: the same vectors, and each loads what the other has saved.

    NEARKIN_DATA=data python bench/peers/parity.py [--model FOLDER]

The model is all-MiniLM-L6-v2 by minilm.sh where none is named. 2,000 sentences of STS benchmark, NLI and SentEval files
in $NEARKIN_DATA are embedded, and some that are odd: empty, long, of other scripts, with line breaks. Exit code 1 where a
bound is missed.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ODD = [
    "", " ", "\t", "a", "é" * 3, "東京は日本の首都です。", "Привет, мир!", "🙂🙂 ok", "line\nbreak", "tab\there", "ẞß ﬁ",
    "word " * 2000, "x" * 5000, "[CLS] [SEP] [MASK]", "##ing", "U.S.A. 3.14 50% $5", "naïve café", "\u200bzero width",
]
MOST_APART = 2e-5
LEAST_COSINE = 0.999999


def lines(path):
    opened = gzip.open(path, "rt") if path.suffix == ".gz" else open(path)
    with opened as file:
        header = next(file).rstrip("\n").split("\t")
        for line in file:
            yield dict(zip(header, line.rstrip("\n").split("\t")))


def sentences(count):
    data = Path(os.environ["NEARKIN_DATA"])
    sources = [
        ("sts-benchmark/test.tsv", "sentence1"),
        ("nli/dev.tsv.gz", "premise"),
        ("senteval-classification/MR.all.tsv.gz", "sentence"),
        ("quora-pairs/dev.tsv", "question1"),
    ]
    each, found = (count - len(ODD)) // len(sources) + 1, list(ODD)
    for name, column in sources:
        found += [row[column] for _, row in zip(range(each), lines(data / name))]
    return found[:count]


def nearkin(*arguments):
    binary = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/nearkin"
    done = subprocess.run([binary, *map(str, arguments)], stdout=subprocess.PIPE, check=True)
    return done.stdout


def embed(model, texts, folder):
    source, target = folder / "texts.jsonl", folder / "vectors.npy"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    nearkin("embed", model, source, "--column", "text", "-o", target)
    return np.load(target)


class Report:
    def __init__(self):
        self.missed = False

    def compare(self, what, ours, theirs):
        apart = float(np.abs(ours - theirs).max())
        norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        cosine = float(((ours * theirs).sum(axis=1) / np.maximum(norms, 1e-12)).min())
        self.bound(what, f"max |Δ| {apart:.2e}, least cosine {cosine:.8f}", apart <= MOST_APART and cosine >= LEAST_COSINE)

    def bound(self, what, found, holds):
        self.missed |= not holds
        print(f"{'ok  ' if holds else 'MISS'} {what}: {found}")


def cross_encoder(model, texts, folder, report):
    """A head drawn at random on the model's Transformer, saved by sentence-transformers; scores of pairs with it."""
    import torch
    from sentence_transformers import CrossEncoder

    torch.manual_seed(0)
    judge = CrossEncoder(str(model), num_labels=1)
    with torch.no_grad():
        for name, p in judge.model.named_parameters():
            if name.startswith("classifier"):
                p.normal_(0, 0.5)
    saved, converted = folder / "cross", folder / "cross-converted"
    judge.save_pretrained(str(saved))
    query, answers = texts[40], texts[41:91]
    theirs = judge.predict([(query, answer) for answer in answers])
    nearkin("convert", saved, converted)
    reloaded = CrossEncoder(str(converted)).predict([(query, answer) for answer in answers])
    report.bound("cross-encoder converted, in ST", f"max |Δ| {np.abs(theirs - reloaded).max():.2e}", np.abs(theirs - reloaded).max() < 1e-6)
    gallery, queries = folder / "answers.jsonl", folder / "queries.jsonl"
    gallery.write_text("".join(json.dumps({"text": text}) + "\n" for text in answers))
    queries.write_text(json.dumps({"text": query}) + "\n")
    for name, judged in [("as ST saved it", saved), ("converted", converted)]:
        options = ["--rerank", judged, "--json", "-k", len(answers), "--candidates", len(answers)]
        hits = json.loads(nearkin("search", model, gallery, queries, *options))
        ours = {hit["item"]: hit["similarity"] for hit in hits}
        apart = max(abs(ours[answer] - score) for answer, score in zip(answers, theirs))
        report.bound(f"cross-encoder {name}, in nearkin", f"max |Δ| of scores {apart:.2e}", apart < MOST_APART)


def adapters(model, texts, folder, report):
    """Adapters drawn at random, saved by sentence-transformers and by PEFT, in nearkin; and those that nearkin trained, in PEFT."""
    import torch
    import transformers.integrations.peft
    from peft import LoraConfig, PeftModel, get_peft_model
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel

    # transformers asks for a newer version than there is; what is used here is older.
    transformers.integrations.peft.check_peft_version = lambda **_: None

    def drawn(network):
        torch.manual_seed(0)
        with torch.no_grad():
            for name, p in network.named_parameters():
                if "lora_B" in name:
                    p.normal_(0, 0.05)

    kind = {"task_type": "FEATURE_EXTRACTION", "r": 4, "lora_alpha": 16}
    saved, alone, converted = folder / "st-adapters", folder / "peft", folder / "adapters-converted"
    theirs = SentenceTransformer(str(model), device="cpu")
    theirs.add_adapter(LoraConfig(target_modules=["query", "output.dense"], **kind))
    drawn(theirs)
    theirs.save_pretrained(str(saved))
    expected = theirs.encode(texts)
    report.compare("adapters saved by ST, in nearkin", embed(saved, texts, folder), expected)
    nearkin("convert", saved, converted)
    again = SentenceTransformer(str(converted), device="cpu").encode(texts)
    report.compare("those worked in by nearkin, in ST", again, expected)

    patterns = {"use_rslora": True, "alpha_pattern": {"value": 8}, "rank_pattern": {"value": 2}}
    adapted = get_peft_model(AutoModel.from_pretrained(str(model)), LoraConfig(target_modules=["query", "value"], **patterns, **kind))
    drawn(adapted)
    adapted.save_pretrained(str(alone))
    theirs = SentenceTransformer(str(model), device="cpu")
    theirs[0].model = adapted.merge_and_unload()
    report.compare("adapters saved by PEFT, in nearkin", embed(alone, texts, folder), theirs.encode(texts))

    recipe, run = folder / "lora.toml", folder / "run-lora"
    recipe.write_text(ADAPTED.format(model=model, table=Path(os.environ["NEARKIN_DATA"]) / "sts-benchmark/dev.tsv"))
    nearkin("train", recipe, "--out", run, "--json")
    expected = embed(run / "model", texts, folder)
    report.compare("adapters trained by nearkin, alone", embed(run / "model/adapter", texts, folder), expected)
    theirs = SentenceTransformer(str(model), device="cpu")
    theirs[0].model = PeftModel.from_pretrained(AutoModel.from_pretrained(str(model)), str(run / "model/adapter")).merge_and_unload()
    report.compare("the same, in PEFT", theirs.encode(texts), expected)


ADAPTED = """
[encoder]
model = '{model}'
[encoder.lora]
[loss.cosine_regression]
[optimizer.adamw]
rate = 1e-3
[train]
steps = 6
select = "last"
[[data]]
name = "pairs"
table.path = '{table}'
[data.rows.scored]
first = "sentence1"
second = "sentence2"
score = "score"
"""
RECIPE = """
[cross_encoder]
model = '{model}'
max_tokens = 64
[loss.{loss}]
[optimizer.adamw]
rate = 1e-4
[train]
steps = 6
select = "last"
[[data]]
name = "pairs"
table.path = '{table}'
rows.{rows}
"""
SCORED = '{first="sentence1",second="sentence2",score="score"}'
CLASSES = ["contradiction", "entailment", "neutral"]
CLASSIFIED = '{first="premise",second="hypothesis",label="label",classes=%s}' % json.dumps(CLASSES)


def trained_cross_encoders(model, folder, report):
    """Cross-encoders that nearkin trained a few steps, on scores and on classes, in sentence-transformers."""
    from sentence_transformers import CrossEncoder

    data = Path(os.environ["NEARKIN_DATA"])
    tables = {"sts": (data / "sts-benchmark/dev.tsv", 200), "nli": (data / "nli/dev.tsv.gz", 200)}
    pairs = {name: [row for _, row in zip(range(count), lines(path))] for name, (path, count) in tables.items()}
    texts = [[(row["sentence1"], row["sentence2"]) for row in pairs["sts"]], [(row["premise"], row["hypothesis"]) for row in pairs["nli"]]]
    small = {}
    for name, rows in pairs.items():
        small[name] = folder / f"{name}.tsv"
        table = ["\t".join(rows[0])] + ["\t".join(row.values()) for row in rows]
        small[name].write_text("\n".join(table) + "\n")
    for loss in ("binary_cross_entropy", "mean_squared_error"):
        rows = f"scored={SCORED}"
        judge = train_cross_encoder(folder, loss, small["sts"], rows, model)
        theirs = CrossEncoder(str(judge)).predict(texts[0])
        ours = np.array([score_of(model, judge, folder, pair) for pair in texts[0][:12]])
        report.bound(f"cross-encoder trained on {loss}, in ST", f"max |Δ| {np.abs(ours - theirs[:12]).max():.2e}", np.abs(ours - theirs[:12]).max() < 1e-5)
        found = json.loads(nearkin("evaluate", judge, "--data", small["sts"], "--protocol", "sts", "--rows", rows, "--json"))
        pearson = np.corrcoef(theirs, [float(row["score"]) for row in pairs["sts"]])[0, 1]
        apart = abs(found["scores"]["correlations"]["pearson"]["value"] - pearson)
        report.bound(f"its Pearson over {len(theirs)} pairs", f"{pearson:.4f}, |Δ| {apart:.1e}", apart < 1e-5)
    rows = f"pairs={CLASSIFIED}"
    judge = train_cross_encoder(folder, "cross_entropy", small["nli"], rows, model)
    theirs = CrossEncoder(str(judge))
    named = [theirs.config.id2label[k] for k in range(3)]
    report.bound("cross-encoder of classes, in ST", f"classes {named}", named == CLASSES)
    found = theirs.predict(texts[1]).argmax(axis=1)
    accuracy = float(np.mean([CLASSES[k] == row["label"] for k, row in zip(found, pairs["nli"])]))
    ours = json.loads(nearkin("evaluate", judge, "--data", small["nli"], "--protocol", "pairs", "--rows", rows, "--json"))
    ours = ours["scores"]["classes"]["accuracy"]["value"]
    report.bound("its accuracy", f"{ours:.4f}, {accuracy:.4f} in ST", abs(ours - accuracy) < 1e-6)


def train_cross_encoder(folder, loss, table, rows, model):
    recipe, run = folder / f"{loss}.toml", folder / f"run-{loss}"
    recipe.write_text(RECIPE.format(model=model, loss=loss, table=table, rows=rows))
    nearkin("train", recipe, "--out", run, "--json")
    return run / "model"


def score_of(model, judge, folder, pair):
    """What the cross-encoder makes of a pair: that of the only text of a gallery."""
    gallery, query = folder / "second.jsonl", folder / "first.jsonl"
    gallery.write_text(json.dumps({"text": pair[1]}) + "\n")
    query.write_text(json.dumps({"text": pair[0]}) + "\n")
    hits = nearkin("search", model, gallery, query, "--rerank", judge, "-k", 1, "--json")
    return json.loads(hits)[0]["similarity"]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=Path)
    options.add_argument("--count", type=int, default=2000)
    arguments = options.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    model = arguments.model or Path(subprocess.check_output([HERE / "minilm.sh"], text=True).strip())
    subprocess.run(["cargo", "build", "--release", "-p", "nearkin-cli"], cwd=ROOT, check=True)
    from sentence_transformers import SentenceTransformer

    report, texts = Report(), sentences(arguments.count)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        theirs = SentenceTransformer(str(model), device="cpu")
        expected = theirs.encode(texts)
        report.compare(f"{len(texts)} sentences", embed(model, texts, folder), expected)
        converted, saved, repaired = folder / "converted", folder / "saved", folder / "repaired"
        nearkin("convert", model, converted)
        again = SentenceTransformer(str(converted), device="cpu").encode(texts)
        report.compare("folder written by nearkin, in ST", again, expected)
        theirs.save_pretrained(str(saved))
        report.compare("folder saved by ST, in nearkin", embed(saved, texts, folder), expected)
        nearkin("convert", saved, repaired)
        again = SentenceTransformer(str(repaired), device="cpu").encode(texts)
        report.compare("that folder converted, in ST", again, expected)
        pooling = json.loads((repaired / "1_Pooling/config.json").read_text())
        limits = json.loads((repaired / "sentence_bert_config.json").read_text())
        legacy = pooling.get("pooling_mode_mean_tokens") is True and "max_seq_length" in limits
        report.bound("that folder has the keys that TEI needs", f"{limits}", legacy)
        adapters(model, texts[:300], folder, report)
        cross_encoder(model, texts, folder, report)
        trained_cross_encoders(model, folder, report)
    sys.exit(report.missed)


if __name__ == "__main__":
    main()
