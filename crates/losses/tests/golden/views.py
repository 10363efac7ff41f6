#!/usr/bin/env python3
"""Golden values of losses over aligned views: what tests/suite/views.rs and wrappers.rs expect.

The losses of sentence-transformers 6.2 themselves, and pytorch-metric-learning 2.9's, on embeddings in place of a model;
Barlow Twins by the code of its paper. All in double precision. With sentence-transformers' source as the first argument,
where it is not installed:

    python views.py [folder of sentence_transformers]
"""

import sys
from types import SimpleNamespace

sys.path[:0] = sys.argv[1:]

import numpy as np
import torch
from sentence_transformers.sentence_transformer.losses import contrastive_tension, gist_embed, multiple_negatives_ranking

i, j = np.mgrid[0:8, 0:4]
E = torch.tensor(np.sin(1.3 * i + 0.7 * j + 0.1 * i * j))
i, j = np.mgrid[0:4, 0:4]
A, P, NEGATIVES = E[:4], E[4:], torch.tensor(np.cos(0.9 * i + 0.5 * j))
BINARY = torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=torch.float64)
# The guide, for anchors, positives and negatives.
i, j = np.mgrid[0:12, 0:4]
GUIDE = torch.tensor(np.cos(0.4 * i - 1.1 * j + 0.3 * i * j)).split(4)


def ranking(*views, **options):
    options = {"directions": ("query_to_doc",), "partition_mode": "joint", "hardness_mode": None, "hardness_strength": 0.0} | options
    options = {"scale": 20.0, "similarity_fct": multiple_negatives_ranking.cos_sim, "gather_across_devices": False} | options
    loss = multiple_negatives_ranking.MultipleNegativesRankingLoss
    return loss.compute_loss_from_embeddings(SimpleNamespace(**options), list(views), None)


def gist(*views, **options):
    model, guide = object(), object()
    options = {"temperature": 0.5, "margin_strategy": "absolute", "margin": 0.0} | options
    options = {"contrast_anchors": True, "contrast_positives": True, "gather_across_devices": False} | options
    loss = SimpleNamespace(model=model, guide=guide, must_retokenize=False, **options)
    loss.cross_entropy_loss = torch.nn.CrossEntropyLoss()
    loss.similarity_fct = torch.nn.CosineSimilarity(dim=-1)
    loss.sim_matrix = lambda x, y: gist_embed.GISTEmbedLoss.sim_matrix(loss, x, y)
    gist_embed.embed_columns = lambda of, _: list(views if of is model else GUIDE[: len(views)])
    return gist_embed.GISTEmbedLoss.forward(loss, [{}] * len(views), None)


def tension(u, v):
    models = {"model1": lambda x: {"sentence_embedding": u}, "model2": lambda x: {"sentence_embedding": v}}
    loss = SimpleNamespace(criterion=torch.nn.BCEWithLogitsLoss(reduction="sum"), **models)
    return contrastive_tension.ContrastiveTensionLoss.forward(loss, [{}, {}], BINARY)


def tension_in_batch(u, v):
    loss = contrastive_tension.ContrastiveTensionLossInBatchNegatives
    models = {"model1": lambda x: {"sentence_embedding": u}, "model2": lambda x: {"sentence_embedding": v}}
    scale = torch.tensor(np.log(20.0))
    cross_entropy, cos = torch.nn.CrossEntropyLoss(), contrastive_tension.cos_sim
    return loss.forward(SimpleNamespace(cross_entropy_loss=cross_entropy, logit_scale=scale, similarity_fct=cos, **models), [{}], None)


def barlow_twins(u, v, weight):
    standardized = torch.nn.BatchNorm1d(4, affine=False).double()
    c = standardized(u).T @ standardized(v) / len(u)
    diagonal = torch.diagonal(c)
    return (diagonal - 1).square().sum() + weight * (c.square().sum() - diagonal.square().sum())


def masked_ranking(similarity_of_own):
    """Candidates whose similarity is above `similarity_of_own(s_ii)` do not count."""
    s = torch.nn.functional.cosine_similarity(A[:, None], torch.cat([P, NEGATIVES])[None], dim=-1)
    own = torch.diagonal(s)[:, None]
    out = (s > similarity_of_own(own)) & ~torch.eye(4, 8, dtype=bool)
    return torch.nn.functional.cross_entropy(s.masked_fill(out, -torch.inf), torch.arange(4))


def labeled_ranking(labels):
    """Positives of other items of the class do not count."""
    s = torch.nn.functional.cosine_similarity(A[:, None], P[None], dim=-1)
    out = (labels[:, None] == labels) & ~torch.eye(4, dtype=bool)
    return torch.nn.functional.cross_entropy(s.masked_fill(out, -torch.inf), torch.arange(4))


def self_supervised(loss, symmetric):
    from pytorch_metric_learning.losses import SelfSupervisedLoss

    return SelfSupervisedLoss(loss, symmetric=symmetric)(A, P)


def main():
    from pytorch_metric_learning import losses

    every = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")
    both = ("query_to_doc", "doc_to_query")
    values = {
        "ranking, all directions": ranking(A, P, NEGATIVES, directions=every),
        "ranking, all directions of pairs": ranking(A, P, directions=every),
        "ranking, both directions joint": ranking(A, P, directions=both),
        "ranking, both directions": ranking(A, P, NEGATIVES, directions=both, partition_mode="per_direction"),
        "ranking, anchors": ranking(A, P, NEGATIVES, directions=("query_to_doc", "query_to_query")),
        "ranking, positives": ranking(A, P, NEGATIVES, directions=("query_to_doc", "doc_to_doc")),
        "ranking(1), absolute 0": masked_ranking(lambda s: s),
        "ranking(1), absolute 0.3": masked_ranking(lambda s: s - 0.3),
        "ranking(1), relative 0.5": masked_ranking(lambda s: s - 0.5 * s.abs()),
        "ranking(1), classes 0 0 1 1": labeled_ranking(torch.tensor([0, 0, 1, 1])),
        "gist(0.5) of pairs": gist(A, P),
        "gist(0.5)": gist(A, P, NEGATIVES),
        "gist(0.5), absolute -0.3": gist(A, P, NEGATIVES, margin=-0.3),
        "gist(0.5), relative 0.3": gist(A, P, NEGATIVES, margin_strategy="relative", margin=0.3),
        "gist(0.5), neither": gist(A, P, NEGATIVES, contrast_anchors=False, contrast_positives=False),
        "contrastive tension": tension(A, P),
        "contrastive tension in batch": tension_in_batch(A, P),
        "barlow twins 0.005": barlow_twins(A, P, 0.005),
        "barlow twins 0.5": barlow_twins(A, P, 0.5),
        "self-supervised NTXent": self_supervised(losses.NTXentLoss(), True),
        "self-supervised NTXent, against": self_supervised(losses.NTXentLoss(), False),
        "self-supervised MultiSimilarity, against": self_supervised(losses.MultiSimilarityLoss(), False),
    }
    for mode in ("in_batch_negatives", "hard_negatives", "all_negatives"):
        values[f"ranking, {mode} 9"] = ranking(A, P, NEGATIVES, hardness_mode=mode, hardness_strength=9.0)
    for name, value in values.items():
        print(f"{name}: {value.item():.10f}")


if __name__ == "__main__":
    main()
