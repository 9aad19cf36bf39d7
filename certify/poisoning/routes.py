"""The ways in which one input's answer can change, by rule: what attacks, audits, tightening and collective certificates read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from certify.kernels import votes_cpu
from certify.kernels.votes_reference import Lead, Route, plurality_routes, runoff_routes
from certify.poisoning.spread import Spread
from certify.poisoning.votes import Votes


def _plurality(votes: Votes, i: int) -> tuple[int, list[Route]]:
    return plurality_routes(votes.ballots[:, i], votes.classes)


def _runoff(votes: Votes, i: int) -> tuple[int, list[Route]]:
    if votes.places is None:
        raise ValueError("a run-off needs `places`, the rank that each classifier gives each class")
    return runoff_routes(votes.places[:, i])


ROUTES: Mapping[str, Callable[[Votes, int], tuple[int, list[Route]]]] = {"plurality": _plurality, "runoff": _runoff}


def routes(votes: Votes, rule: str, i: int) -> tuple[int, list[Route]]:
    """The winner at input i and every route to another; row b of the ballots must be classifier b.

    A set of classifiers can change the answer if and only if on some route its weights reach the gaps of all leads.
    """
    return ROUTES[rule](votes, i)


def size_at_least(route: Route, spread: Spread) -> int:
    """A lower limit of the number of buckets that take a route, in no time: as if every classifier gave the most there is."""
    return max(-(-lead.gap // max(int(lead.table.max()) * spread.degree, 1)) for lead in route.leads)


def lead_size(lead: Lead, spread: Spread) -> int:
    """A lower limit of the number of buckets that use up a lead, exact for disjoint ones; one more than there are if none do."""
    return int(votes_cpu.attack_size(lead.weights, spread.runs, spread.units, int(lead.table.max()) * spread.degree, lead.gap))


def within(route: Route, spread: Spread, size: int) -> bool:
    """Whether so many buckets may take a route, as far as its leads tell one by one; False is a proof that they cannot."""
    return size_at_least(route, spread) <= size and all(lead_size(lead, spread) <= size for lead in route.leads)
