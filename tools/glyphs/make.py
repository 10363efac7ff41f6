#!/usr/bin/env python3
"""Makes nearkin's bundled data: glyphs.zip, digits.csv.gz and LICENSES.md.

A class is a character, an item is that character in one typeface. `fonts.toml` names the
characters, the typefaces and their versions; README.md says how to run this.
"""

import argparse
import csv
import gzip
import io
import json
import re
import struct
import subprocess
import tarfile
import tomllib
import unicodedata
import zipfile
import zlib
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent
ASSETS = HERE.parents[1] / "crates" / "nearkin" / "assets"

SIDE = 32  # pixels of an image
BODY = 23  # pixels of the larger side of a script's middling character
ROOM = 30  # no character is larger than this: one pixel of margin is left
EM = 320  # pixels of an em while drawing, before the reduction to SIDE
MAX_ITEMS = 20
SAME_IN_CLASS = 0.985  # cosine from which two typefaces count as the same design
SAME_IN_FONT = 0.999  # cosine from which two characters of a typeface count as one


class Typeface:
    """The upright face nearest to weight 400 of one @fontsource package."""

    def __init__(self, family, version, cache):
        self.family, self.version = family, version
        self.files, self.fonts = {}, {}
        with tarfile.open(fetch(family, version, cache)) as package:
            read = lambda name: package.extractfile(f"package/{name}").read()
            meta = json.loads(read("metadata.json"))
            self.name = meta["family"]
            self.license = meta["license"]["type"]
            self.copyright = first_notice(meta["license"]["attribution"])
            weight = min(meta["weights"], key=lambda w: (abs(w - 400), w))
            for name in sorted(package.getnames()):
                if re.fullmatch(rf"package/files/.+-{weight}-normal\.woff2", name):
                    self.files[name] = package.extractfile(name).read()
        self.holders = {}  # character -> the subset file that has it
        for name, data in self.files.items():
            font = TTFont(io.BytesIO(data), lazy=True)
            if "opyright" not in self.copyright:  # the package does not know it: ask the font
                self.copyright = font["name"].getDebugName(0) or self.copyright
            for code in font.getBestCmap() or {}:
                self.holders.setdefault(chr(code), name)

    def draw(self, char):
        """Returns the character large, cropped to its ink, or None where the face lacks it."""
        holder = self.holders.get(char)
        if holder is None:
            return None
        if holder not in self.fonts:
            font, plain = TTFont(io.BytesIO(self.files[holder])), io.BytesIO()
            if font.getBestCmap()[ord(char)] == ".notdef":
                return None
            font.flavor = None
            font.save(plain)
            plain.seek(0)
            self.fonts[holder] = ImageFont.truetype(plain, EM, layout_engine=ImageFont.Layout.BASIC)
        page = Image.new("L", (4 * EM, 4 * EM))
        ImageDraw.Draw(page).text((EM, EM), char, fill=255, font=self.fonts[holder])
        box = page.getbbox()
        return page.crop(box) if box else None


def fetch(family, version, cache):
    """Returns the path of the package @fontsource/<family>@<version>, through npm."""
    path = cache / f"fontsource-{family}-{version}.tgz"
    if not path.exists():
        name = f"@fontsource/{family}@{version}"
        subprocess.run(["npm", "pack", "--silent", "--pack-destination", cache, name], check=True)
    return path


def first_notice(attribution):
    """The notice of the upright face: packages join the notices of all their files."""
    text = " ".join(re.split(r"\s\S+\.ttf: ", attribution)[0].split())
    return re.sub(r"^(Copyright \(c\) \d+, )(?=Copyright)", "", text)


def reduce(ink, scale):
    """Scales the cropped ink down and centers it on a black SIDE x SIDE page, in 16 levels."""
    scale = min(scale, ROOM / max(ink.size))
    size = [max(1, round(side * scale)) for side in ink.size]
    small = ink.resize(size, Image.Resampling.BOX)
    page = Image.new("L", (SIDE, SIDE))
    page.paste(small, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return np.rint(np.asarray(page) / 17).astype(np.uint8)


def cosine(a, b):
    a, b = a.astype(float).ravel(), b.astype(float).ravel()
    return a @ b / np.sqrt((a @ a) * (b @ b))


def render(face, characters):
    """All the characters of one script in one typeface, at one size, as {character: levels}."""
    inks = {char: face.draw(char) for char in characters}
    inks = {char: ink for char, ink in inks.items() if ink is not None}
    if not inks:
        return {}
    scale = BODY / np.median([max(ink.size) for ink in inks.values()])
    glyphs = {char: reduce(ink, scale) for char, ink in inks.items()}
    twins = lambda c: any(d != c and cosine(glyphs[c], glyphs[d]) > SAME_IN_FONT for d in glyphs)
    return {char: glyph for char, glyph in glyphs.items() if glyph.max() > 7 and not twins(char)}


def collect(script, faces):
    """Items of a script as {character: {family: levels}}: different designs, at most MAX_ITEMS."""
    classes = {char: {} for char in script["characters"]}
    for family in script["families"]:
        for char, glyph in render(faces(family), script["characters"]).items():
            items = classes[char]
            if len(items) < MAX_ITEMS and all(
                cosine(glyph, other) < SAME_IN_CLASS for other in items.values()
            ):
                items[family] = glyph
    return classes


def png(levels):
    """Encodes 16-level grey as the smallest of a few 4-bit PNG files."""
    packed = (levels[:, 0::2] << 4) | levels[:, 1::2]
    above = np.vstack([np.zeros_like(packed[:1]), packed[:-1]])
    before = np.hstack([np.zeros_like(packed[:, :1]), packed[:, :-1]])
    rows = {0: packed, 1: packed - before, 2: packed - above}
    streams = []
    for kind, row in rows.items():
        raw = np.hstack([np.full((SIDE, 1), kind, np.uint8), row]).tobytes()
        for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_RLE):
            squeeze = zlib.compressobj(9, zlib.DEFLATED, 9, 9, strategy)
            streams.append(squeeze.compress(raw) + squeeze.flush())

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", SIDE, SIDE, 4, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", min(streams, key=len)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def class_name(char):
    """`u0e01_ko_kai`: the code point and the end of the character's Unicode name."""
    name = unicodedata.name(char)
    name = re.sub(r"^(LATIN|GREEK|CYRILLIC|THAI|HEBREW|ARABIC|HIRAGANA|KATAKANA) ", "", name)
    name = re.sub(r"\b(LETTER|CHARACTER) ", "", name)
    return f"u{ord(char):04x}_{name.lower().replace(' ', '_').replace('-', '_')}"


def write_zip(path, scripts):
    """Writes Script/class/family.png, stored, sorted, with one fixed date."""
    entries = {
        f"{script}/{class_name(char)}/{family}.png": png(levels)
        for script, classes in scripts.items()
        for char, items in classes.items()
        for family, levels in items.items()
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            archive.writestr(info, entries[name])


def write_digits(path):
    """Copies scikit-learn's digits: 64 pixels of 0 to 16, then the label, without a header."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [*map(int, pixels), int(label)] for pixels, label in zip(digits.data, digits.target)
    )
    path.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))


def write_licenses(path, faces):
    lines = [
        "# Typefaces of `glyphs.zip`",
        "",
        "The images were drawn from these typefaces; no font file is part of the set. Licences: the",
        "SIL Open Font License 1.1 (<https://openfontlicense.org>) and the Apache License 2.0",
        "(<https://www.apache.org/licenses/LICENSE-2.0>). `Package` is the npm package `@fontsource/…`.",
        "",
        "| Typeface | Package | Licence | Notice |",
        "|---|---|---|---|",
    ]
    for face in sorted(faces, key=lambda face: face.family):
        notice = face.copyright.replace("|", "\\|")
        lines.append(f"| {face.name} | {face.family} {face.version} | {face.license} | {notice} |")
    path.write_text("\n".join(lines) + "\n")


def write_sheet(path, scripts):
    """One row a class, one column an item: to look at."""
    rows = [list(items.values()) for classes in scripts.values() for items in classes.values()]
    sheet = Image.new("L", ((SIDE + 1) * MAX_ITEMS, (SIDE + 1) * len(rows)), 60)
    for y, row in enumerate(rows):
        for x, levels in enumerate(row):
            sheet.paste(Image.fromarray(levels * 17), (x * (SIDE + 1), y * (SIDE + 1)))
    sheet.save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder for the npm packages")
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet (PNG) here")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    fonts = tomllib.loads((HERE / "fonts.toml").read_text())

    opened = {}

    def faces(family):
        if family not in opened:
            opened[family] = Typeface(family, fonts["versions"][family], options.cache)
        return opened[family]

    scripts = {}
    for name, script in fonts["scripts"].items():
        scripts[name] = collect(script, faces)
        counts = [len(items) for items in scripts[name].values()]
        used = {family for items in scripts[name].values() for family in items}
        print(f"{name:9} {script['split']:5} {len(counts):3} classes, {sum(counts):5} items,",
              f"{min(counts)} to {max(counts)} a class, {len(used)} typefaces")
    used = {f for classes in scripts.values() for items in classes.values() for f in items}
    for family in used:
        if opened[family].license not in ("OFL-1.1", "Apache-2.0"):
            raise SystemExit(f"{family}: unexpected licence {opened[family].license}")

    write_zip(ASSETS / "glyphs.zip", scripts)
    write_licenses(ASSETS / "LICENSES.md", [opened[family] for family in used])
    write_digits(ASSETS / "digits.csv.gz")
    if options.sheet:
        write_sheet(options.sheet, scripts)


if __name__ == "__main__":
    main()
