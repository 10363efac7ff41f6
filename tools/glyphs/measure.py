#!/usr/bin/env python3
"""Measures raw pixels on glyphs.zip: the baseline that a trained embedding has to beat.

Every image is a query against all the others of its split (itself left out), by cosine.
"""

import io
import tomllib
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
ASSETS = HERE.parents[1] / "crates" / "nearkin" / "assets"


def load(path):
    """Returns images [N, D] and their 'Script/class' and script names."""
    pixels, classes = [], []
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            image = Image.open(io.BytesIO(archive.read(name))).convert("L")
            pixels.append(np.asarray(image, dtype=np.float64).ravel())
            classes.append(name.rsplit("/", 1)[0])
    return np.array(pixels), np.array(classes), np.array([c.split("/")[0] for c in classes])


def recall_and_map(pixels, classes):
    """Recall@1 and MAP@R, where R is the number of other items of the query's class."""
    unit = pixels / np.linalg.norm(pixels, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    order = np.argsort(-similarity, axis=1, kind="stable")
    hits = classes[order] == classes[:, None]
    averages = []
    for row, own in zip(hits, classes):
        relevant = np.sum(classes == own) - 1
        top = row[:relevant]
        precision = np.cumsum(top) / np.arange(1, relevant + 1)
        averages.append(np.sum(precision * top) / relevant)
    return hits[:, 0].mean(), np.mean(averages)


def main():
    fonts = tomllib.loads((HERE / "fonts.toml").read_text())
    pixels, classes, scripts = load(ASSETS / "glyphs.zip")
    groups = {name: scripts == name for name in fonts["scripts"]}
    for split in ("train", "test"):
        names = [n for n, script in fonts["scripts"].items() if script["split"] == split]
        groups[split] = np.isin(scripts, names)
    print(f"{'':9} classes items  Recall@1  MAP@R")
    for name, rows in groups.items():
        recall, average = recall_and_map(pixels[rows], classes[rows])
        kinds = len(set(classes[rows]))
        print(f"{name:9} {kinds:7} {rows.sum():5}  {recall:8.3f}  {average:5.3f}")


if __name__ == "__main__":
    main()
