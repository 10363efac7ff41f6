"""ONNX Runtime's side of the text benchmarks: a BERT with mean pooling and normalization, in three forms.

`plain` is the graph as exported, `fused` what ONNX Runtime's own BERT optimizer makes of it, both with all graph
optimizations; `int8` is the fused one with weights quantized dynamically, per channel. Import it after `bound_threads`.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model
from transformers import AutoModel, AutoTokenizer

BATCH = 32
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]
FLOAT = 1  # onnx.TensorProto.FLOAT


class Graph(torch.nn.Module):
    """The token vectors and their mean over the sentence, scaled to unit length."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, token_type_ids):
        hidden = self.model(input_ids, attention_mask, token_type_ids).last_hidden_state
        mask = attention_mask.unsqueeze(-1).float()
        return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1))


class Encoder:
    def __init__(self, folder, path, threads):
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])

    def run(self, texts):
        """The vectors of one batch, padded to its longest."""
        found = self.tokenizer(texts, padding=True, return_tensors="np")
        return self.session.run(None, {name: found[name].astype(np.int64) for name in INPUTS})[0]

    def encode(self, texts, longest):
        """The vectors of texts, fed in batches sorted by length, in the texts' order."""
        tokens = self.tokenizer(texts, truncation=True, max_length=longest)["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: -len(tokens[i]))
        vectors = None
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            ids = np.zeros((len(part), len(tokens[part[0]])), dtype=np.int64)
            mask = np.zeros_like(ids)
            for row, i in enumerate(part):
                ids[row, : len(tokens[i])] = tokens[i]
                mask[row, : len(tokens[i])] = 1
            out = self.session.run(None, dict(zip(INPUTS, (ids, mask, np.zeros_like(ids)))))[0]
            vectors = np.empty((len(texts), out.shape[1]), np.float32) if vectors is None else vectors
            vectors[part] = out
        return vectors


def encoders(folder, scratch, threads):
    """An encoder of each form; the graphs are written into `scratch`."""
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    ids = torch.ones(2, 8, dtype=torch.long)
    paths = {kind: str(Path(scratch) / f"{kind}.onnx") for kind in ("plain", "fused", "int8")}
    with torch.no_grad():
        torch.onnx.export(
            Graph(model), (ids, ids, ids * 0), paths["plain"], input_names=INPUTS, output_names=["vectors"],
            dynamic_axes={name: {0: "batch", 1: "length"} for name in INPUTS}, opset_version=17, dynamo=False,
        )
    config = model.config
    fused = optimize_model(paths["plain"], "bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size)
    print("fused:", {k: v for k, v in fused.get_fused_operator_statistics().items() if v}, file=sys.stderr)
    fused.save_model_to_file(paths["fused"])
    quantize_dynamic(paths["fused"], paths["int8"], per_channel=True, weight_type=QuantType.QInt8,
                     extra_options={"DefaultTensorType": FLOAT})
    return {kind: Encoder(folder, path, threads) for kind, path in paths.items()}
