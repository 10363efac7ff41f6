//! What is measured, and by which convention.

use serde::Serialize;

/// One line of `nearkin list metrics`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Metric {
    /// The name in tables.
    pub name: &'static str,
    /// What it is, with rel, P and R as in the module's documentation.
    pub definition: &'static str,
    /// Where conventions differ, the one used here.
    pub convention: &'static str,
}

/// Every metric.
pub fn metrics() -> &'static [Metric] {
    METRICS
}

const METRICS: &[Metric] = &[
    Metric {
        name: "Recall@K",
        definition: "1 if any of the first K is relevant; mean over queries",
        convention: "metric learning's (CMC@K, hit@K), not relevant found divided by R",
    },
    Metric {
        name: "R-precision",
        definition: "P(R); mean over queries",
        convention: "queries with R = 0 are excluded and counted",
    },
    Metric {
        name: "MAP@R",
        definition: "(1/R) Σ_{i≤R} rel(i) P(i); mean over queries",
        convention: "searched to the depth of the largest R (Musgrave et al. 2020)",
    },
    Metric {
        name: "precision@K, coverage@K",
        definition: "relevant among the first K, divided by K; divided by R; mean over queries",
        convention: "coverage is what information retrieval calls recall; its tables of texts do so too",
    },
    Metric {
        name: "MRR@K, nDCG@K",
        definition: "1 / rank of the first relevant one; Σ gain(i) / log₂(i + 1), divided by that of the best ranking",
        convention: "0 if none is among the first K; the gain is rel, or the number of shared labels, or as judged",
    },
    Metric {
        name: "MAP@K, MAP/R@K, MAP/F@K",
        definition: "Σ_{i≤K} rel(i) P(i), divided by min(K, R); by R; by the relevant ones found",
        convention: "sentence-transformers'; pytorch-metric-learning's; open-metric-learning's",
    },
    Metric {
        name: "mean over classes",
        definition: "mean over classes of the means over their queries (macro average)",
        convention: "every other mean is over queries (micro average)",
    },
    Metric {
        name: "difference, p",
        definition: "mean of first − second over the same queries; share of random signs with a difference as large",
        convention: "paired bootstrap and permutation over queries, or over classes (--resample classes); two-sided",
    },
    Metric {
        name: "NMI",
        definition: "2 I(clusters; classes) / (H(clusters) + H(classes)), k-means with as many clusters as classes",
        convention: "arithmetic mean of entropies; mean and deviation over k-means seeds",
    },
    Metric {
        name: "F1",
        definition: "2 P R / (P + R) over pairs of items: one cluster and one class; the clusters of NMI",
        convention: "mean and deviation over k-means seeds (Song et al. 2016)",
    },
    Metric {
        name: "AMI, ARI",
        definition: "(I - E I) / (mean H - E I); (S - E) / ((A + B) / 2 - E) over pairs: agreement of clusters beyond chance",
        convention: "scikit-learn's, arithmetic mean of entropies; mean and deviation over 10 k-means seeds",
    },
    Metric {
        name: "homogeneity, completeness, B-cubed F1",
        definition: "I / H(classes); I / H(clusters); of the shares of an item's cluster and class that the two have in common",
        convention: "the V-measure is NMI; the item itself counts in B-cubed (Bagga and Baldwin 1998)",
    },
    Metric {
        name: "CMC@k, mAP, mINP",
        definition: "a match among the first k; average precision; R / rank of the last match",
        convention: "Market-1501's: items of the query's identity and camera are dropped, queries without a match left out",
    },
    Metric {
        name: "single shot CMC@k",
        definition: "a match among the first k of a gallery with one item an identity",
        convention: "CUHK03's: of another camera than the query's, drawn anew for each query; mean and deviation over 10 draws",
    },
    Metric {
        name: "rank-k, DIR@FAR",
        definition: "own identity among the k nearest; own identity nearest and above the threshold that FAR of the impostors pass",
        convention: "one gallery item an identity, drawn at random; mean and deviation over 10 draws",
    },
    Metric {
        name: "VRF(neg = n)",
        definition: "a positive nearer than n items of n other classes, all drawn at random",
        convention: "the N-pair paper's; ties fail; mean and deviation over 10 draws",
    },
    Metric {
        name: "k-NN accuracy, BAC",
        definition: "the class that most of the k nearest references have; mean over classes of their shares",
        convention: "scikit-learn's: Euclidean distance of vectors as they are, k = 5, or the largest odd number up to the shots, ties to the smallest label",
    },
    Metric {
        name: "silhouette, Davies–Bouldin, Calinski–Harabasz",
        definition: "mean of (b − a) / max(a, b); mean over classes of the worst (S_i + S_j) / M_ij; variance between over within",
        convention: "of true classes, Euclidean, as scikit-learn; few-shot of vectors as they are, clustering of unit vectors",
    },
    Metric {
        name: "intra, inter",
        definition: "mean ± deviation of ‖u − v‖ / 2 over all pairs of the same and of different classes",
        convention: "unit vectors, from 0 to 1",
    },
    Metric {
        name: "accuracy, VAL@FAR over folds",
        definition: "pairs on the right side of a threshold; share of the same accepted at that share of different ones",
        convention: "LFW's: ‖u − v‖² of unit vectors below a threshold chosen on the other folds; mean and deviation over folds",
    },
    Metric {
        name: "AP, best F1, best accuracy",
        definition: "Σ (Rₖ − Rₖ₋₁) Pₖ over thresholds on the cosine; the best of any threshold",
        convention: "thresholds are chosen on the pairs that are scored (sentence-transformers', scikit-learn's average precision)",
    },
    Metric {
        name: "AUC, EER",
        definition: "area under true over false accepts; the rate where false accepts equal false rejects",
        convention: "ties count one half; linear between the two thresholds around the crossing",
    },
    Metric {
        name: "TAR@FAR, FNMR@FMR",
        definition: "the largest share of the same accepted by a threshold that accepts at most FAR of the different ones; 1 − that",
        convention: "one threshold for all pairs, chosen on them; biometrics call FAR over all pairs FMR",
    },
    Metric {
        name: "alignment, uniformity",
        definition: "mean ‖u − v‖² of kin; log mean exp(−2 ‖u − v‖²) of all pairs",
        convention: "unit vectors (Wang and Isola 2020, α = t = 2); all pairs of a class are kin",
    },
    Metric {
        name: "dimensions, effective rank",
        definition: "(tr Σ)² / tr Σ²; exp(−Σ p log p), p the shares of the singular values",
        convention: "Σ: covariance of unit vectors; singular values of the centered unit vectors (Roy and Vetterli 2007)",
    },
    Metric {
        name: "hubness, orphans",
        definition: "skewness of how often an item is among the 10 nearest of others; share of items that never are",
        convention: "cosine; ties to the smaller index (Radovanović et al. 2010)",
    },
    Metric {
        name: "spread",
        definition: "1 − ‖mean e‖² / mean ‖e‖²",
        convention: "0 when all embeddings are one point",
    },
];
