#!/usr/bin/env python3
"""Losses, value and gradients, against pytorch-metric-learning 2.9 and sentence-transformers 6.2 on the CPU.

A batch of unit vectors of 128 numbers in classes of 4, by default 1024 of them; losses over classes learn 10,000.
Mining is part of the time. `semi_hard` is one negative for each pair, as in the paper; `semi_hard_band` is every
negative in the margin, as in pytorch-metric-learning: that one is the peer of both. The column `products` is the Rust
side's time over that of the two matrix products that no loss over pairs can avoid, S and its gradient's.

`--memory` prints the peak memory of the Rust side instead, each loss in a process of its own, in units of a matrix
[B, B] of 4-byte numbers; the process itself, its inputs and learned parameters are part of it.
"""

import os
import subprocess

import side_by_side

DIMENSION, OF_A_CLASS = 128, 4
SLOW = 1000  # milliseconds
PRODUCTS = "two_products"


def pml_works(classes):
    """{name: (loss, miner)} under the names of the Rust side."""
    from pytorch_metric_learning import losses, miners

    triplet = losses.TripletMarginLoss(margin=0.2)
    band = miners.TripletMarginMiner(margin=0.2, type_of_triplets="semihard")
    shape = {"num_classes": classes, "embedding_size": DIMENSION}
    return {
        "triplet_margin/semi_hard": (triplet, band),
        "triplet_margin/semi_hard_band": (triplet, band),
        "triplet_margin/batch_hard": (triplet, miners.BatchHardMiner()),
        "triplet_margin/all/l2": (triplet, None),
        "triplet_margin/all/smooth": (losses.TripletMarginLoss(margin=0.2, smooth_loss=True), None),
        "triplet_margin/all/swap": (losses.TripletMarginLoss(margin=0.2, swap=True), None),
        "angular": (losses.AngularLoss(), None),
        "arcface": (losses.ArcFaceLoss(**shape), None),
        "circle": (losses.CircleLoss(), None),
        "contrastive/l2": (losses.ContrastiveLoss(), None),
        "cosface": (losses.CosFaceLoss(**shape), None),
        "cross_batch_memory": (losses.CrossBatchMemory(losses.ContrastiveLoss(), DIMENSION, 16384), None),
        "dynamic_soft_margin": (losses.DynamicSoftMarginLoss(), None),
        "fast_ap": (losses.FastAPLoss(), None),
        "generalized_lifted_structure": (losses.GeneralizedLiftedStructureLoss(), None),
        "histogram": (losses.HistogramLoss(n_bins=100), None),
        "intra_pair_variance": (losses.IntraPairVarianceLoss(), None),
        "large_margin_softmax": (losses.LargeMarginSoftmaxLoss(**shape), None),
        "lifted_structure": (losses.LiftedStructureLoss(), None),
        "margin": (losses.MarginLoss(), None),
        "multi_similarity": (losses.MultiSimilarityLoss(), miners.MultiSimilarityMiner()),
        "multi_similarity/all": (losses.MultiSimilarityLoss(), None),
        "n_pair": (losses.NPairsLoss(), None),
        "nca": (losses.NCALoss(), None),
        "normalized_softmax": (losses.NormalizedSoftmaxLoss(**shape), None),
        "nt_xent": (losses.NTXentLoss(), None),
        "p2s_grad": (losses.P2SGradLoss(descriptors_dim=DIMENSION, num_classes=classes), None),
        "pnp": (losses.PNPLoss(), None),
        "proxy_anchor": (losses.ProxyAnchorLoss(**shape), None),
        "proxy_nca": (losses.ProxyNCALoss(**shape), None),
        "ranked_list": (losses.RankedListLoss(margin=0.4, Tn=10), None),
        "smooth_ap": (losses.SmoothAPLoss(), None),
        "snr_contrastive": (losses.SignalToNoiseRatioContrastiveLoss(), None),
        "soft_triple": (losses.SoftTripleLoss(**shape), None),
        "sphereface": (losses.SphereFaceLoss(**shape), None),
        "sub_center_arcface": (losses.SubCenterArcFaceLoss(**shape), None),
        "sup_con": (losses.SupConLoss(), None),
        "threshold_consistent_margin": (losses.ThresholdConsistentMarginLoss(), None),
        "tuplet_margin": (losses.TupletMarginLoss(), None),
    }


# Batches that a peer cannot hold in 24 GiB, or only just, as measured; they are timed up to these.
LARGEST_OF_PEER = {"nt_xent": 256, "lifted_structure": 256, "pnp": 256, "smooth_ap": 256, "tuplet_margin": 256}


def st_works():
    """{name: (loss, views)}: functions of the views' embeddings and of labels or scores."""
    from sentence_transformers.sentence_transformer import losses
    from torch import nn

    class Nothing(nn.Module):
        """Stands where a model would."""

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return None

    model = Nothing()
    with_views = {
        "angle": (losses.AnglELoss(model), 2),
        "cosent": (losses.CoSENTLoss(model), 2),
        "cosine_regression": (losses.CosineSimilarityLoss(model), 2),
        "global_orthogonal": (losses.GlobalOrthogonalRegularizationLoss(model), 2),
        "multiple_negatives_ranking": (losses.MultipleNegativesRankingLoss(model), 2),
        "online_contrastive": (losses.OnlineContrastiveLoss(model), 2),
        "triplet_euclidean": (losses.TripletLoss(model, triplet_margin=1), 3),
    }
    return with_views


def peer_works(points, classes):
    """{name: function} that computes value and gradients once."""
    import torch

    batch = len(points)
    labels = torch.arange(batch) // OF_A_CLASS % classes

    def labeled(loss, miner):
        leaf = points.clone().requires_grad_()
        loss(leaf, labels, miner(leaf, labels) if miner else None).backward()

    def aligned(loss, views):
        leaf = points[: batch // views * views].clone().requires_grad_()
        value = loss.compute_loss_from_embeddings(list(leaf.chunk(views)), torch.linspace(0, 1, batch // views).round())
        (sum(value.values()) if isinstance(value, dict) else value).backward()

    works = {
        name: lambda work=work: labeled(*work)
        for name, work in pml_works(classes).items()
        if batch <= LARGEST_OF_PEER.get(name, batch)
    }
    works |= {name: lambda work=work: aligned(*work) for name, work in st_works().items()}
    return works


def time_works(works, rounds):
    """{name: milliseconds}; a work that the peer refuses is left out, and said. One call is enough of a slow one."""
    times = {}
    for name, work in works.items():
        try:
            first = side_by_side.milliseconds(work, 0)
            times[name] = first if first > SLOW else side_by_side.milliseconds(work, rounds)
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            print(f"peer, {name}: {str(error).splitlines()[0]}")
    return times


def peak_memory(command):
    """Peak resident bytes of a process."""
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return usage.ru_maxrss * 1024


def print_memory(command, names, batch):
    for name in names:
        peak = peak_memory([*command, 1, name])
        print(f"{name:32} {peak / 2**20:8.0f} MiB  {peak / (4 * batch * batch):6.2f} B²")


def main():
    parser = side_by_side.options(__doc__, rounds=5)
    parser.add_argument("--batch", type=int, default=1024, help="rows of the batch (default: 1024)")
    parser.add_argument("--classes", type=int, default=10_000, help="classes that are learned (default: 10000)")
    parser.add_argument("--memory", action="store_true", help="print the peak memory of the Rust side")
    parser.add_argument("--alone", action="store_true", help="time the Rust side without its peers")
    asked = parser.parse_args()
    side_by_side.bound_threads(asked.threads)
    binary = side_by_side.example("nearkin-losses", "peer_losses", not asked.no_build)
    command = [binary, asked.batch, DIMENSION, OF_A_CLASS, asked.classes, asked.threads]
    names = [n for n in side_by_side.run_json([binary, 8, 8, 2, 8, asked.threads, 1]) if asked.only in n]
    if asked.memory:
        return print_memory(command, names, asked.batch)
    sides = {"rust": lambda: side_by_side.run_json([*command, asked.rounds, *{PRODUCTS, *names}])}
    if not asked.alone:
        import torch

        torch.set_num_threads(asked.threads)
        torch.manual_seed(1)
        points = torch.nn.functional.normalize(torch.randn(asked.batch, DIMENSION))
        works = {n: w for n, w in peer_works(points, asked.classes).items() if asked.only in n}
        sides["peer"] = lambda: time_works(works, asked.rounds)
    medians = side_by_side.alternate(sides, asked.turns)
    rust, peer = medians["rust"], medians.get("peer", {})
    side_by_side.report_beside(rust, peer, rust[PRODUCTS], asked.json)


if __name__ == "__main__":
    main()
