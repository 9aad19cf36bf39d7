"""Model cards: what a network is, how it was made, and what was measured of the saved file."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from recipe import Family, Recipe
from torch import nn

from certify.model import Model
from certify.search.accuracy import Threat, evaluate


@dataclass(frozen=True)
class Measured:
    """Clean accuracy on all test images; per radius, accuracy under attack and certified accuracy by method on the first ones."""

    correct: int
    images: int
    attacked: dict[str, int]
    certified: dict[tuple[str, str], int]


def measure(model: Model, recipe: Recipe, family: Family) -> Measured:
    """Measures in float64, as `certify accuracy` does."""
    x, y = torch.as_tensor(family.test.x).double(), torch.as_tensor(family.test.y)
    with torch.no_grad():
        correct = int((model(x).argmax(1) == y).sum())
    x, y = model.to_input(x[: family.measured]), y[: family.measured]
    attacked, certified = {}, {}
    for eps in recipe.radii:
        outcomes = list(evaluate(model, x, y, Threat(eps), recipe.methods))
        attacked[eps] = sum(int(outcome.attacked.sum()) for outcome in outcomes)
        for method in recipe.methods:
            certified[eps, method] = sum(int(outcome.certified[method].sum()) for outcome in outcomes)
    return Measured(correct, len(family.test.y), attacked, certified)


def card(module: nn.Module, recipe: Recipe, family: Family, found: Measured, seconds: float) -> str:
    """The card, as markdown."""
    count = min(family.measured, found.images)
    lines = [f"# {recipe.name}", "", *facts(module, recipe, family, found, seconds), ""]
    lines += [
        f"Of the first {count} test images, in per cent. Attacked: classified correctly at every point that PGD tried in the",
        "l_inf ball of radius eps around the image, cut to [0, 1]. Certified: proved to be so at every point of it.",
        "",
        *table(recipe, found, count),
        "",
        "Measured again by:",
        "",
        f"    certify accuracy models/{recipe.name}.onnx --data {family.data} --max {count} \\",
        f"        --eps {' '.join(recipe.radii)} --method {' '.join(recipe.methods)}",
    ]
    return "\n".join(lines) + "\n"


def facts(module: nn.Module, recipe: Recipe, family: Family, found: Measured, seconds: float) -> list[str]:
    """The first table."""
    parameters = sum(p.numel() for p in module.parameters())
    training = "clean cross entropy" if recipe.hardening is None else recipe.hardening.summary
    rows = {
        "data": f"{family.about}: {len(family.train.y)} training and {found.images} test images, inputs in [0, 1]",
        "architecture": f"{(recipe.architecture.__doc__ or '').rstrip('.')}; ReLU; {parameters} parameters",
        "training": f"{training}; Adam, {recipe.plan.epochs} epochs, batches of {recipe.plan.batch}, seed {recipe.seed}",
        "clean accuracy": f"{100 * found.correct / found.images:.2f} % ({found.correct} of {found.images} test images)",
        "made by": f"`python models/{family.script} {recipe.name}` in {seconds:.0f} s of processor time, torch {torch.__version__}",
    }
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def table(recipe: Recipe, found: Measured, count: int) -> list[str]:
    """The second table: a row for every radius."""
    head = ["eps", "attacked", *(f"certified ({method})" for method in recipe.methods)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for eps in recipe.radii:
        counts = [found.attacked[eps], *(found.certified[eps, method] for method in recipe.methods)]
        lines.append(f"| {eps} | " + " | ".join(f"{100 * n / count:.1f}" for n in counts) + " |")
    return lines
