"""Writes the files that the tests of mat.rs read: annotations as those of Cars-196, made up. Needs numpy and scipy."""

import pathlib

import numpy as np
from scipy.io import savemat
from scipy.sparse import csc_matrix

FIELDS = ["relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test"]
ROWS = [
    ("car_ims/000001.jpg", 1, 2, 11, 22, 1, 0),
    ("car_ims/000002.jpg", 3, 4, 50, 60, 98, 1),
    ("car_ims/000003.jpg", 300, 5, 70000, 500, 99, 1),
    ("car_ims/000004.jpg", 7, 8, 9, 10, 196, 0),
]


def variables():
    annotations = np.zeros((1, len(ROWS)), dtype=[(field, object) for field in FIELDS])
    for at, row in enumerate(ROWS):
        for field, value in zip(FIELDS, row):
            annotations[0, at][field] = value
    names = np.array([["AM General Hummer SUV 2000", "Škoda Octavia 1998"]], dtype=object)
    return {
        "annotations": annotations,
        "class_names": names,
        "sizes": np.array([-1.5, 2.0, 70000.0]),
        "sparse": csc_matrix(np.eye(2)),
    }


here = pathlib.Path(__file__).parent
savemat(here / "cars_annos.mat", variables(), do_compression=True)
savemat(here / "cars_annos_plain.mat", variables(), do_compression=False)
