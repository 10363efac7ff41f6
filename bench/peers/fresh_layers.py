"""A text model before any training, but for its word vectors."""

from pathlib import Path


def fresh(model, scratch):
    """A copy of a folder with every layer of its Transformer as before any training; the word vectors are kept."""
    from sentence_transformers import SentenceTransformer
    import torch

    torch.manual_seed(0)
    model = SentenceTransformer(str(model), device="cpu")
    for module in model[0].auto_model.encoder.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.02)
            torch.nn.init.zeros_(module.bias)
        elif isinstance(module, torch.nn.LayerNorm):
            torch.nn.init.ones_(module.weight)
            torch.nn.init.zeros_(module.bias)
    out = Path(scratch) / "fresh"
    model.save(str(out))
    return out
