"""Reports made up from real digits and drawn verdicts, and a browser that opens them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from neurocert.certify.reports.parts import (
    Arithmetic,
    Attack,
    Data,
    Environment,
    Network,
    Outcome,
    Perturbation,
    Routing,
    Sample,
    Witness,
    clean_share,
    summarise,
    verdict_of,
)
from neurocert.certify.reports.schema import Report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=10000",
    "--dump-dom",
)
METHODS = ("interval", "linear")
MakeReport = Callable[..., Report]


@pytest.fixture
def open_page(tmp_path: Path) -> Callable[[Path], str]:
    """Opens a file in a real browser; returns the document after its scripts have run."""
    if BROWSER is None:
        pytest.skip("no chromium, google-chrome or chromium-browser on PATH")

    def document(page: Path) -> str:
        command = [str(BROWSER), *OPTIONS, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
        return subprocess.run(command, check=True, capture_output=True, timeout=120).stdout.decode()

    return document


def drawn_report(
    name: str = "digits-flex-snn",
    n: int = 24,
    epsilons: tuple[float, ...] = (0.005, 0.01, 0.02),
    seed: int = 0,
    classes: tuple[str, ...] = tuple("0123456789"),
    norm: str = "linf",
    attacks: bool = True,
) -> Report:
    """Margins fall with epsilon at a drawn rate; bounds lie below what the drawn attacks find."""
    generator = np.random.default_rng(seed)
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels[1000:].reshape(-1, 8, 8) / 16).astype(np.float32)
    samples: list[Sample] = []
    outcomes: list[Outcome] = []
    witnesses: list[Witness] = []
    for position in range(n):
        label = int(labels[1000 + position])
        clean, fall, gap = generator.normal(1.1, 0.6), generator.gamma(4, 20), generator.gamma(2, 15)
        predicted = label if clean > 0 else (label + 3) % 10
        image = images[position]
        samples.append(Sample(index=1000 + position, label=label, predicted=predicted, clean_margin=clean, input=[image.tolist()]))
        for epsilon in epsilons:
            attacked = clean - epsilon * fall if attacks else None
            bounds = {method: clean - epsilon * (fall + factor * gap) for method, factor in (("interval", 3.0), ("linear", 1.0))}
            broken = False
            if clean > 0 and attacked is not None and attacked <= 0:
                broken = True
                move = epsilon * generator.choice([-0.99, 0.99], size=(8, 8)) / {"linf": 1, "l2": 8, "l1": 64}[norm]
                point = np.clip(image + move, 0, 1).astype(np.float32)
                witnesses.append(Witness(input=[point.tolist()], margin=attacked, predicted=(label + 5) % 10))
            best = None if clean <= 0 else bounds["linear"]
            verdict = verdict_of(clean > 0, broken, best)
            outcomes.append(
                Outcome(
                    sample=1000 + position,
                    epsilon=epsilon,
                    verdict=verdict,
                    reason="" if verdict == "certified" else "the best bound is not above 0",
                    bounds=bounds if clean > 0 else dict.fromkeys(METHODS),
                    attacks={"pgd": attacked if clean > 0 else None} if attacks else {},
                    witness=len(witnesses) - 1 if broken else None,
                    seconds=0.25,
                )
            )
    return Report(
        network=Network(
            name=name,
            sha256="3f" * 32,
            architecture="flex-vgg: blocks 16/1, 32/2; hidden 64; width 1; mask hard-sigmoid",
            semantics="LIF, spike iff V > 1, hard reset to 0 (in-step), decay 0.5, T=4, direct encoding, mean readout",
            parameters=38_410,
            classes=classes,
            provenance=None,
        ),
        data=Data(name="digits", noun="held-out digits", sha256="a0" * 32, size=1797),
        perturbation=Perturbation(name=norm, epsilons=epsilons, low=0.0, high=1.0),
        arithmetic=Arithmetic(name="float32", statement="every float32 evaluation of the network, in any order of summation"),
        methods=METHODS,
        attacks=(Attack(name="pgd", description="PGD on the logit margin: 20 steps, 3 restarts"),) if attacks else (),
        seed=seed,
        clean=clean_share(samples),
        samples=tuple(samples),
        outcomes=tuple(outcomes),
        witnesses=tuple(witnesses),
        summaries=tuple(summarise(outcomes, epsilon, METHODS) for epsilon in epsilons),
        routing=(
            Routing(layer="synapses.0.0", conv_ratio=0.43, binariness=0.71, calls=1),
            Routing(layer="synapses.1.0", conv_ratio=0.61, binariness=0.38, calls=4),
        ),
        environment=Environment(neurocert="0.1.0", torch="2.13.0", numpy="2.4.6", python="3.12.3", platform="Linux x86_64", threads=2),
        seconds=21.5,
        assumptions=("Stored weights are exact.", "The input range is [0, 1]."),
        command=f"certify run {name} --data digits --epsilon 0.005,0.01,0.02 --seed {seed}",
    )


@pytest.fixture
def make_report() -> MakeReport:
    return drawn_report
