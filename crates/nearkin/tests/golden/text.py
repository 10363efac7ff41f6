"""Numbers that the tests of nearkin::text compare with.

Written with sentence-transformers 6.2, scikit-learn 1.9, scipy 1.17 (pip install sentence-transformers datasets scikit-learn scipy).
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


def hard_negatives():  # hard_negatives.rs
    from datasets import Dataset
    from sentence_transformers.util import cos_sim, mine_hard_negatives, pairwise_cos_sim

    rows = ((np.arange(104) ** 2 * 13 % 101).astype(np.float32) / np.float32(50) - np.float32(1)).reshape(26, 4)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    class Model:  # text "q3" has row 3, "d3" row 6 + 3
        device = "cpu"
        similarity, similarity_pairwise = staticmethod(cos_sim), staticmethod(pairwise_cos_sim)

        def encode_query(self, texts, **_):
            return np.stack([rows[int(text[1:]) + 6 * (text[0] == "d")] for text in texts])

        encode_document = encode_query

    pairs = [(0, 3), (1, 1), (2, 9), (3, 12), (4, 7), (5, 15), (0, 8)]
    data = Dataset.from_dict({"q": [f"q{q}" for q, _ in pairs], "p": [f"d{p}" for _, p in pairs]})
    corpus = [f"d{document}" for document in range(20)]
    for filters in [
        {},
        {"range_min": 2},
        {"relative_margin": 0.1},
        {"absolute_margin": 0.2, "max_score": 0.6, "min_score": -0.3},
        {"range_min": 1, "range_max": 6, "relative_margin": 0.3},
    ]:
        mined = mine_hard_negatives(data, Model(), corpus=corpus, verbose=False, **filters)
        print(filters, list(zip(mined["q"], mined["p"], mined["negative"])))


def tfidf():  # tfidf.rs
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["A man is playing a flute.", "The man plays the flute!", "Two dogs run; a cat sleeps.", "a a a man"]
    vectors = TfidfVectorizer(token_pattern=r"[^\W_]+").fit(texts).transform(texts).toarray()
    print("cosines", (vectors @ vectors.T)[[0, 0, 0, 1, 1, 2], [1, 2, 3, 2, 3, 3]].tolist())


if __name__ == "__main__":
    binary()
    quantize()
    logistic_regression()
    hard_negatives()
    tfidf()
