#!/usr/bin/env python3
"""Losses, value and gradient, against pytorch-metric-learning 2.9 on the CPU.

A batch of 1024 unit vectors of 128 numbers, classes of 4. Mining is part of the time. `semi_hard` is one negative for
each pair, as in the paper; `semi_hard_band` is every negative in the margin, as in pytorch-metric-learning: that one
is the peer of both.
"""

import side_by_side

BATCH, DIMENSION, OF_A_CLASS = 1024, 128, 4


def pml_works():
    """{name: (loss, miner)} under the names of the Rust side."""
    from pytorch_metric_learning import losses, miners

    triplet = losses.TripletMarginLoss(margin=0.2)
    band = miners.TripletMarginMiner(margin=0.2, type_of_triplets="semihard")
    return {
        "triplet_margin/semi_hard": (triplet, band),
        "triplet_margin/semi_hard_band": (triplet, band),
        "triplet_margin/batch_hard": (triplet, miners.BatchHardMiner()),
        "triplet_margin/all": (triplet, None),
        "triplet_margin/all/smooth": (losses.TripletMarginLoss(margin=0.2, smooth_loss=True), None),
        "triplet_margin/all/swap": (losses.TripletMarginLoss(margin=0.2, swap=True), None),
        "contrastive": (losses.ContrastiveLoss(), None),
        "n_pair": (losses.NPairsLoss(), None),
        "multi_similarity": (losses.MultiSimilarityLoss(), miners.MultiSimilarityMiner()),
        "multi_similarity/all": (losses.MultiSimilarityLoss(), None),
    }


def main():
    asked = side_by_side.options(__doc__, rounds=5).parse_args()
    side_by_side.bound_threads(asked.threads)
    import torch

    torch.set_num_threads(asked.threads)
    torch.manual_seed(1)
    points = torch.nn.functional.normalize(torch.randn(BATCH, DIMENSION))
    labels = torch.arange(BATCH) // OF_A_CLASS
    works = {name: work for name, work in pml_works().items() if asked.only in name}

    def value_and_gradient(loss, miner):
        leaf = points.clone().requires_grad_()
        loss(leaf, labels, miner(leaf, labels) if miner else None).backward()

    def peer():
        time = lambda work: side_by_side.milliseconds(lambda: value_and_gradient(*work), asked.rounds)
        return {name: time(work) for name, work in works.items()}

    binary = side_by_side.example("nearkin-losses", "peer_losses", not asked.no_build)
    command = [binary, BATCH, DIMENSION, OF_A_CLASS, asked.threads, asked.rounds]
    rust = lambda: {n: t for n, t in side_by_side.run_json(command).items() if asked.only in n}
    medians = side_by_side.alternate({"rust": rust, "peer": peer}, asked.turns)
    side_by_side.report(medians["rust"], medians["peer"], "PML", asked.json)


if __name__ == "__main__":
    main()
