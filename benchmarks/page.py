"""Writes docs/benchmarks.md from the results of the other scripts: no figure stands there that was not measured."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import snan_page
from measuring import in_words

from neurocert.analysis.statistics import clopper_pearson

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Generated from benchmarks/results/*.json by `python benchmarks/page.py`; a test holds it up to date. Brackets are 95 %
Clopper-Pearson intervals. Targets that are missed are printed as missed.
"""


SECOND_RECIPE = """The recipe of mnist-conv-lif-robust is a second one, chosen on validation images after the first (20 epochs, batches of
100, with regularisers, 22 CPU minutes) had certified 8462 of the 10,000 test images, fewer than wanted."""

CLAIM_RULE = """Differences are paired by seed, with Student's 95 % interval of their mean, each for itself. A claim holds where every
interval lies on its side of 0; it does not hold where one lies on the other side; else, or with fewer than three seeds, it is
undecided. Intervals speak of other seeds, not of other images. The area under PGD alone is what the thesis reports; what the
worst attack takes from it is masking, not robustness."""


BOUNDS = ("interval", "linear", "optimised")
GOALS = {"digits": 0.95, "mnist": 0.98}
"""Clean accuracy that each variant, trained plainly, is to reach."""
HOW_VARIANTS = """Percent of test images that are decided rightly, with 95 % Clopper-Pearson intervals: clean and balanced on the whole test
split, and so certified by intervals; under each attack, and where all of them fail ("worst", "under attack"), on the first
images as they come; certified by linear and optimised bounds of as many of these as were done in half a minute of processor
time (misclassified and broken images count as not certified, and take none). What certifies nothing at a radius is not asked
at a larger one, and counts as 0 there. Mean margin: of the images that the method certifies, interval / linear / optimised.
CPU s: for one image, likewise. Training: CPU minutes on one thread, validation included, where it was done for this."""


def page() -> str:
    """The whole page."""
    snan = (*_snan(), *snan_page.protocols(), *snan_page.invariance(), *snan_page.maps())
    return "\n".join([HEAD, *_training(), *_variants(), *_claims(), *_spiking(), *_soundness(), *_peers(), *_forward(), *snan]) + "\n"


def _read(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def _training() -> Iterator[str]:
    found = _read("training")
    yield "## Networks trained through bounds\n"
    yield f"`benchmarks/training.py`, {in_words(found['machine'])}. Test images; certified by intervals.\n"
    yield "| network | epsilon | clean | under PGD | certified | goal | training, CPU minutes |\n|---|---|---|---|---|---|---|"
    for name, row in found["rows"].items():
        met = "met" if row["certified_interval"]["share"] >= row["goal"] else "missed"
        shares = " | ".join(_share(row[key]) for key in ("clean", "pgd", "certified_interval"))
        yield f"| {name} | {row['epsilon']:g} | {shares} | {row['goal']:.0%} {met} | {row['training_cpu_minutes']} |"
    yield f"\n{SECOND_RECIPE}\n"


def _variants() -> Iterator[str]:
    found = _read("variants")
    yield "## The six variants\n"
    yield f"`benchmarks/variants.py`, {in_words(found['machine'])}.\n\n{HOW_VARIANTS}\n"
    tables = {source: found[source] for source in found["samples"] if source in found}
    keys = (key for rows in tables.values() for row in rows.values() for key in row if key.startswith("attack "))
    names = list(dict.fromkeys(key.removeprefix("attack ") for key in keys))
    epsilons = [f"{epsilon:g}" for epsilon in found["epsilons"]]
    for source, rows in tables.items():
        yield from _data_set(source, rows, epsilons, names, found["samples"][source])


def _data_set(source: str, rows: dict[str, Any], epsilons: list[str], names: list[str], n: int) -> Iterator[str]:
    def under_each(row: dict[str, Any], epsilon: str) -> list[str]:
        return _attacked(row, epsilon, names, n)

    def summary(row: dict[str, Any], epsilon: str) -> list[str]:
        return [under_each(row, epsilon)[-1], *_proved(row, epsilon)]

    yield f"### {source}: accuracy and certificates\n"
    yield from _missed(rows, GOALS[source])
    yield from _table(["network", "clean", "balanced", "training"], ([name, *_accuracies(row)] for name, row in rows.items()))
    heads = ["network", "epsilon", "under attack", *BOUNDS, "mean margin", "CPU s"]
    yield from _table(heads, _at_each(rows, epsilons, summary))
    attacked = {name: row for name, row in rows.items() if any(f"attack {attack}" in row for attack in names)}
    if attacked:
        yield f"### {source}: each attack, on the first {n} test images\n"
        yield from _table(["network", "epsilon", *names, "worst"], _at_each(attacked, epsilons, under_each))


def _missed(rows: dict[str, Any], goal: float) -> Iterator[str]:
    plain = {name: row["clean"] for name, row in rows.items() if "robust" not in name}
    missed = [f"{name} ({100 * c['count'] / c['n']:.4g} %)" for name, c in plain.items() if c["count"] < goal * c["n"]]
    yield f"Target, trained plainly: {goal:.0%} clean each; **{'missed by ' + ', '.join(missed) if missed else 'met'}**.\n"


def _at_each(rows: dict[str, Any], epsilons: list[str], cells: Callable[[dict[str, Any], str], list[str]]) -> Iterator[list[str]]:
    """One row for each network and radius, the name in the first of them."""
    for name, row in rows.items():
        for index, epsilon in enumerate(epsilons):
            yield ["" if index else name, epsilon, *cells(row, epsilon)]


def _table(heads: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}"
    yield from (f"| {' | '.join(cells)} |" for cells in rows)
    yield ""


def _accuracies(row: dict[str, Any]) -> list[str]:
    clean = row["clean"]
    return [_short(clean["count"], clean["n"], of=clean["n"]), f"{100 * clean['balanced']:.1f}", _number(row["training_cpu_minutes"])]


def _attacked(row: dict[str, Any], epsilon: str, names: list[str], n: int) -> list[str]:
    """What stands under each attack, and under all of them once all are known."""
    wrong = [set(row[f"attack {name}"]["wrong"][epsilon].split()) if f"attack {name}" in row else None for name in names]
    known = [samples for samples in wrong if samples is not None]
    everything = set().union(*known) if known and len(known) == len(wrong) else None
    return ["" if samples is None else _short(n - len(samples), n) for samples in (*wrong, everything)]


def _proved(row: dict[str, Any], epsilon: str) -> list[str]:
    """Certified by each method; the mean certified margins; the seconds."""
    found = [row.get(f"{method} {epsilon}") for method in BOUNDS]
    cells = ["" if part is None else _short(part["count"], part["n"], of=part["n"]) for part in found]
    margins, seconds = (
        " / ".join(_number((part or {}).get(key)) or "-" for part in found) for key in ("mean_margin", "cpu_seconds_per_sample")
    )
    return [*cells, margins, seconds]


def _short(count: int, n: int, of: int | None = None) -> str:
    """Percent with its interval, and n where it is given."""
    decimals = 1 if n > 1000 else 0
    lower, upper = (f"{100 * end:.{decimals}f}" for end in clopper_pearson(count, n))
    return f"{'' if of is None else f'{count}/{of} = '}{100 * count / n:.4g} [{lower}, {upper}]"


def _share(share: dict[str, Any]) -> str:
    lower, upper = share["clopper_pearson_95"]
    return f"{share['count']}/{share['n']} = {100 * share['share']:.1f} % [{100 * lower:.1f}, {100 * upper:.1f}]"


def _spiking() -> Iterator[str]:
    found = _read("spiking")
    yield "## What each idea certifies on a spiking network\n"
    yield f"`benchmarks/spiking.py`, 64-64-64-10 on 8x8 digits, {in_words(found['machine'])}.\n"
    yield "| T | epsilon | way | certified | mean bound | CPU seconds |\n|---|---|---|---|---|---|"
    for row in found["rows"]:
        lower, upper = row["interval_95"]
        share = f"{row['certified']}/{row['n']} [{100 * lower:.1f}, {100 * upper:.1f}]"
        yield f"| {row['T']} | {row['epsilon']:g} | {row['way']} | {share} | {row['mean_bound']:.3f} | {row['cpu_seconds']:.2f} |"
    yield ""


def _claims() -> Iterator[str]:
    found = _read("claims")
    settings, rows = found["settings"], found["rows"]
    seeds = Counter(row["variant"] for row in rows).values()
    each = f"{min(seeds)} to {max(seeds)} seeds" if min(seeds) < max(seeds) else f"{max(seeds)} seeds each"
    yield "## The claims about PlasticFlex\n"
    yield (
        f"`benchmarks/claims.py`: recipes digits-vgg6-VARIANT, {each}, {in_words(found['machine'])}. Accuracy on all "
        f"test images. Attacked: the first {settings['attacked']}, l-infinity radii {_list(settings['radii'])}; an area is the mean "
        "accuracy over the radii from 0 on. The worst attack is PGD, then Square, then PGD through every surrogate refined by random "
        f"search, each on what is left. Certified: by linear bounds, at radius {settings['certified_radii'][-1]:g}, the first "
        f"{settings['certified']}. Curvature of the loss: on the first {settings['curved']} training images, the spiking networks' by "
        f"their surrogate; rise: mean over {settings['plane']['planes']} random filter-normalised planes of radius "
        f"{settings['plane']['radius']:g}. Means over seeds, standard deviations behind them.\n"
    )
    measures = list(rows[0]["measures"])
    yield f"| variant | {' | '.join(measures)} | PGD beaten by Square | left on the whole range |\n|{'---|' * (len(measures) + 3)}"
    for variant in dict.fromkeys(row["variant"] for row in rows):
        chosen = [row for row in rows if row["variant"] == variant]
        cells = [_spread([row["measures"][measure] for row in chosen]) for measure in measures]
        beaten = sum(bool(row["masking"]["square_beats_pgd_at"]) for row in chosen)
        left = sum(row["masking"]["left_on_whole_range"] for row in chosen)
        asked = settings["attacked"] * len(chosen)
        yield f"| {variant} | {' | '.join(cells)} | {beaten} of {len(chosen)} | {left} of {asked} |"
    yield f"\n{CLAIM_RULE}\n"
    yield "| claim | by | differences | verdict |\n|---|---|---|---|"
    for row in found["claims"]:
        pairs = "; ".join(map(_difference, row["pairs"]))
        yield f"| {row['claim']} | {row['measure']} ({row['better']} is better) | {pairs} | **{row['verdict']}** |"
    yield "\nSo, of the thesis's claims, on these digits:\n"
    for verdict in ("holds", "does not hold", "undecided"):
        named = [f"{row['claim']} ({row['measure']})" for row in found["claims"] if row["verdict"] == verdict]
        yield f"- {verdict}: {'; '.join(named) or 'none'}."
    yield ""


def _list(numbers: list[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _spread(values: list[float]) -> str:
    return f"{fmean(values):.3g}" + (f" ± {stdev(values):.2g}" if len(values) > 1 else "")


def _difference(pair: dict[str, Any]) -> str:
    interval = "one seed" if pair["interval_95"] is None else "{:.3g}, {:.3g}".format(*pair["interval_95"])
    return f"{pair['first']} minus {pair['second']}: {pair['mean']:+.3g} [{interval}]"


def _soundness() -> Iterator[str]:
    found = _read("soundness")
    first, last = found["seeds"]
    yield "## Soundness\n"
    yield (
        f"`benchmarks/soundness.py`: {found['triples']:,} (network, set, point) triples of {found['networks']:,} random networks "
        f"(seeds {first} to {last}), every bound of every output compared without tolerance: **{found['violations']} violations**. "
        f"torch {found['machine']['torch']}, {found['cpu_seconds']:.0f} CPU seconds.\n"
    )


def _forward() -> Iterator[str]:
    found = _read("forward")
    yield "## Linear bounds carried forward, beside those that go backward\n"
    yield f"`benchmarks/forward.py`, {found['samples']} inputs, {in_words(found['surroundings'])}. Mean width of the output's"
    yield "bounds / CPU s. Forward bounds are computed without a charge for rounding, which favours them. They are no part of the engine.\n"
    ways = list(next(iter(found["cases"].values())))
    cases = found["cases"].items()
    yield from _table(["network", *ways], ([name, *(_width(case.get(way)) for way in ways)] for name, case in cases))


def _width(found: dict[str, Any] | None) -> str:
    return "" if found is None else f"{found['width']:.3g} / {found['seconds']:.2g}"


def _peers() -> Iterator[str]:
    yield "## Beside auto_LiRPA\n\n`benchmarks/peers.py`; times are ratios of one run, below 1 where ours is faster.\n"
    yield "| case | target | met | time ratio | width ratio to intervals | n | machine |\n|---|---|---|---|---|---|---|"
    for name, case in _read("peers").items():
        parts = {key: value for key, value in case.items() if key.startswith("epsilon ")} or {"": case}
        for part, row in parts.items():
            title = f"{name}{', ' + part if part else ''}"
            met, width = "yes" if row["met"] else "**no**", _number(row.get("width ratio"))
            yield f"| {title} | {case['target']} | {met} | {_time_ratio(row)} | {width} | {case['n']} | {in_words(case)} |"
    yield ""


def _time_ratio(row: dict[str, Any]) -> str:
    ratio = row.get("time ratio")
    if ratio is None and "auto_LiRPA seconds" in row:
        ratio = row["seconds"] / row["auto_LiRPA seconds"]
    return _number(ratio)


def _snan() -> Iterator[str]:
    letters, speed = _read("snan_letters"), _read("snan_speed")
    yield "## The spiking neuron-astrocyte network\n"
    seconds = max(row["seconds"] for row in letters["rows"])
    yield (
        f"`benchmarks/snan_letters.py`, recall of twenty characters, {len(letters['rows'])} seeds, {in_words(letters['machine'])}; "
        f"{letters['rows'][0]['model seconds']} s of model time in at most {seconds:.0f} s (target 60).\n"
    )
    yield "| balanced accuracy | reference | by seed | mean | within 0.01 |\n|---|---|---|---|---|"
    for name, reference in letters["reference"].items():
        seeds = ", ".join(f"{row[name]:.3f}" for row in letters["rows"])
        met = "yes" if letters["within 0.01"][name] else "**no**"
        yield f"| {name} | {reference} | {seeds} | {letters['mean'][name]:.4f} | {met} |"
    met = "met" if speed["met"] else "**missed**"
    yield (
        f"\n`benchmarks/snan_speed.py`, one 30 ms presentation, {speed['workers']} workers, {in_words(speed['machine'])}; peak "
        f"{speed['peak GiB']:.2f} GiB. Target, a batch of 100: 0.05 s per image on two idle cores, that is 0.1 core seconds, {met}. The "
        "clock includes waiting for other work on the machine.\n"
    )
    yield "| images | spikes per image | core seconds per image | by the clock |\n|---|---|---|---|"
    rows = [*speed["by batch"].items(), *(("40, random", row) for row in speed["by spikes"])]
    for name, row in rows:
        yield f"| {name} | {row['spikes per image']} | {row['core seconds per image']:.4f} | {row['seconds per image']:.4f} |"
    yield ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
