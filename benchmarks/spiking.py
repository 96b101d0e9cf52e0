"""What each idea certifies on two small spiking networks of the 8x8 digits: counts by method and radius.

    OMP_NUM_THREADS=1 python benchmarks/spiking.py --data FOLDER

FOLDER holds digits_snn_T2.npz and digits_snn_T4.npz: weights, and the indices of the test images. Semantics: direct encoding,
factor leak, hard reset to 0 in the same step, spike iff V > 1, mean readout. Writes results/spiking.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import surroundings
from sklearn.datasets import load_digits
from torch import Tensor, nn

from neurocert.analysis.statistics import clopper_pearson
from neurocert.certify.bounds.graph import Graph, capture
from neurocert.certify.problem import Problem, make_problem
from neurocert.certify.verifiers.margins import METHODS, capture_problem, margin_bounds
from neurocert.models.layers.lif import LIF
from neurocert.models.semantics import FactorLeak, Spiking
from neurocert.perturbations.balls import LinfBall

RESULTS = Path(__file__).parent / "results" / "spiking.json"
IMAGES = 60
RADII = (0.005, 0.01)
WAYS = {
    "intervals, step by step": ("interval", False),
    "joint envelope, step by step": ("linear", False),
    "with the constant current collapsed": ("linear", True),
    "and slopes optimised": ("optimised", True),
}


class Network(nn.Module):
    """Two spiking layers and a linear readout."""

    def __init__(self, stored: Any) -> None:
        super().__init__()
        self.steps = int(stored["T"])
        semantics = Spiking(
            float(stored["theta"]), ">", "hard", 0.0, "in-step", FactorLeak(float(stored["tau"])), self.steps, "direct", "mean"
        )
        self.synapses, self.neurons = nn.ModuleList(), nn.ModuleList([LIF(semantics), LIF(semantics)])
        for index in (1, 2, 3):
            weight, bias = torch.tensor(stored[f"W{index}"]), torch.tensor(stored[f"b{index}"])
            layer = nn.Linear(*reversed(weight.shape), dtype=weight.dtype)
            layer.weight.data, layer.bias.data = weight, bias
            self.synapses.append(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Args: (B, 64). Returns: (B, 10)."""
        current, first, second, total = self.synapses[0](x), None, None, None
        for _ in range(self.steps):
            first, spikes = self.neurons[0](first, current)
            second, spikes = self.neurons[1](second, self.synapses[1](spikes))
            out = self.synapses[2](spikes)
            total = out if total is None else total + out
        assert total is not None
        return total / self.steps


def main() -> None:
    """Measures both networks at all radii."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    folder = parser.parse_args().data
    torch.set_num_threads(1)
    rows = [row for steps in (2, 4) for row in _rows(np.load(folder / f"digits_snn_T{steps}.npz", allow_pickle=False))]
    RESULTS.write_text(json.dumps({"machine": surroundings(), "arithmetic": "real", "images": IMAGES, "rows": rows}, indent=2) + "\n")


def _rows(stored: Any) -> list[dict[str, Any]]:
    network, digits, chosen = Network(stored).eval(), load_digits(), stored["test_index"][:IMAGES]
    inputs, labels = torch.tensor(digits.data[chosen] / 16.0), torch.tensor(digits.target[chosen])
    found = []
    for radius in RADII:
        problem = make_problem(network, inputs, labels, LinfBall(radius, 0.0, 1.0), "real")
        correct = (problem.margins(inputs) > 0).nonzero()[:, 0].tolist()
        for way, (method, collapsed) in WAYS.items():
            begun = time.process_time()
            graph = capture_problem(problem) if collapsed else _unrolled(problem)
            bounds = margin_bounds(problem, graph, METHODS[method], correct).lower[correct]
            seconds, certified = round(time.process_time() - begun, 3), int((bounds > 0).sum())
            interval = [round(end, 3) for end in clopper_pearson(certified, len(correct))]
            row = {"T": network.steps, "epsilon": radius, "way": way, "certified": certified, "n": len(correct)}
            found.append({**row, "interval_95": interval, "mean_bound": round(float(bounds.mean()), 4), "cpu_seconds": seconds})
    return found


def _unrolled(problem: Problem) -> Graph:
    return capture(problem.network, tuple(problem.inputs.shape[1:]))


if __name__ == "__main__":
    main()
