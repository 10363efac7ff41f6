#!/usr/bin/env python3
"""Decoding and augmentation of a folder of images: nearkin beside torchvision's DataLoader, milliseconds an image.

    image_pipeline.py [FOLDER | ARCHIVE.zip]

Without an argument: the JPEG of $NEARKIN_DATA/cars196. Both sides read each file, decode it, cut a random part that is
resized to 64 x 64, mirror half of them, change brightness, contrast, saturation and hue, and normalize, in batches of 64;
torchvision with as many worker processes as nearkin has threads. Each runs in a process of its own, one pass to warm up
and one that is timed. nearkin also runs with all decoded images kept in memory; that pass has no peer.
"""

import json
import os
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from side_by_side import alternate, bound_threads, example, options, report, run_json

BATCH, SIDE = 64, 64


def measure(folder, workers):
    """The torchvision side of one process."""
    import torch
    from torchvision import datasets, transforms

    torch.set_num_threads(1)  # the work is the workers'
    change = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIDE),
            transforms.RandomHorizontalFlip(),
            transforms.ColorJitter(0.4, 0.4, 0.4, 0.1),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    images = datasets.ImageFolder(folder, change)
    loader = torch.utils.data.DataLoader(images, BATCH, num_workers=workers, persistent_workers=True)

    def once():
        start = time.perf_counter()
        for _ in loader:
            pass
        return (time.perf_counter() - start) * 1e3 / len(images)

    once()
    return {"decoded": once()}


def main():
    parser = options(__doc__.splitlines()[0], rounds=1)
    parser.add_argument("images", nargs="?", type=Path, help="a folder of class folders, or a zip archive of it")
    parser.add_argument("--peer", action="store_true", help="the other side alone; used by the script itself")
    asked = parser.parse_args()
    bound_threads(asked.threads)
    if asked.peer:
        print(json.dumps(measure(asked.images, asked.threads)))
        return
    images = asked.images or Path(os.environ["NEARKIN_DATA"]) / "cars196" / "images.zip"
    with tempfile.TemporaryDirectory() as unpacked:
        if images.is_file():
            zipfile.ZipFile(images).extractall(unpacked)
            images = Path(unpacked)
        binary = example("nearkin", "peer_images", not asked.no_build)
        peer = [sys.executable, __file__, "--peer", "--threads", asked.threads, images]
        sides = {"rust": lambda: run_json([binary, images]), "peer": lambda: run_json(peer)}
        found = alternate(sides, asked.turns)
    report(found["rust"], found["peer"], "torchvision", asked.json)


if __name__ == "__main__":
    main()
