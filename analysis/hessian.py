"""The Hessian of a network's loss in its weights, as an operator: H v for any v, without H."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from neurocert.models.errors import InputError
from neurocert.models.layers.surrogate import SURROGATES

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits, labels) -> mean loss."""

EXACT, CLIP = "exact (where it exists)", "exact, that of clips included (where it exists)"
FLAT = {f"{name}Backward0" for name in ("Sign", "Sgn", "Round", "Floor", "Ceil", "Trunc")}
HINT = "give the step a surrogate (neurocert.models.layers.surrogate.spike), or analyse a network without hard steps"


class FlatLoss(InputError):
    """A loss that does not change with the weights except in jumps has no curvature to speak of."""


class Hessian:
    """The second derivative of a mean loss in all trainable weights, at those that the network had when this was made.

    ReLUs, maxima and clips are differentiated where they can be. A spike counts with its surrogate: the operator is then
    the Hessian of the network in which each spike is replaced, around the potential it has, by its hard value plus the
    surrogate's integral. ``derivative`` says what it was.
    Source of the product: Pearlmutter, Neural Computation 6 (1994).

    Attributes:
        dimension: number n of trainable weights; a flat vector holds them in the order of ``network.parameters()``.
        derivative: ``EXACT``, ``CLIP``, or the surrogates by name.
        loss: at the weights.
        dtype, device: of the vectors.

    Args:
        network: in evaluation mode; float64 is worth its price, since curvature is a small difference.
        inputs: (B, *shape), at least one sample.
        labels: (B,).
        loss: by default cross-entropy.

    Raises:
        FlatLoss: a hard step without a surrogate lies between the loss and some weights.
        InputError: training mode, no sample, nothing to train, or a loss that is not finite.
    """

    def __init__(self, network: nn.Module, inputs: Tensor, labels: Tensor, loss: Loss = functional.cross_entropy) -> None:
        require_samples(network, inputs, labels)
        # Copies: the products stay what they are when the network is trained on.
        named = {name: weight.detach().clone().requires_grad_() for name, weight in network.named_parameters() if weight.requires_grad}
        if not named:
            raise InputError("network has no trainable weights, expected at least one", "call requires_grad_() on it")
        self._weights = list(named.values())
        with torch.enable_grad(), _TwiceDifferentiable():
            value = loss(functional_call(network, named, (inputs,)), labels)
            if not bool(torch.isfinite(value)):
                raise InputError(f"the loss is {value.item()}, expected a finite number")
            self.derivative = derivative_of(value)
            gradients = torch.autograd.grad(value, self._weights, create_graph=True, allow_unused=True)
        cut = [name for name, gradient in zip(named, gradients, strict=True) if gradient is None]
        if cut and _moves(network, inputs, labels, loss, cut):
            raise FlatLoss(f"the loss depends on {_some(cut)} only through a hard step, so it is flat in them almost everywhere", HINT)
        self._gradients = [torch.zeros_like(w) if g is None else g for w, g in zip(self._weights, gradients, strict=True)]
        self.dimension = sum(weight.numel() for weight in self._weights)
        self.loss = float(value.detach())
        self.dtype, self.device = self._weights[0].dtype, self._weights[0].device

    @property
    def gradient(self) -> Tensor:
        """(n,), of the loss, with the same derivative."""
        return _flat(self._gradients)

    def __call__(self, vector: Tensor) -> Tensor:
        """H v for v (n,)."""
        if vector.shape != (self.dimension,):
            raise InputError(f"vector: got shape {tuple(vector.shape)}, expected ({self.dimension},)")
        parts = [part.view_as(w) for part, w in zip(vector.split([w.numel() for w in self._weights]), self._weights, strict=True)]
        curved = [(g, part) for g, part in zip(self._gradients, parts, strict=True) if g.requires_grad]
        if not curved:
            return torch.zeros_like(vector)
        along = torch.stack([(g * part).sum() for g, part in curved]).sum()
        products = torch.autograd.grad(along, self._weights, retain_graph=True, allow_unused=True)
        return _flat([torch.zeros_like(w) if p is None else p for w, p in zip(self._weights, products, strict=True)])


def derivative_of(loss: Tensor) -> str:
    """Which derivative autograd takes for ``loss``: ``EXACT``, ``CLIP``, or "surrogate (NAMES)" where something states its own.

    Raises:
        FlatLoss: no derivative at all, or one through a step, which is 0 almost everywhere.
    """
    if loss.grad_fn is None:
        raise FlatLoss("the loss has no derivative in any weight, so it is flat almost everywhere", HINT)
    nodes = list(_nodes(loss.grad_fn))
    kinds = {type(node).__name__ for node in nodes}
    if steps := sorted(kinds & FLAT):
        functions = ", ".join(step.partition("Backward")[0].lower() for step in steps)
        raise FlatLoss(f"the loss passes through {functions}, whose derivative is 0 almost everywhere", HINT)
    own = sorted({_surrogate_name(node) for node in nodes if isinstance(node, BackwardCFunction)})
    if own:
        return f"surrogate ({', '.join(own)})"
    return CLIP if "HardtanhBackward0" in kinds else EXACT


def require_samples(network: nn.Module, inputs: Tensor, labels: Tensor) -> None:
    """What every analysis of a loss asks for.

    Raises:
        InputError: training mode (the loss would depend on the batch), no sample, or not one label for each.
    """
    if any(module.training for module in network.modules()):
        raise InputError("network is in training mode, expected evaluation mode", "call network.eval() first")
    if len(inputs) == 0:
        raise InputError("inputs hold no sample, expected at least one")
    if labels.shape != inputs.shape[:1]:
        raise InputError(f"labels: got shape {tuple(labels.shape)}, expected ({len(inputs)},), one for each sample")


class _TwiceDifferentiable(TorchFunctionMode):
    """Writes out what torch can differentiate only once."""

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func is functional.hardsigmoid:
            return 1.0 - torch.relu(1.0 - torch.relu(args[0] / 6.0 + 0.5))
        return func(*args, **(kwargs or {}))


def _nodes(root: Any) -> Iterator[Any]:
    """Every node of autograd's graph below ``root``, once."""
    seen, waiting = {root}, [root]
    while waiting:
        node = waiting.pop()
        yield node
        below = {child for child, _ in node.next_functions if child is not None} - seen
        seen |= below
        waiting += below


def _surrogate_name(node: Any) -> str:
    names = {function: name for name, function in SURROGATES.items()}
    return names.get(getattr(node, "derivative", None), type(node).__name__.removesuffix("Backward"))  # type: ignore[arg-type]


def _moves(network: nn.Module, inputs: Tensor, labels: Tensor, loss: Loss, names: list[str]) -> bool:
    """Whether the loss changes when the weights of these names are drawn anew."""
    weights = dict(network.named_parameters())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        here = loss(network(inputs), labels)
        for _ in range(3):
            drawn = {name: _redrawn(weights[name], generator) for name in names}
            if not torch.equal(loss(functional_call(network, drawn, (inputs,)), labels), here):
                return True
    return False


def _redrawn(weight: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight)
    return weight + (weight.abs().mean() + 1.0) * noise


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
