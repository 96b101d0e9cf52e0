"""Each mechanism's documented update, evaluated."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from neurocert.models.errors import InputError
from neurocert.models.snan import astrocytes, glutamate, modulation, neurons, plasticity, synapses
from neurocert.models.snan.astrocytes import Astrocyte
from neurocert.models.snan.connectivity import Link, connect, scale
from neurocert.models.snan.glutamate import Glutamate
from neurocert.models.snan.learning import Learning
from neurocert.models.snan.modulation import Modulation
from neurocert.models.snan.network import Network, create
from neurocert.models.snan.neurons import ONSET_POTENTIAL, ONSET_RECOVERY, Neuron
from neurocert.models.snan.plasticity import Plasticity
from neurocert.models.snan.presentation import present
from neurocert.models.snan.protocol import Protocol
from neurocert.models.snan.settings import Settings
from neurocert.models.snan.synapses import Synapse
from neurocert.models.snan.syncytium import Syncytium
from neurocert.models.snan.zones import zones

SMALL = Settings(excitatory=13, inhibitory=6, excitatory_links=Link(40, 4.0), inhibitory_links=Link(50, 20.0))


def spike_times(current: float, pulse: int, steps: int) -> list[float]:
    """Of an isolated neuron: when the step of each spike begins, in ms after the onset."""
    v, u, found = np.array([[ONSET_POTENTIAL]]), np.array([[ONSET_RECOVERY]]), []
    for step in range(steps):
        neurons.advance(v, u, np.array([[current if step < pulse else 0.0]]), 0.1, Neuron())
        found += [round(0.1 * step, 1)] * int(v[0, 0] >= 30.0)
    return found


@pytest.mark.parametrize(("current", "count"), [(5, 1), (8, 2), (10, 3), (15, 5), (20, 7)])
def test_an_isolated_neuron_spikes_as_often_as_known(current: float, count: int) -> None:
    assert len(spike_times(current, 200, 300)) == count


def test_a_training_pulse_makes_three_spikes() -> None:
    assert spike_times(80.0, 20, 50) == [0.8, 1.6, 3.5]


def test_a_neuron_takes_one_euler_step() -> None:
    v, u = np.array([[-60.0, 30.0]]), np.array([[-12.0, -5.0]])
    neurons.advance(v, u, np.array([[7.0, 0.0]]), 0.1, Neuron())
    first = -60.0 + 0.1 * (0.04 * 3600 + 5 * -60.0 + 140 + 7.0 + 12.0)
    second = -65.0 + 0.1 * (0.04 * 4225 + 5 * -65.0 + 140 + 3.0)
    assert v[0] == pytest.approx([first, second], rel=1e-14)
    assert u[0] == pytest.approx([-12.0 + 0.01 * (0.2 * first + 12.0), -3.0 + 0.01 * (0.2 * second + 3.0)], rel=1e-14)


def test_a_conductance_is_the_sum_of_weights_times_releases() -> None:
    potential, targets = np.array([[-0.3, 30.0, -70.0]]), np.array([[0, 1], [1, 2], [0, 2]], np.uint16)
    weights, sums = np.array([[100, 7100], [50000, 100], [50000, 50000]], np.uint16), np.zeros((1, 3), np.int64)
    synapses.transmit(potential, targets, weights, 0.2, sums)
    release = 1.0 / (1.0 + np.exp(1.5))
    expected = [1e-4 * release, 7.1e-3 * release + 0.05, 1e-4]
    assert sums[0] * synapses.CONDUCTANCE_UNIT == pytest.approx(expected, abs=0.05 * synapses.RELEASE_UNIT)
    assert sums[0, 2] == 100 * 2**36


def test_excitation_is_never_negative_and_inhibition_adds() -> None:
    potential, out = np.array([[-65.0, 20.0]]), np.empty((1, 2))
    unit = round(1 / synapses.CONDUCTANCE_UNIT)
    conductance, inhibition = np.array([[unit, unit]]), np.array([[0, unit]])
    synapses.excitatory_current(potential, conductance, inhibition, np.array([[3.0, 1.0]]), Synapse(), out)
    assert out[0] == pytest.approx([3.0 * 65.0, -110.0], rel=1e-9)
    synapses.inhibitory_current(potential, conductance, Synapse(), out)
    assert out[0] == pytest.approx([65.0, -20.0], rel=1e-9)


def test_coincidences_potentiate_up_to_the_ceiling() -> None:
    targets, weights = np.array([[1, 2], [0, 2], [0, 1]], np.uint16), np.full((3, 2), 100, np.uint16)
    active = np.array([True, False, True])
    plasticity.potentiate(weights, targets, active, active, 7000, 50000)
    assert weights.tolist() == [[100, 7100], [100, 100], [7100, 100]]
    for _ in range(8):
        plasticity.potentiate(weights, targets, active, active, 7000, 50000)
    assert weights.tolist() == [[100, 50000], [100, 100], [50000, 100]]


def test_a_window_weighs_activity_by_how_far_it_is_apart() -> None:
    settings = replace(SMALL, plasticity=Plasticity(window=0.02))
    learned, generator = create(settings, 0), np.random.default_rng(0)
    learning, before = Learning(learned), learned.excitatory_weights.astype(int)
    history = generator.random((30, 169)) < 0.01
    for step, active in enumerate(history):
        learning.advance(active, np.zeros(36, bool), onset=step == 15)
    expected = before.copy()
    for n, k in np.ndindex(before.shape):
        for first, last in ((0, 15), (15, 30)):
            expected[n, k] = _windowed(expected[n, k], history[first:last, n], history[first:last, learned.excitatory_targets[n, k]])
    assert np.array_equal(learned.excitatory_weights, expected) and len(np.unique(expected)) > 5


def _windowed(weight: int, pre: np.ndarray, post: np.ndarray) -> int:
    """Each step in which one of the two is active, with the latest activity of the other."""
    for step in range(len(pre)):
        ends = [np.flatnonzero(trace[: step + 1]) for trace in (pre, post)]
        if (pre[step] or post[step]) and all(map(len, ends)):
            apart = abs(int(ends[0][-1]) - int(ends[1][-1])) * 1e-4
            weight = min(weight + round(7000 * math.exp(-apart / 0.02)), 50000)
    return weight


def test_a_rate_trace_decays_and_saturates() -> None:
    rate = np.array([0.4, 0.8])
    plasticity.trace(rate, np.array([False, True]), 0.98, Plasticity().rate_jump)
    assert rate.tolist() == [0.98 * 0.4, 1.0]


def test_derivatives_are_the_printed_fluxes() -> None:
    ca, h, ip3 = 0.3, 0.7, 0.9
    well = (2.0 - ca) / 0.185 - ca
    channel = 0.185 * 6 * (ip3 / (ip3 + 0.13)) ** 3 * (ca / (ca + 0.082)) ** 3 * h**3 * well
    leak, pump, influx = 0.185 * 0.11 * well, 2.2 * ca**2 / (0.1**2 + ca**2), 0.2 * ip3**2 / (1 + ip3**2)
    q = 1.049 * (ip3 + 0.13) / (ip3 + 0.9434)
    expected = (
        channel - pump + leak + influx - 0.5 * ca,
        0.14 * (q * (1 - h) - ca * h),
        (0.16 - ip3) * 0.14 + 0.3 * (ca + 0.2 * 1.1) / (ca + 1.1),
    )
    assert astrocytes.derivatives(ca, h, ip3, Astrocyte()) == pytest.approx(expected, rel=1e-12)


def cell_after(seconds: float, production: float, cells: np.ndarray) -> np.ndarray:
    for _ in range(round(seconds / 1e-3)):
        cells = astrocytes.advance(cells, np.full((1, 1), production), 1e-3, Astrocyte())
    return cells


def test_an_astrocyte_rests_where_it_is_known_to() -> None:
    start = np.array([0.072495, 0.886314, 0.820204]).reshape(3, 1, 1)
    assert cell_after(150.0, 0.0, start).reshape(-1) == pytest.approx([0.0661, 0.8882, 0.6858], abs=1e-4)


def test_one_pulse_of_glutamate_lifts_calcium_for_seconds() -> None:
    cells, trace = cell_after(0.06, 5.0, np.array([0.072495, 0.886314, 0.820204]).reshape(3, 1, 1)), []
    assert cells[2, 0, 0] == pytest.approx(1.12, abs=0.01)
    for _ in range(500):
        cells = cell_after(0.01, 0.0, cells)
        trace.append(cells[0, 0, 0])
    times = 0.07 + 0.01 * np.arange(500)
    high = times[np.array(trace) > 0.15]
    assert (high[0], high[-1]) == pytest.approx((0.7, 4.3), abs=0.1)
    assert max(trace) == pytest.approx(0.57, abs=0.01)
    assert times[int(np.argmax(trace))] == pytest.approx(2.2, abs=0.05)


def test_diffusion_conserves_what_it_moves() -> None:
    field = np.random.default_rng(0).random((4, 5))
    flows = [astrocytes.laplacian(field, row, column) for row in range(4) for column in range(5)]
    assert sum(flows) == pytest.approx(0.0, abs=1e-12)
    assert flows[0] == pytest.approx(field[0, 1] + field[1, 0] - 2 * field[0, 0])


def test_glutamate_rises_with_a_spike_and_clears() -> None:
    concentration = np.array([0.1, 0.1])
    glutamate.advance(concentration, np.array([True, False]), 1e-4, Glutamate())
    assert concentration == pytest.approx([0.1 - 5e-4 + 0.06, 0.1 - 5e-4])


def test_production_of_ip3_is_restarted_not_added() -> None:
    syncytium = Syncytium(Settings(excitatory=4, inhibitory=2, excitatory_links=Link(2, 1.0), inhibitory_links=Link(2, 2.0)))
    spikes, quiet = np.arange(16) < 12, np.zeros(16, bool)
    for step in range(24):  # four spikes of 12 of the 16 neurons, within 2 ms
        syncytium.advance(spikes if step % 6 == 0 else quiet)
    before = syncytium.cells[2, 0, 0]
    for _ in range(600):
        syncytium.advance(quiet)
    assert syncytium.cells[2, 0, 0] - before == pytest.approx(5.0 * 0.06, abs=0.015)
    level = syncytium.cells[2, 0, 0]
    syncytium.advance(quiet)
    assert abs(syncytium.cells[2, 0, 0] - level) < 1e-3


def test_zones_of_the_paper() -> None:
    found = zones(79)
    assert (found.side, len(found.sizes), set(found.sizes.tolist())) == (26, 676, {16})
    shared = found.members[3 * 79 + 3]
    assert sorted(shared.tolist()) == [0, 1, 26, 27]
    assert found.owner[3 * 79 + 3] == 27 and found.owner[78 * 79 + 78] == 675
    assert zones(105).side == 35 and int(zones(105).sizes.min()) == 9


def test_a_zone_is_modulated_after_synchrony_and_with_calcium() -> None:
    layer = zones(4)
    potential, seen = np.full((2, 16), -65.0), np.full((2, 1), modulation.NEVER)
    potential[0, :8], potential[1, :7] = 30.0, 30.0
    modulation.watch(potential, 30.0, layer.members, np.array([8]), 5, seen)
    assert seen.tolist() == [[5], [modulation.NEVER]]
    until, gain = np.full((2, 1), modulation.NEVER), np.empty((2, 16))
    modulation.decide(seen, np.array([False]), 9, 50, 200, until)
    assert (until == modulation.NEVER).all()
    modulation.decide(seen, np.array([True]), 56, 50, 200, until)
    assert (until == modulation.NEVER).all()
    modulation.decide(seen, np.array([True]), 55, 50, 200, until)
    for step, factor in ((255, 3.0), (256, 1.0)):
        modulation.gains(until, step, layer.owner, 2.0, gain)
        assert (gain[0] == factor).all() and (gain[1] == 1.0).all()


def test_layers_are_scaled_as_in_the_paper() -> None:
    assert (scale(79, 79), scale(79, 40), scale(40, 79), scale(105, 53)) == (1.0, 0.5, 2.0, 0.5)


def test_connections_are_distinct_reproducible_and_exponential() -> None:
    targets = connect(60, 60, Link(20, 4.0), np.random.default_rng(0), itself=True)
    assert np.array_equal(targets, connect(60, 60, Link(20, 4.0), np.random.default_rng(0), itself=True))
    assert not np.array_equal(targets, connect(60, 60, Link(20, 4.0), np.random.default_rng(1), itself=True))
    assert (np.diff(targets.astype(int), axis=1) > 0).all()
    assert not (targets == np.arange(3600)[:, None]).any()
    few = connect(60, 60, Link(1, 4.0), np.random.default_rng(0)).reshape(60, 60)
    row, column = np.divmod(few[20:40, 20:40].astype(int), 60)
    step = (row - np.arange(20, 40)[:, None]) ** 2 + (column - np.arange(20, 40)) ** 2
    drawn = np.random.default_rng(5)
    distance, angle = drawn.exponential(4.0, 10**6), 2 * np.pi * drawn.random(10**6)
    expected = np.mean(np.trunc(distance * np.cos(angle)) ** 2 + np.trunc(distance * np.sin(angle)) ** 2)
    assert step.mean() == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("link", [Link(0, 4.0), Link(9, 4.0), Link(3, 0.0), Link(3, float("nan")), Link(3, float("inf"))])
def test_links_that_do_not_fit_are_refused(link: Link) -> None:
    with pytest.raises(InputError, match="expected a positive length and a fan-out from 1 to 8"):
        connect(3, 3, link, np.random.default_rng(0), itself=True)


def test_a_length_that_never_reaches_far_enough_is_refused() -> None:
    with pytest.raises(InputError, match="unplaced"):
        connect(9, 9, Link(80, 0.2), np.random.default_rng(0), itself=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"excitatory": 1}, "excitatory is 1"),
        ({"excitatory": 500}, "a side of 2 to 181"),
        ({"dt": 0.0}, "dt is 0.0"),
        ({"neuron": Neuron(a=float("nan"))}, "neuron.a is nan"),
        ({"plasticity": Plasticity(ceiling=0.2)}, "ceiling <= 0.065"),
        ({"protocol": Protocol(window=0.01)}, "within the window"),
        ({"synapse": Synapse(slope=0.0)}, "slope is 0.0"),
        ({"excitatory": 13.5}, "excitatory is 13.5"),
        ({"dt": 1e-300}, "dt is 1e-300"),
        ({"neuron": Neuron(a="fast")}, "neuron.a is 'fast', expected a finite number"),  # type: ignore[arg-type]
        ({"modulation": Modulation(interval=0.0)}, "modulation.interval is 0.0, expected at least dt"),
        ({"modulation": Modulation(duration=1e300)}, "modulation.duration is 1e.300, expected seconds from 0 to 1,000,000 steps"),
        ({"protocol": Protocol(pause=-1.0)}, "protocol.pause is -1.0"),
        ({"protocol": Protocol(window=1e9)}, "protocol.window is 1000000000.0"),
        ({"plasticity": Plasticity(height=1e300)}, "plasticity.height is 1e.300, expected 0 to 1"),
        ({"glutamate": Glutamate(share=1.5)}, "glutamate.share is 1.5"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings(**wrong)  # type: ignore[arg-type]


def test_a_seed_is_a_whole_number() -> None:
    with pytest.raises(InputError, match="seed is -1"):
        create(Settings(), -1)


def test_a_conductance_that_could_overflow_is_refused() -> None:
    """3,599 learned weights of 0.05 add up to 180, which would come out as -88."""
    side, everyone = 60, np.arange(3600)
    settings = Settings(excitatory=side, inhibitory=2, excitatory_links=Link(3599, 9.0), interneuron_links=Link(1, 1.0))
    settings = replace(settings, inhibitory_links=Link(1, 1.0))
    targets = np.array([np.delete(everyone, neuron) for neuron in everyone], np.uint16)
    one = np.zeros((3600, 1), np.uint16), np.zeros((4, 1), np.uint16)
    with pytest.raises(InputError, match="excitatory_targets: 3599 synapses reach one neuron, expected at most 2684"):
        Network(settings, 0, targets, *one, np.full_like(targets, 100), one[1], np.full((20, 20), 0.07))


def test_potentials_that_leave_the_numbers_are_refused() -> None:
    network = create(replace(SMALL, neuron=Neuron(a=1e300)), 0)
    with pytest.raises(InputError, match="potentials are no finite numbers"):
        present(network, np.ones((1, 169), bool))
