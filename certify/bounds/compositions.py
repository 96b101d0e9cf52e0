"""Layers of PyTorch that are made of others: written out as what they compute, so that the rules of the parts apply.

A composition is called while the network is traced. What it does in another order than PyTorch's own kernels is covered by
the rounding that the parts declare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

Build = Callable[..., Any]
Refuses = Callable[..., str | None]


@fx.wrap
def variance(centred: Tensor, original: Tensor, axes: Sequence[int]) -> Tensor:
    """The mean of ``centred`` squared over ``axes``, kept as dimensions of size 1.

    Args:
        centred: ``original`` minus its mean.
        original: what a one-pass algorithm would read; its size decides what rounding can do.
        axes: counted from the end.
    """
    return (centred * centred).mean(tuple(axes), keepdim=True)


def layer_norm(x: Any, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """``functional.layer_norm``."""
    return _affine(_normalised(x, tuple(range(-len(tuple(normalized_shape)), 0)), eps), weight, bias)


def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """``functional.group_norm``."""
    grouped = _normalised(x.flatten(2).unflatten(1, (num_groups, -1)).flatten(2), (-1,), eps)
    return _affine(grouped.reshape(x.shape).movedim(1, -1), weight, bias).movedim(-1, 1)


def batch_norm(x: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, *more: Any, **options: Any) -> Any:
    """``functional.batch_norm`` in evaluation mode."""
    scale = torch.rsqrt(running_var + (more[2] if len(more) > 2 else options.get("eps", 1e-5)))
    return _affine((x.movedim(1, -1) - running_mean) * scale, weight, bias).movedim(-1, 1)


def attention(query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False, **more: Any) -> Any:
    """``functional.scaled_dot_product_attention``."""
    scale = more.get("scale")
    weights = (query * (query.size(-1) ** -0.5 if scale is None else scale)) @ key.transpose(-2, -1)
    weights = weights if attn_mask is None else weights + attn_mask
    return torch.softmax(weights, -1) @ value


def _normalised(x: Any, axes: tuple[int, ...], eps: float) -> Any:
    """A computed variance is at least 0, whatever its rounding; the clip says so to the bounds, at a power of 2 below eps."""
    centred = x - x.mean(axes, keepdim=True)
    least = 2.0 ** math.floor(math.log2(eps)) if eps > 0 else 0.0
    return centred * torch.rsqrt((variance(centred, x, axes) + eps).clamp(min=least))


def _affine(x: Any, weight: Any, bias: Any) -> Any:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _layer_norm(layer: nn.LayerNorm, x: Any) -> Any:
    return layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)


def _group_norm(layer: nn.GroupNorm, x: Any) -> Any:
    return group_norm(x, layer.num_groups, layer.weight, layer.bias, layer.eps)


def _instance_norm(layer: Any, x: Any) -> Any:
    return group_norm(x, layer.num_features, layer.weight, layer.bias, layer.eps)


def _max_pool1d(layer: nn.MaxPool1d, x: Any) -> Any:
    return max_pool1d(x, layer.kernel_size, layer.stride, layer.padding, layer.dilation)


def max_pool1d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False, return_indices: bool = False
) -> Any:
    """``functional.max_pool1d`` as a pooling of images of height 1."""
    kernel, step, border, spread = (_single(v) for v in (kernel_size, stride or kernel_size, padding, dilation))
    return functional.max_pool2d(x.unsqueeze(2), (1, kernel), (1, step), (0, border), (1, spread)).squeeze(2)


def _single(value: Any) -> int:
    return value[0] if isinstance(value, tuple | list) else value


def _multihead_attention(layer: nn.MultiheadAttention, query: Any, key: Any, value: Any, need_weights: bool = True, **more: Any) -> Any:
    size = layer.embed_dim
    biases = [None] * 3 if layer.in_proj_bias is None else [layer.in_proj_bias[k * size : (k + 1) * size] for k in range(3)]
    weights = [layer.in_proj_weight[k * size : (k + 1) * size] for k in range(3)]
    parts = [functional.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]
    q, k, v = (part.unflatten(-1, (layer.num_heads, layer.head_dim)).transpose(1, 2) for part in parts)
    attended = attention(q, k, v).transpose(1, 2).flatten(2)
    return functional.linear(attended, layer.out_proj.weight, layer.out_proj.bias), None


def _encoder_layer(layer: Any, x: Any) -> Any:
    def attended(y: Any) -> Any:
        return layer.self_attn(y, y, y, need_weights=False)[0]

    def forward(y: Any) -> Any:
        return layer.linear2(layer.activation(layer.linear1(y)))

    if layer.norm_first:
        x = x + attended(layer.norm1(x))
        return x + forward(layer.norm2(x))
    x = layer.norm1(x + attended(x))
    return layer.norm2(x + forward(x))


def _encoder(layer: Any, x: Any) -> Any:
    for part in layer.layers:
        x = part(x)
    return x if layer.norm is None else layer.norm(x)


def _never(*arguments: Any, **keywords: Any) -> str | None:
    return None


def _refuses_multihead_attention(layer: nn.MultiheadAttention, *arguments: Any, **keywords: Any) -> str | None:
    if not layer.batch_first:
        return "batch_first is False, expected the samples first"
    given = dict(zip(("key_padding_mask", "need_weights", "attn_mask"), arguments[3:], strict=False)) | keywords
    if given.get("key_padding_mask") is not None or given.get("attn_mask") is not None or given.get("is_causal"):
        return "masked attention has no rule"
    if given.get("need_weights", True):
        return "it returns its attention weights, expected need_weights=False"
    plain = layer.in_proj_weight is not None and layer.bias_k is None and not layer.add_zero_attn
    return None if plain else "separate sizes of keys and values, bias_k and add_zero_attn have no rule"


def _refuses_attention(*arguments: Any, **keywords: Any) -> str | None:
    given = dict(zip(("attn_mask", "dropout_p", "is_causal"), arguments[3:], strict=False)) | keywords
    if given.get("attn_mask") is not None or given.get("is_causal"):
        return "masked attention has no rule"
    return "drops weights at random or groups queries" if given.get("dropout_p") or given.get("enable_gqa") else None


def _refuses_batch_norm(*arguments: Any, **keywords: Any) -> str | None:
    training = keywords.get("training", arguments[5] if len(arguments) > 5 else False)
    mean = keywords.get("running_mean", arguments[1] if len(arguments) > 1 else None)
    return "its output depends on the batch" if training or mean is None else None


def _refuses_instance_norm(layer: Any, *arguments: Any) -> str | None:
    return "instance norms with running statistics have no rule" if layer.track_running_stats else None


def _refuses_options(layer: Any, *arguments: Any, **keywords: Any) -> str | None:
    return (
        "masks have no rule" if len(arguments) > 1 or any(value is not None and value is not False for value in keywords.values()) else None
    )


def _refuses_pool_options(*arguments: Any, **keywords: Any) -> str | None:
    wanted = keywords.get("ceil_mode") or keywords.get("return_indices") or len(arguments) > 5
    return "ceil_mode and return_indices have no rule" if wanted else None


def _refuses_pool(layer: nn.MaxPool1d, *arguments: Any) -> str | None:
    return "ceil_mode and return_indices have no rule" if layer.ceil_mode or layer.return_indices else None


COMPOSITIONS: dict[Any, tuple[Build, Refuses]] = {
    nn.LayerNorm: (_layer_norm, _never),
    nn.GroupNorm: (_group_norm, _never),
    nn.InstanceNorm1d: (_instance_norm, _refuses_instance_norm),
    nn.InstanceNorm2d: (_instance_norm, _refuses_instance_norm),
    nn.MaxPool1d: (_max_pool1d, _refuses_pool),
    nn.MultiheadAttention: (_multihead_attention, _refuses_multihead_attention),
    nn.TransformerEncoderLayer: (_encoder_layer, _refuses_options),
    nn.TransformerEncoder: (_encoder, _refuses_options),
    functional.layer_norm: (layer_norm, _never),
    functional.group_norm: (group_norm, _never),
    functional.batch_norm: (batch_norm, _refuses_batch_norm),
    functional.max_pool1d: (max_pool1d, _refuses_pool_options),
    functional.scaled_dot_product_attention: (attention, _refuses_attention),
}
"""Module class or function -> (what it computes, written with other layers; why these arguments cannot be written so, or None)."""
