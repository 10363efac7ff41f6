#!/usr/bin/env python3
"""Writes text.json: a tiny Transformer of each family, by the transformers library in PyTorch float64.

Parameters are numbered in the order of the list in the file; number k is wave(shape, k) with the scale and shift given there
(see wave.py). The sentences are padded here and packed in the test. Recorded are the token vectors of the last layer, padding
left out, and for each parameter the gradient of sum(y * wave(y.size, 99)). The classifiers are the same with a head of two
outputs, without a prefix before the names of the tensors; recorded are their logits.

Run with the environment of bench/peers: python crates/encoder/tests/golden/text.py
"""

import json
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel
from transformers import DistilBertConfig, DistilBertForSequenceClassification, DistilBertModel
from transformers import MPNetConfig, MPNetForSequenceClassification, MPNetModel
from transformers import RobertaConfig, RobertaForSequenceClassification, RobertaModel

from wave import numbers, wave, weighted_sum, write

SENTENCES = [[2, 5, 9, 7, 3], [2, 8, 3], [4]]
SEGMENTS = [[0, 0, 0, 1, 1], [0, 1, 1], [0]]
SIZES = dict(vocab_size=11, max_position_embeddings=14)
BERT_SIZES = SIZES | dict(
    hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12, layer_norm_eps=1e-5
)
FAMILIES = {
    "bert": (BertModel, BertConfig(**BERT_SIZES)),
    "roberta": (RobertaModel, RobertaConfig(**BERT_SIZES, type_vocab_size=1)),
    "mpnet": (MPNetModel, MPNetConfig(**BERT_SIZES)),
    "distilbert": (DistilBertModel, DistilBertConfig(**SIZES, dim=8, n_layers=2, n_heads=2, hidden_dim=12)),
}
CLASSIFIERS = {
    "bert": BertForSequenceClassification,
    "roberta": RobertaForSequenceClassification,
    "mpnet": MPNetForSequenceClassification,
    "distilbert": DistilBertForSequenceClassification,
}


def filling(name, shape):
    """Scale and shift: norms around one half, matrices small."""
    if len(shape) == 1:
        return 0.3, 0.5
    return round(1.2 / shape[-1] ** 0.5, 3), 0.0


def family(name, model_class, config):
    torch.manual_seed(0)
    classifies = "Sequence" in model_class.__name__
    bare = {} if classifies or name == "distilbert" else {"add_pooling_layer": False}
    model = model_class(config, **bare).double().eval()
    prefix = model.base_model_prefix + "."
    entries, parameters = [], {key.removeprefix(prefix): p for key, p in model.named_parameters()}
    for k, (key, p) in enumerate(sorted(parameters.items())):
        scale, shift = filling(key, list(p.shape))
        p.data = wave(list(p.shape), k, scale, shift)
        entries.append(dict(name=key, shape=list(p.shape), phase=k, scale=scale, shift=shift))
    longest = max(map(len, SENTENCES))
    padding = config.pad_token_id
    ids = torch.tensor([s + [padding] * (longest - len(s)) for s in SENTENCES])
    mask = torch.tensor([[1] * len(s) + [0] * (longest - len(s)) for s in SENTENCES])
    inputs = dict(input_ids=ids, attention_mask=mask)
    if name == "bert":
        inputs["token_type_ids"] = torch.tensor([s + [0] * (longest - len(s)) for s in SEGMENTS])
    output = model(**inputs)
    y = output.logits if classifies else output.last_hidden_state[mask.bool()]
    weighted_sum(y).backward()
    for entry in entries:
        entry["gradient"] = numbers(parameters[entry["name"]].grad)
    settings = {k: v for k, v in config.to_dict().items() if v is not None} | {"architectures": [model_class.__name__]}
    return dict(family=name, config=settings, output=numbers(y), parameters=entries)


def main():
    families = [family(name, *what) for name, what in FAMILIES.items()]
    classifiers = [family(name, of, FAMILIES[name][1]) for name, of in CLASSIFIERS.items()]
    content = dict(sentences=SENTENCES, segments=SEGMENTS, families=families, classifiers=classifiers)
    write(Path(__file__).with_name("text.json"), content)


if __name__ == "__main__":
    main()
