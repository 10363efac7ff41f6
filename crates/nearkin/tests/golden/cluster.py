"""Numbers that the tests of nearkin::cluster compare with.

Written with scikit-learn 1.9, scipy 1.17, sentence-transformers 6.2 (pip install scikit-learn scipy sentence-transformers).
Each function prints what the test named in its comment holds; `groups` are the rows of most of them.
"""

import numpy as np


def groups():
    """60 points around (0, 0), (3, 0) and (0, 4), the more scattered the later."""
    jitter = (np.arange(120) ** 2 * 7919 % 1009 / 504 - 1).reshape(60, 2)
    of = np.arange(60) % 3
    return np.array([[0, 0], [3, 0], [0, 4]])[of] + np.array([[0.5], [1.5], [2.5]])[of] * jitter


def letters(labels):
    """Labels in one word, "-" for noise, in the order of their first items."""
    names = {-1: "-"}
    for label in labels:
        names.setdefault(label, chr(ord("a") + len(names) - 1))
    return "".join(names[label] for label in labels)


def kmeans():  # kmeans.rs
    from sklearn.cluster import KMeans

    rows = groups()
    fit = KMeans(5, init=rows[:5], n_init=1, tol=0).fit(rows)
    print("k-means", letters(fit.labels_), fit.inertia_)


def cuts():  # agglomerative.rs
    from sklearn.cluster import AgglomerativeClustering

    rows = groups()
    for linkage in ["ward", "average", "complete", "single"]:
        print(linkage, letters(AgglomerativeClustering(6, linkage=linkage).fit_predict(rows)))
    cut = AgglomerativeClustering(None, distance_threshold=0.03, metric="cosine", linkage="average").fit(rows + 3)
    print("cosine, up to 0.03", letters(cut.labels_))


def dbscan():  # dbscan.rs
    from sklearn.cluster import DBSCAN

    rows = groups()
    print("dbscan", letters(DBSCAN(eps=0.6, min_samples=4).fit_predict(rows)))
    print("cosine", letters(DBSCAN(eps=0.001, min_samples=4, metric="cosine").fit_predict(rows + 3)))


def hdbscan():  # hdbscan.rs
    from sklearn.cluster import HDBSCAN

    # With larger neighborhoods many distances of the tree are equal, and the order of rows decides over some labels.
    rows = groups()
    for size, samples in [(4, 1), (6, 2), (3, 3)]:
        found = HDBSCAN(min_cluster_size=size, min_samples=samples, copy=True).fit_predict(rows)
        print("hdbscan", size, samples, letters(found))
    found = HDBSCAN(min_cluster_size=5, min_samples=2, metric="cosine", copy=True).fit_predict(rows + 3)
    print("cosine", letters(found))


def agglomerative():  # agglomerative.rs
    from scipy.cluster.hierarchy import linkage

    rows = ((np.arange(24) ** 2 * 13 % 101).astype(np.float32) / np.float32(50) - np.float32(1)).reshape(8, 3)
    for method, metric in [("average", "cosine"), ("ward", "euclidean")]:
        merges = linkage(rows.astype(np.float64), method, metric)
        print(method, metric, [(int(a), int(b), round(d, 6), int(n)) for a, b, d, n in merges.tolist()])


def community():  # community.rs
    from sentence_transformers.util import community_detection

    rows = ((np.arange(120) ** 2 * 13 % 101).astype(np.float32) / np.float32(50) - np.float32(1)).reshape(40, 3)
    print("communities", community_detection(rows, threshold=0.85, min_community_size=4))


if __name__ == "__main__":
    for function in [kmeans, cuts, dbscan, hdbscan, agglomerative, community]:
        function()
