"""Affine layers with uncertain weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neurocert.certify.bounds.interval import Box, Interval
from neurocert.certify.bounds.registry import Coefficients, Inputs, Rounding, Rule, register
from neurocert.certify.bounds.relaxations.lines import dot
from neurocert.certify.bounds.uncertain import Uncertain


@dataclass(frozen=True)
class Products:
    """What the linear rule needs.

    Attributes:
        centre: of x, (B, *shape).
        weight: centre of W, as the layer has it.
        gap: (B, *output shape), sum of the products of radii: how far W x may be from its linearisation.
    """

    centre: Tensor
    weight: Tensor
    gap: Tensor


def _parts(inputs: Inputs) -> tuple[Interval, Interval, Interval]:
    """Bounds of x, of W and of b; weights are the same for every sample."""
    x, weight, bias = inputs
    return x, Interval(weight.lower[0], weight.upper[0]), Interval(bias.lower[0], bias.upper[0])


def _interval(layer: Uncertain, inputs: Inputs) -> tuple[Box, ...]:
    x, weight, bias = _parts(inputs)
    product = layer.product(x.centre, weight.centre)
    dimensions = product.dim() - 1
    radius = layer.product(x.radius, weight.centre.abs() + weight.radius) + layer.product(x.centre.abs(), weight.radius)
    radius = radius + layer.shift(bias.radius, dimensions)
    centre = product + layer.shift(bias.centre, dimensions)
    return ((centre - radius, centre + radius),)


def _relax(layer: Uncertain, inputs: Inputs) -> Products:
    x, weight, _ = _parts(inputs)
    return Products(x.centre, weight.centre, layer.product(x.radius, weight.radius))


def _linear(layer: Uncertain, products: Products, coefficients: Coefficients) -> tuple[Coefficients, Tensor]:
    """W x = Wc x + (W - Wc) c + (W - Wc)(x - c), whose last term is at most the gap."""
    (a,) = coefficients
    assert a is not None
    batch = len(products.centre)
    a = a.expand(-1, batch, *a.shape[2:])
    flat = a.flatten(0, 1)
    on_x = torch.func.vjp(lambda x: layer.product(x, products.weight), a.new_zeros(len(flat), *products.centre.shape[1:]))[1](flat)[0]

    def one(centre: Tensor, row: Tensor) -> Tensor:
        """The coefficients on W of one row and sample."""
        return torch.func.vjp(lambda weight: layer.product(centre[None], weight), products.weight)[1](row[None])[0]

    centres = products.centre.expand(len(a), *products.centre.shape).flatten(0, 1)
    on_weight = torch.func.vmap(one)(centres, flat).unflatten(0, a.shape[:2])
    spread = tuple(range(3, a.dim()))
    on_bias = a.sum(spread) if spread and not isinstance(layer.layer, torch.nn.Linear) else a
    constant = -(on_weight * products.weight).flatten(2).sum(2) - dot(a.abs(), products.gap)
    return (on_x.unflatten(0, a.shape[:2]), on_weight, on_bias), constant


def _rounding(layer: Uncertain, inputs: Inputs) -> tuple[Rounding, ...]:
    x, weight, bias = _parts(inputs)
    magnitude = layer.product(x.magnitude, weight.magnitude)
    magnitude = 2 * (magnitude + layer.shift(bias.magnitude, magnitude.dim() - 1))  # twice: centre and gap are summed apart
    return (Rounding(max(weight.lower[0].numel(), len(weight.lower)) + 9, magnitude),)


def _refine(layer: Uncertain, inputs: Inputs) -> tuple[Tensor | None, ...]:
    x, weight, _ = _parts(inputs)
    moves = bool((weight.lower < weight.upper).any())
    return ((x.lower < x.upper) if moves else None), None, None


register(
    Rule(
        (Uncertain,),
        "y = W x + b with W, b and x uncertain. Interval: centre and radius. Linear: the product is linearised at the centres of "
        "W and x; what is left out, (W - Wc)(x - xc), is at most the product of the radii. A weight is one value for all "
        "positions and time steps: its coefficients are summed before its set is applied.",
        "theory: weight sets",
        _interval,
        _relax,
        _linear,
        _rounding,
        loses=True,
        refine=_refine,
    )
)
