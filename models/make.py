"""Follows a recipe: trains the network, saves it in both formats, measures the saved file and writes its card."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from card import card, measure
from recipe import Family, Recipe
from saving import save
from torch import Tensor, nn

import certify
from certify.training import certified, clean, fit, ibp_initialise


def make(recipes: Sequence[Recipe], family: Family, folder: Path, only: Sequence[str]) -> None:
    """Makes the networks named in `only`, or all of them, into `folder`."""
    known = {recipe.name: recipe for recipe in recipes}
    for name in only or known:
        if name not in known:
            raise SystemExit(f"no network is called {name}; there are {', '.join(known)}")
    for name in only or known:
        follow(known[name], family, folder)


def follow(recipe: Recipe, family: Family, folder: Path) -> None:
    """Writes NAME.onnx, NAME.pt2 and NAME.md."""
    x, y = torch.as_tensor(family.train.x), torch.as_tensor(family.train.y)
    started = time.process_time()
    module = trained(recipe, x, y)
    seconds = time.process_time() - started
    stem = folder / recipe.name
    save(module, x[:1], stem)
    found = measure(certify.load(stem.with_suffix(".onnx")), recipe, family)
    stem.with_suffix(".md").write_text(card(module, recipe, family, found, seconds))


def trained(recipe: Recipe, x: Tensor, y: Tensor) -> nn.Sequential:
    """The network of a recipe, trained on one thread with deterministic algorithms from the recipe's seed."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe.seed)
    module = recipe.architecture()
    criterion = clean(module)
    if recipe.hardening is not None:
        ibp_initialise(module)
        criterion = certified(module, x[:1], recipe.hardening.ball, recipe.hardening.kappa)
    fit(module, x, y, criterion, recipe.plan, seed=recipe.seed, after_epoch=reporter(recipe))
    return module.eval()


def reporter(recipe: Recipe) -> Callable[[int, float], None]:
    """A hook that prints one line after every epoch."""
    return lambda epoch, loss: print(f"{recipe.name}: epoch {epoch + 1} of {recipe.plan.epochs}, loss {loss:.4f}", flush=True)


def options(description: str | None) -> argparse.ArgumentParser:
    """The options that every training script has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these networks (default: all)")
    parser.add_argument(
        "--into", type=Path, default=Path(__file__).parent, metavar="DIR", help="where to (default: beside the script)"
    )
    return parser
