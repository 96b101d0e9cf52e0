"""The part of the page of benchmarks that speaks of the spiking preprocessor: noise, few shots, clusters, invariance."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from measuring import in_words

from neurocert.analysis.statistics import clopper_pearson

RESULTS = Path(__file__).parent / "results"
HYBRIDS = ("SNAN in training and test", "S-B SNAN in training and test")
OTHERS = {"the standalone classifier": ("standalone",), "the control": ("resample only",),
          "the best filter": ("median filter", "mean filter", "bilateral filter")}  # fmt: skip
REGIMES = ("clean", "fixed 0.2", "matched")
Record = dict[str, Any]


class Key(NamedTuple):
    """What the splits of one experiment have in common; ``size`` is the training noise or the images of each class."""

    experiment: str
    model: str
    size: str


class Cell(NamedTuple):
    """One figure of one table: correct of n over all splits, and each split's share."""

    correct: int
    n: int
    shares: tuple[float, ...] = ()

    def interval(self) -> tuple[float, float]:
        return clopper_pearson(self.correct, self.n)

    def __str__(self) -> str:
        low, high = self.interval()
        deviation = f" ±{100 * stdev(self.shares):.1f}" if len(self.shares) > 1 else ""
        return f"{100 * self.correct / self.n:.1f} [{100 * low:.0f}, {100 * high:.0f}]{deviation}"


Table = dict[tuple[str, str, float], Cell]
"""(row, classes, noise): cell."""


def protocols() -> Iterator[str]:
    """Every table of the protocols that have run, and what they say of the paper's claims."""
    found = json.loads((RESULTS / "snan_protocols.json").read_text(encoding="utf-8"))["pieces"]
    grouped = group(found)
    yield "## Spiking preprocessing under impulse noise\n"
    yield (
        "`benchmarks/snan_protocols.py`: percent of the test images decided rightly, pooled over splits, with 95 % intervals and ± the "
        "deviation of the splits. S-B "
        "networks know five classes only, so the others are scored on those as well. Noise inverts that share of the pixels of the "
        "enlarged image; of the original one for the standalone classifier, which has no enlarged one. The control resamples the "
        "noisy enlarged image without a network.\n"
    )
    for experiment, model in dict.fromkeys((key.experiment, key.model) for key in grouped if not key.experiment.startswith("few")):
        for regime in REGIMES:
            yield from noise_table(experiment, model, regime, regime_table(grouped, experiment, model, regime))
    yield from clusters_table(found)
    yield (
        "### Few shots\n\nTest noise 0.15 (and none). Spiking network and classifier have seen so many images of each class. Drawings "
        "of 105x105 are not enlarged, so that their control is the standalone classifier under another draw of noise.\n"
    )
    for experiment, model in dict.fromkeys((key.experiment, key.model) for key in grouped if key.experiment.startswith("few")):
        yield from few_table(experiment, model, grouped)
    yield from claims(grouped)


def group(found: dict[str, list[Record]]) -> dict[Key, list[Record]]:
    """Records by experiment, all splits together."""
    grouped: dict[Key, list[Record]] = defaultdict(list)
    for name, records in found.items():
        experiment, model, _, size = name.split("/")
        grouped[Key(experiment, model, size)] += records
    return grouped


def pool(records: list[Record]) -> Table:
    """Sums over splits."""
    parts: dict[tuple[str, str, float], list[Record]] = defaultdict(list)
    for record in records:
        parts[record["row"], record["classes"], record["noise"]].append(record)
    return {key: _cell(splits) for key, splits in parts.items()}


def _cell(splits: list[Record]) -> Cell:
    shares = tuple(split["correct"] / split["n"] for split in splits)
    return Cell(sum(split["correct"] for split in splits), sum(split["n"] for split in splits), shares)


def regime_table(grouped: dict[Key, list[Record]], experiment: str, model: str, regime: str) -> Table:
    """The records of one way to train; empty where nothing has run."""
    level = {"clean": "training noise 0", "fixed 0.2": "training noise 0.2"}.get(regime)
    if level is not None:
        return pool(grouped.get(Key(experiment, model, level), []))
    parts = [(key, records) for key, records in grouped.items() if (key.experiment, key.model) == (experiment, model)]
    matched = [r for key, records in parts for r in records if r["noise"] == float(key.size.removeprefix("training noise "))]
    return pool(matched) if len(parts) > 2 else {}


def noise_table(experiment: str, model: str, regime: str, table: Table) -> Iterator[str]:
    """Rows over noise levels, first for ten classes, then for five."""
    if not table:
        return
    levels = sorted({noise for _, _, noise in table})
    sizes = ", ".join(f"{classes} classes n = {max(c.n for (_, k, _), c in table.items() if k == classes)}" for classes in ("ten", "five"))
    yield f"### {experiment}, {model}, {regime} training; {sizes}\n"
    yield f"| strategy | classes | {' | '.join(f'noise {level:g}' for level in levels)} |\n|{'---|' * (2 + len(levels))}"
    for classes in ("ten", "five"):
        for row in dict.fromkeys(name for name, part, _ in table if part == classes):
            cells = (str(table[row, classes, level]) if (row, classes, level) in table else "" for level in levels)
            yield f"| {row} | {classes} | {' | '.join(cells)} |"
    yield ""


def few_table(experiment: str, model: str, grouped: dict[Key, list[Record]]) -> Iterator[str]:
    """Rows over the number of images of each class."""
    tables = {key.size: pool(records) for key, records in grouped.items() if (key.experiment, key.model) == (experiment, model)}
    sizes = sorted(tables, key=lambda size: -int(size.partition(" ")[0]))
    heads = (f"{size}, n = {max(cell.n for cell in tables[size].values())}" for size in sizes)
    yield f"| {experiment.removeprefix('few shots of ')}, {model} | noise | {' | '.join(heads)} |\n|{'---|' * (2 + len(sizes))}"
    for row, _, noise in dict.fromkeys(key for table in tables.values() for key in table):
        cells = (str(tables[size][row, "ten", noise]) if (row, "ten", noise) in tables[size] else "" for size in sizes)
        yield f"| {row} | {noise:g} | {' | '.join(cells)} |"
    yield ""


def clusters_table(found: dict[str, list[Record]]) -> Iterator[str]:
    """Means over splits of how the classes lie, clean training, ten classes."""
    wanted = [name for name in found if name.startswith("mnist, 50 per class/lenet") and name.endswith("training noise 0")]
    if not wanted:
        return
    rows: dict[tuple[str, float], list[list[float]]] = defaultdict(list)
    for record in (record for name in wanted for record in found[name]):
        if record["classes"] == "ten" and record["noise"] in (0.0, 0.3):
            rows[record["row"], record["noise"]].append(record["clusters"])
    yield f"### Clusters of the embeddings: mnist, 50 per class, lenet, clean training, mean of {len(wanted)} splits\n"
    yield "| strategy | noise | size | mean distance | least distance | shift |\n|---|---|---|---|---|---|"
    for (row, noise), values in rows.items():
        yield f"| {row} | {noise:g} | {' | '.join(f'{fmean(column):.2f}' for column in zip(*values, strict=True))} |"
    yield ""


def claims(grouped: dict[Key, list[Record]]) -> Iterator[str]:
    """Whether hybrids do better than what they are compared with: intervals that do not overlap."""
    yield "### Which claims hold beyond the control\n"
    yield (
        "*higher* or *lower*: the hybrid's 95 % interval lies wholly above or below that of the other; *open*: they overlap. The paper "
        "compares with the standalone classifier and with filters; only the control shows what the network adds to enlarging.\n"
    )
    rows = list(_claims(grouped))
    beyond = [row.split("|")[4].split()[0] for row in rows]
    counts = ", ".join(f"{beyond.count(word)} {word}" for word in ("**higher**", "lower", "open"))
    yield f"Against the control, {len(rows)} comparisons: {counts}. (At 95 % one or two of so many may be wrong.)\n"
    yield f"| hybrid | under | {' | '.join(f'than {name}' for name in OTHERS)} |\n|---|---|---|---|---|"
    yield from rows
    yield ""


def _claims(grouped: dict[Key, list[Record]]) -> Iterator[str]:
    """One row for each comparison that has been measured."""
    for experiment, model in dict.fromkeys((key.experiment, key.model) for key in grouped if not key.experiment.startswith("few")):
        for regime in REGIMES:
            table = regime_table(grouped, experiment, model, regime)
            for hybrid in HYBRIDS:
                classes = "five" if hybrid.startswith("S-B") else "ten"
                for noise in (0.2, 0.3, 0.4):
                    if (hybrid, classes, noise) in table:
                        yield _claim(hybrid, f"{experiment}, {model}, {regime}, noise {noise:g}", table, classes, noise)
    for key, records in grouped.items():
        if key.experiment.startswith("few"):
            yield _claim(HYBRIDS[0], f"{key.experiment}, {key.model}, {key.size}, noise 0.15", pool(records), "ten", 0.15)


def _claim(hybrid: str, where: str, table: Table, classes: str, noise: float) -> str:
    own = table[hybrid, classes, noise]
    words = []
    for rows in OTHERS.values():
        others = [table[row, classes, noise] for row in rows if (row, classes, noise) in table]
        best = max(others, key=lambda cell: cell.correct / cell.n)
        words.append(f"{compare(own, best)} ({100 * own.correct / own.n:.0f} and {100 * best.correct / best.n:.0f})")
    return f"| {hybrid} | {where} | {' | '.join(words)} |"


def compare(own: Cell, other: Cell) -> str:
    """In a word; see ``claims``."""
    (low, high), (other_low, other_high) = own.interval(), other.interval()
    return "**higher**" if low > other_high else "lower" if high < other_low else "open"


def invariance() -> Iterator[str]:
    """Radii of all test images of MNIST, how they were checked, and the certificates of a hybrid and its control."""
    found = json.loads((RESULTS / "snan_invariance.json").read_text(encoding="utf-8"))
    yield "## Invariance of binarised images\n"
    n, first = found["radii"]["linf"]["n"], found["radii"]["linf"]["at least"]
    yield f"`benchmarks/snan_invariance.py`, all {n:,} test images of MNIST, enlarged to 79 x 79; the same for hybrids and controls.\n"
    yield f"| norm | median radius | 5 % to 95 % | {' | '.join(f'at least {epsilon}' for epsilon in first)} |\n|{'---|' * (3 + len(first))}"
    for norm, part in found["radii"].items():
        quantiles = part["quantiles"]
        counts = " | ".join(f"{count:,}" for count in part["at least"].values())
        yield f"| {norm} | {quantiles['0.5']:.2g} | {quantiles['0.05']:.2g} to {quantiles['0.95']:.2g} | {counts} |"
    edges = found["radii"]["linf"]["edges"]
    yield f"\n| radius from | {' | '.join(f'{edge:.1g}' for edge in edges[:-1])} |\n|{'---|' * len(edges)}"
    for norm, part in found["radii"].items():
        yield f"| {norm}, images | {' | '.join(map(str, part['counts']))} |"
    if "check" in found and "spikes" in found:
        yield from _checked(found["check"], found["spikes"])
    if "control" in found and "hybrid" in found:
        yield from _certificates({"control": found["control"], "SNAN hybrid": found["hybrid"]})


def _checked(check: dict[str, Any], spikes: dict[str, Any]) -> Iterator[str]:
    for norm in ("linf", "l2"):
        part, counts = check[norm], spikes[norm]
        yield (
            f"\n{norm}: {part['images']} images x {part['changes']:,} corner and random changes at 0.999 of the radius: "
            f"**{part['pixels that moved']} pixels moved**; of {counts['compared']:,} spike counts, **{counts['changed']} changed**."
        )
    flipped = ", ".join(map(str, spikes["one flipped pixel changes"]))
    yield f"\nOne flipped pixel of an image, for comparison, changes this many of 6,241 spike counts: {flipped}.\n"


def _certificates(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "| LeNet, 50 images of each class | " + " | ".join(found) + " |\n|---|---|---|"
    parts = list(found.values())
    yield f"| right | {' | '.join(_share(part['right']) for part in parts)} |"
    for epsilon in parts[0]["certified by invariance"]:
        yield f"| by invariance, L∞ {epsilon} | {' | '.join(_share(part['certified by invariance'][epsilon]) for part in parts)} |"
    for epsilon in parts[0]["enumeration"]:
        yield f"| with enumeration, L∞ {epsilon} | {' | '.join(_words(part['enumeration'][epsilon]) for part in parts)} |"
    models = list(parts[0]["smoothing"])
    for number, model in enumerate(models, 1):
        yield f"| flips survived, smoothing {number} | {' | '.join(', '.join(map(str, part['smoothing'][model])) for part in parts)} |"
    single = (part["single flips"] for part in parts)
    words = ("not run" if one is None else _share(one["certified"]) for one in single)
    yield f"| no single flip breaks it, all 6,241 tried | {' | '.join(words)} |"
    yield ""
    yield from (f"Smoothing {number}: {model}." for number, model in enumerate(models, 1))
    yield "-1: wrong, or no majority established.\n"


def _share(value: dict[str, Any]) -> str:
    return f"{value['count']}/{value['n']} {Cell(value['count'], value['n'])} %"


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def maps() -> Iterator[str]:
    """What is certified of the classifiers behind the preprocessor, in the space of the maps that they read."""
    found = json.loads((RESULTS / "snan_maps.json").read_text(encoding="utf-8"))
    rows = found["rows"]
    radii = next(iter(rows.values()))["unbroken by pgd"]
    yield "## Classifiers behind the preprocessor, in the space of maps\n"
    yield (
        f"`benchmarks/snan_maps.py`, {in_words(found['machine'])}: of the maps of the first n test images, those whose decision is right "
        "and proved to stay within an L∞ radius, with 95 % intervals; and those that PGD does not change. What certifies nothing at a "
        "radius counts as 0 at a larger one. CPU s: for one image, at the radius where it took longest; "
        f"*given up* where bounds of any image were not there after {found['seconds']:g} s by the clock.\n"
    )
    yield f"| classifier | n | method | {' | '.join(radii)} | CPU s |\n|{'---|' * (4 + len(radii))}"
    for name, row in rows.items():
        n = row["samples"]
        for method, outcomes in row["methods"].items():
            cells = [_of(outcomes[radius]["certified"], n) for radius in radii]
            seconds = max(outcome["cpu_seconds_per_sample"] or 0.0 for outcome in outcomes.values())
            given_up = " *given up*" if any(outcome["given_up"] for outcome in outcomes.values()) else ""
            yield f"| {name} | {n} | {method} | {' | '.join(cells)} | {seconds:.3f}{given_up} |"
        yield f"| {name} | {n} | not broken by PGD | {' | '.join(_of(row['unbroken by pgd'][radius], n) for radius in radii)} | |"
    yield ""


def _of(count: int, n: int) -> str:
    low, high = clopper_pearson(count, n)
    return f"{count} [{100 * low:.0f}, {100 * high:.0f}]"
