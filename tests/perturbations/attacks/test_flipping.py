"""The search over flips, against every point of the set."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from neurocert.models.errors import InputError
from neurocert.perturbations.attacks import PGD, FlipSearch, attack, completed, special_attacks
from neurocert.perturbations.attacks.gradient import margins
from neurocert.perturbations.balls import LinfBall
from neurocert.perturbations.flips import Flips

SEARCH, GREEDY = FlipSearch(), FlipSearch(largest=0)


def made(seed: int, pixels: int = 8) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 12), nn.ReLU(), nn.Linear(12, 3)).eval()
    inputs = torch.randint(0, 2, (6, 1, 2, pixels // 2)).float()
    return network, inputs, network(inputs).argmax(1)


def least_of_all(network: nn.Module, inputs: Tensor, labels: Tensor, flips: Flips) -> Tensor:
    rows = [torch.stack(list(flips.enumerate(centre))) for centre in inputs]
    return torch.stack([margins(network(row), label.expand(len(row))).min() for row, label in zip(rows, labels, strict=True)])


def searched(search: FlipSearch, network: nn.Module, inputs: Tensor, labels: Tensor, flips: Flips) -> tuple[Tensor, Tensor]:
    found = search.search(network, inputs, labels, flips, torch.Generator())
    assert bool(flips.contains(found.points, inputs).all())
    assert torch.equal(found.margins, margins(network(found.points), labels).detach())
    return found.points, found.margins


@pytest.mark.parametrize("count", [0, 1, 2, 3, 20])
def test_few_points_are_all_tried(count: int) -> None:
    for seed in range(3):
        network, inputs, labels = made(seed)
        _, found = searched(SEARCH, network, inputs, labels, Flips(count))
        assert torch.allclose(found, least_of_all(network, inputs, labels, Flips(count)), atol=1e-5)


def test_greedy_is_exact_for_one_flip_and_for_a_linear_network() -> None:
    network, inputs, labels = made(0)
    _, found = searched(GREEDY, network, inputs, labels, Flips(1))
    assert torch.allclose(found, least_of_all(network, inputs, labels, Flips(1)), atol=1e-5)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(8, 2)).eval()
    with torch.no_grad():
        linear[1].bias.copy_(torch.tensor([50.0, 0.0]))  # so that nothing breaks, and the search goes on to the last flip
    labels = torch.zeros(6, dtype=torch.long)
    _, found = searched(FlipSearch(largest=0, beam=1), linear, inputs, labels, Flips(3))
    assert torch.allclose(found, least_of_all(linear, inputs, labels, Flips(3)), atol=1e-4)


def test_greedy_breaks_what_all_points_together_break() -> None:
    """Not always; here, nearly always, and it never claims what does not hold."""
    broken = found = 0
    for seed in range(8):
        network, inputs, labels = made(seed, pixels=12)
        worst = least_of_all(network, inputs, labels, Flips(3)) <= 0
        ours = searched(GREEDY, network, inputs, labels, Flips(3))[1] <= 0
        assert not bool((ours & ~worst).any())
        broken, found = broken + int(worst.sum()), found + int(ours.sum())
    assert broken > 20 and found >= 0.95 * broken


def test_greedy_stops_at_the_first_number_that_breaks() -> None:
    network, inputs, labels = made(1)
    for centre, label in zip(inputs, labels, strict=True):
        point, least = searched(GREEDY, network, centre[None], label[None], Flips(8))
        flips = int((point != centre).sum())
        if float(least) <= 0:
            fewer = searched(GREEDY, network, centre[None], label[None], Flips(flips - 1))[1]
            assert flips >= 1 and float(fewer) > 0


def test_other_sets_and_bad_parameters_are_refused() -> None:
    network, inputs, labels = made(0)
    with pytest.raises(InputError, match="attack 'flips' is for flips of binary inputs, got the L-infinity ball"):
        SEARCH.search(network, inputs, labels, LinfBall(0.1), torch.Generator())
    for parameters in ({"beam": 0}, {"largest": -1}, {"largest": 2**17}):
        with pytest.raises(InputError, match="flips: got largest"):
            FlipSearch(**parameters)


def test_it_follows_every_other_attack_on_flips() -> None:
    assert completed((PGD(),), Flips(1)) == (PGD(), SEARCH)
    assert completed((PGD(),), LinfBall(0.1)) == (PGD(),)
    assert completed((), Flips(1)) == ()
    assert completed((GREEDY,), Flips(1)) == (GREEDY,)
    assert special_attacks() == (SEARCH,) and attack("flips") == SEARCH
