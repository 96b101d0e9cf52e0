"""The command ``certify``: its options, and what its exit code means. Each command's work is a file of its own.

Nothing heavy is imported before a command needs it: ``certify --help`` must answer at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib.metadata import version
from typing import Annotated

import typer

from neurocert.certify.cli.console import remark, write
from neurocert.certify.config import GRID, SUITE
from neurocert.models.errors import InputError, NeurocertError

OK, FAILED, USAGE, UNKNOWN, INTERNAL, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 3, 4, 130, 141
EXIT_CODES = """Exit codes: 0 done, every requirement met; 1 a requirement failed; 2 an option, file or value cannot be used;
3 with --strict: nothing broken, but something unknown; 4 internal error; 130 interrupted."""

app = typer.Typer(
    name="certify",
    help="Will this checkpoint still decide the same? A proof, a counterexample, or an honest unknown.",
    epilog=EXIT_CODES,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Checkpoints = Annotated[
    list[str], typer.Argument(metavar="CHECKPOINT...", help="Files, or names of shipped checkpoints (certify ls checkpoints).")
]
Data = Annotated[str, typer.Option(help="digits; a folder of IDX files; an IDX images file; an .npz with inputs and labels.")]
Epsilon = Annotated[str, typer.Option("--epsilon", "--epsilons", help="Radii in input units, such as 0.005,0.01; for flips, how many.")]
Norm = Annotated[str, typer.Option(help="linf, l2, l1, or flips of binary inputs.")]
Methods = Annotated[
    str, typer.Option("--method", "--methods", help="Bounds: interval,linear,optimised,auto-lirpa, enumeration (flips); or none.")
]
Attacks = Annotated[
    str, typer.Option("--attack", "--attacks", help="Attacks (certify ls attacks; torchattacks:NAME for that library's), or none.")
]
Chosen = Annotated[str | None, typer.Option(metavar="N|LIST", help="The first N of the test split, or indices such as 3,17. Default: 100.")]
Out = Annotated[str | None, typer.Option(metavar="DIR", help="Write report.html and report.json there.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout instead of tables.")]
Seed = Annotated[int, typer.Option(help="Of the attacks' random starts.")]
Arithmetic = Annotated[str | None, typer.Option(help="What a proof covers: float32, float64 or real. Default: that of the weights.")]
Require = Annotated[
    list[str] | None, typer.Option(metavar="RULE", help="Such as 'certified>=0.9@0.01'; may be repeated. Exit 1 if it fails.")
]
WeightsRelative = Annotated[str | None, typer.Option(metavar="SHARE", help="Every weight, too, may be off by this share of itself.")]
WeightsAbsolute = Annotated[str | None, typer.Option(metavar="AMOUNT", help="Every weight, too, may be off by this much.")]
WeightsNamed = Annotated[
    str | None, typer.Option(metavar="PATTERNS", help="Which weights may be off, such as 'readout.*,*.convolution.*'. Default: all.")
]
TimeLimit = Annotated[
    str | None, typer.Option(metavar="SECONDS", help="For each sample, radius and method; what is not proved by then is unknown.")
]
Strict = Annotated[bool, typer.Option(help="Exit 1 if anything is broken or misclassified, 3 if anything is unknown.")]


@app.callback(invoke_without_command=True)
def _certify(
    context: typer.Context, show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False
) -> None:
    if show_version:
        write(version("neurocert"))
    elif context.invoked_subcommand is None:
        sys.stderr.write(context.get_help() + "\n")
        raise typer.Exit(USAGE)


@app.command("run")
def _run(
    checkpoints: Checkpoints,
    data: Data = "digits",
    epsilon: Epsilon = "0.005,0.01,0.02",
    norm: Norm = "linf",
    method: Methods = "interval,linear",
    attack: Attacks = "fgsm,pgd",
    samples: Chosen = None,
    out: Out = None,
    json: AsJson = False,
    seed: Seed = 0,
    arithmetic: Arithmetic = None,
    weights_relative: WeightsRelative = None,
    weights_absolute: WeightsAbsolute = None,
    weights_named: WeightsNamed = None,
    time_limit: TimeLimit = None,
    require: Require = None,
    strict: Strict = False,
) -> None:
    """Certify and attack checkpoints on data: clean, certified, attacked, unknown, for each radius."""
    from neurocert.certify.cli.certifying import certify_all, configurations
    from neurocert.certify.config import parse_tolerance

    weights = parse_tolerance(weights_relative, weights_absolute, weights_named)
    configs = configurations(
        *(checkpoints, data, epsilon, norm, method, attack, samples, seed),
        arithmetic=arithmetic,
        requirements=require or (),
        weights=weights,
        time_limit=time_limit,
    )
    raise typer.Exit(certify_all(configs, out, as_json=json, strict=strict))


@app.command("attack")
def _attack(
    checkpoints: Checkpoints,
    data: Data = "digits",
    epsilon: Epsilon = GRID,
    norm: Norm = "linf",
    attack: Attacks = SUITE,
    samples: Chosen = None,
    out: Out = None,
    json: AsJson = False,
    seed: Seed = 0,
    weights_relative: WeightsRelative = None,
    weights_absolute: WeightsAbsolute = None,
    weights_named: WeightsNamed = None,
) -> None:
    """Search for counterexamples: accuracy under each attack and under all, over the radii."""
    from neurocert.certify.cli.attacking import attack_configurations
    from neurocert.certify.cli.certifying import certify_all
    from neurocert.certify.config import parse_tolerance

    weights = parse_tolerance(weights_relative, weights_absolute, weights_named)
    configs = attack_configurations(checkpoints, data, epsilon, norm, attack, samples, seed, weights)
    raise typer.Exit(certify_all(configs, out, as_json=json))


@app.command("analyse")
def _analyse(
    checkpoints: Checkpoints,
    data: Data = "digits",
    figures: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Sections or figures, such as hessian,rasters. Default: all that apply.")
    ] = None,
    epsilon: Annotated[str | None, typer.Option("--epsilon", "--epsilons", help="Radii of the attack curves. Default: 0 to 0.3.")] = None,
    norm: Norm = "linf",
    attack: Attacks = "fgsm,pgd",
    samples: Chosen = None,
    out: Annotated[str, typer.Option(metavar="DIR", help="Where analysis.html and analysis.json go.")] = "certify-analysis",
    json: AsJson = False,
    seed: Annotated[int, typer.Option(help="Of attacks, directions and probes.")] = 0,
) -> None:
    """Draw attack curves, loss landscape, Hessian spectrum, routing and spikes; several checkpoints are compared."""
    from neurocert.certify.cli.analysing import analyse_all, configurations

    analyse_all(configurations(checkpoints, data, figures, epsilon, norm, attack, samples, seed), out, as_json=json)


@app.command("snan")
def _snan(
    hybrids: Annotated[list[str], typer.Argument(metavar="FILE...", help="Hybrids that `certify train` made; several are compared.")],
    data: Data = "digits",
    epsilon: Annotated[
        str, typer.Option("--epsilon", "--epsilons", help="L-infinity radii in input units.")
    ] = "0.0005,0.001,0.002,0.005,0.01",
    samples: Chosen = None,
    enumerate_: Annotated[int, typer.Option("--enumerate", metavar="N", help="Enumerate undecided pixels of so many samples.")] = 10,
    budget: Annotated[int, typer.Option(help="At most so many undecided pixels; each doubles the runs.")] = 6,
    noise: Annotated[str, typer.Option(help="Shares of inverted pixels, from 0.")] = "0,0.1,0.2,0.3,0.4,0.5",
    shown_noise: Annotated[float, typer.Option(help="That of pictures, clusters and few shots.")] = 0.2,
    single_flips: Annotated[
        int, typer.Option(metavar="N", help="Invert every pixel of so many samples alone; costs as many runs as there are pixels.")
    ] = 0,
    smooth: Annotated[int, typer.Option(metavar="N", help="Smooth the decisions on so many samples over random flips.")] = 5,
    flip: Annotated[float, typer.Option(help="Probability of each flip, below 0.5.")] = 0.1,
    draws: Annotated[int, typer.Option(help="Fresh draws for each smoothed decision.")] = 200,
    recipe: Annotated[str | None, typer.Option(help="Train this recipe again, with --few-shots images of each class.")] = None,
    few_shots: Annotated[str | None, typer.Option(metavar="LIST", help="Such as 1,5,10; with --recipe.")] = None,
    out: Annotated[str, typer.Option(metavar="DIR", help="Where snan.html and snan.json go.")] = "certify-snan",
    json: AsJson = False,
    seed: Annotated[int, typer.Option(help="Of noise and draws.")] = 0,
) -> None:
    """Certify classifiers behind a spiking preprocessor, and measure them under impulse noise."""
    from neurocert.certify.cli.snan import configurations, study_all

    configs = configurations(
        hybrids, data, epsilon, samples, enumerate_, budget, single_flips, noise, shown_noise, smooth, flip, draws, recipe, few_shots, seed
    )
    study_all(configs, out, as_json=json)


@app.command("demo")
def _demo(out: Annotated[str, typer.Option(metavar="DIR", help="Where the report goes.")] = "certify-report") -> None:
    """Certify and attack two shipped checkpoints on handwritten digits, and write the report."""
    from neurocert.certify.cli.certifying import certify_all, demonstration

    raise typer.Exit(certify_all(demonstration(), out))


@app.command("inspect")
def _inspect(checkpoint: Annotated[str, typer.Argument(help="A file, or the name of a shipped checkpoint.")], json: AsJson = False) -> None:
    """Show a checkpoint: layers, shapes, semantics, provenance, and which bounds know each layer."""
    from neurocert.certify.cli.inspecting import inspect

    inspect(checkpoint, as_json=json)


@app.command("train")
def _train(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of a recipe (certify ls recipes).")],
    out: Annotated[str, typer.Option(metavar="FILE", help="The .safetensors file to write.")],
    data: Annotated[str | None, typer.Option(metavar="DIR", help="The data that the recipe names; not for the digits.")] = None,
    device: Annotated[str, typer.Option(help="Where to compute, such as cuda.")] = "cpu",
) -> None:
    """Train a network by a recipe and write its checkpoint."""
    from neurocert.certify.cli.training import train

    train(recipe, out, data, device)


@app.command("doctor")
def _doctor(json: AsJson = False) -> None:
    """Check this installation: versions, threads, float modes, optional packages, and a one-second test of soundness."""
    from neurocert.certify.cli.doctor import doctor

    raise typer.Exit(OK if doctor(as_json=json) else INTERNAL)


@app.command("ls")
def _ls(
    what: Annotated[str, typer.Argument(metavar="WHAT", help="models, recipes, checkpoints, rules, attacks or perturbations.")],
    json: AsJson = False,
) -> None:
    """List what there is."""
    from neurocert.certify.cli.listing import listing

    listing(what, as_json=json)


def main() -> None:
    """Runs the command line and ends the process with an exit code."""
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
        if code == INTERRUPTED:  # typer's own word for Ctrl-C
            raise KeyboardInterrupt
    except (KeyboardInterrupt, typer.Abort):
        remark("certify: interrupted")
        code = INTERRUPTED
    except InputError as error:
        remark(f"certify: error: {error}")
        code = USAGE
    except NeurocertError as error:
        remark(f"certify: internal error: {type(error).__name__}: {error}")
        code = INTERNAL
    except (BrokenPipeError, SystemExit):  # typer leaves by SystemExit only when nobody reads stdout any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that closing stdout does not complain again
        code = CLOSED_PIPE
    except Exception as error:  # noqa: BLE001  (the last resort: whatever happened must not look like an answer)
        code = _last_resort(error)
    sys.exit(code or OK)


def _last_resort(error: Exception) -> int:
    """A usage error as typer raises it, in one line; anything else is a defect, shown with its traceback."""
    explain = getattr(error, "format_message", None)
    if explain is not None:
        remark(f"certify: error: {explain()} (see {_usage_path(error)} --help)")
        return USAGE
    traceback.print_exception(error)
    remark(f"certify: internal error: {type(error).__name__}: {error} (a defect of neurocert; please report it with what is printed above)")
    return INTERNAL


def _usage_path(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return "certify" if context is None else context.command_path
