"""Numbers that the tests of nearkin::text compare with.

Written with sentence-transformers 6.2, scikit-learn 1.9, scipy 1.17 (pip install sentence-transformers scikit-learn scipy).
Each function prints what the test named in its comment holds.
"""

import numpy as np


def binary():  # pairs.rs
    from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator as Evaluator
    from sklearn.metrics import average_precision_score

    scores = np.array([0.9, 0.8, 0.8, 0.7, 0.55, 0.5, 0.5, 0.3, 0.1, -0.2])
    labels = np.array([1, 1, 0, 1, 0, 1, 0, 0, 1, 0])
    print("AP", average_precision_score(labels, scores))
    print("accuracy, threshold", Evaluator.find_best_acc_and_threshold(scores, labels, True))
    print("F1, precision, recall, threshold", Evaluator.find_best_f1_and_threshold(scores, labels, True))


def quantize():  # quantize.rs
    from sentence_transformers.util import quantize_embeddings

    rows = ((np.arange(30) * 37 % 101).astype(np.float32) / np.float32(50) - np.float32(1)).reshape(6, 5)
    print("uint8", quantize_embeddings(rows, "uint8", calibration_embeddings=rows[:4]).ravel().tolist())
    print("ubinary", quantize_embeddings(rows, "ubinary").ravel().tolist())


def logistic_regression():  # logistic_regression.rs
    from sklearn.linear_model import LogisticRegression

    rows = ((np.arange(120) * 37 % 101).astype(np.float32) / np.float32(50) - np.float32(1)).reshape(40, 3)
    labels = (rows.argmax(axis=1) + (np.arange(40) % 5 == 0)) % 3
    print("classes", np.bincount(labels))
    penalty = 0.05
    fit = LogisticRegression(C=1 / (penalty * len(rows)), tol=1e-10, max_iter=10000).fit(rows, labels)
    print("weights", fit.coef_.ravel().tolist(), "bias", fit.intercept_.tolist())


def agglomerative():  # agglomerative.rs
    from scipy.cluster.hierarchy import linkage

    rows = ((np.arange(24) ** 2 * 13 % 101).astype(np.float32) / np.float32(50) - np.float32(1)).reshape(8, 3)
    for method, metric in [("average", "cosine"), ("ward", "euclidean")]:
        merges = linkage(rows.astype(np.float64), method, metric)
        print(method, metric, [(int(a), int(b), round(d, 6), int(n)) for a, b, d, n in merges.tolist()])


def tfidf():  # tfidf.rs
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["A man is playing a flute.", "The man plays the flute!", "Two dogs run; a cat sleeps.", "a a a man"]
    vectors = TfidfVectorizer(token_pattern=r"[^\W_]+").fit(texts).transform(texts).toarray()
    print("cosines", (vectors @ vectors.T)[[0, 0, 0, 1, 1, 2], [1, 2, 3, 2, 3, 3]].tolist())


if __name__ == "__main__":
    binary()
    quantize()
    logistic_regression()
    agglomerative()
    tfidf()
