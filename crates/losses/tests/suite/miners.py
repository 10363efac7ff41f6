"""Writes miners.json: what the miners of pytorch-metric-learning 2.9 choose in the golden batch.

    python miners.py >miners.json
"""

import json

import numpy as np
import torch
from pytorch_metric_learning import distances, miners

i, j = np.mgrid[0:8, 0:4]
E = torch.tensor(np.sin(1.3 * i + 0.7 * j + 0.1 * i * j))
labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
DISTANCES = {
    "[cosine]": distances.CosineSimilarity(),
    "[l2]": distances.LpDistance(),
}
WORDS = {"easy": "easy", "hard": "hard", "semi_hard": "semihard", "all": "all"}


def cases():
    for p, of_p in WORDS.items():
        for n, of_n in WORDS.items():
            if "semi_hard" in (p, n) and (p == n or "all" in (p, n)):
                continue
            for distance in DISTANCES.values():
                yield (
                    f"[batch_easy_hard]\npositive = '{p}'\nnegative = '{n}'",
                    miners.BatchEasyHardMiner(of_p, of_n, distance=distance),
                )
            yield (
                f"[batch_easy_hard]\npositive = '{p}'\nnegative = '{n}'\n"
                + ("" if p == "all" else "positive_range = [0.3, 1.2]\n")
                + ("" if n == "all" else "negative_range = [0.9, 1.7]\n"),
                miners.BatchEasyHardMiner(
                    of_p, of_n, [0.3, 1.2], [0.9, 1.7], distance=distances.LpDistance()
                ),
            )
    yield "[pair_margin]", miners.PairMarginMiner()
    yield (
        "[pair_margin]\npositive_margin = 1\nnegative_margin = 1.5",
        miners.PairMarginMiner(1.0, 1.5),
    )
    for angle in (20, 30, 45, 70):
        yield (
            f"[angular]\nangle = {angle}\nnegatives = 8",
            miners.AngularMiner(angle),
        )
    for share in (0.25, 0.5, 0.75, 1.0):
        for distance in DISTANCES.values():
            yield f"[hard_aware]\nshare = {share}", miners.HDCMiner(share, distance=distance)
    for kind in ("all", "hard", "semi_hard", "easy"):
        yield (
            f"[triplet_margin]\nkind = '{kind}'",
            miners.TripletMarginMiner(0.2, kind.replace("_", "")),
        )


def chosen(miner, embeddings):
    indices = [part.tolist() for part in miner(embeddings, labels)]
    if len(indices) == 3:
        return {"triplets": sorted(zip(*indices))}
    return {"pairs": sorted({*zip(*indices[:2]), *zip(*indices[2:])})}


def main():
    found = []
    for recipe, miner in cases():
        if isinstance(miner, miners.AngularMiner):
            # It takes embeddings as they come, though it insists on a distance that normalizes them.
            unit = torch.nn.functional.normalize(E)
            both = [("[l2]", unit), ("[l2]\nnormalize = false", E)]
        else:
            both = [(name, E) for name, distance in DISTANCES.items() if isinstance(miner.distance, type(distance))]
        for distance, embeddings in both:
            found.append({"miner": recipe, "distance": distance, **chosen(miner, embeddings)})
    print("[")
    print(",\n".join(json.dumps(case) for case in found))
    print("]")


main()
