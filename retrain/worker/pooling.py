"""A last layer that begins as an average over the tokens.

A BERT classifier reads one token's vector. From little data that token learns slowly to look at
the others; the plain mean of all tokens is a good summary from the first step on. So the last
layer is *started* as that mean and is free to learn better: the file stays an ordinary BERT that
plain transformers can serve.
"""

from __future__ import annotations

from typing import Any

#: how much the mean outweighs the first token's own vector, which the layer adds to it
_MEAN = 8.0
#: keeps the pooler's tanh where it is nearly linear for vectors of unit variance
_LINEAR = 0.3


def start_as_mean(model: Any) -> None:
    """Set the last layer and the pooler of a BERT classifier, in place.

    With the query at zero all tokens get the same attention. The key stays random: were it zero
    too, neither would have a gradient, and the layer could never learn where to look.
    """
    import torch

    layer, pooler = model.bert.encoder.layer[-1], model.bert.pooler.dense
    same = torch.eye(model.config.hidden_size)
    with torch.no_grad():
        _linear(layer.attention.self.query, 0.0 * same)
        _linear(layer.attention.self.value, same)
        _linear(layer.attention.output.dense, _MEAN * same)
        layer.output.dense.weight.zero_()
        layer.output.dense.bias.zero_()
        _linear(pooler, _LINEAR * same)


def _linear(module: Any, weight: Any) -> None:
    module.weight.copy_(weight)
    module.bias.zero_()


def teach_only_top(model: Any, layers: int) -> None:
    """Freeze a BERT below its last `layers` layers; 0 freezes nothing."""
    if layers == 0:
        return
    below = [model.bert.embeddings, *model.bert.encoder.layer[:-layers]]
    for part in below:
        part.requires_grad_(requires_grad=False)
