"""What a search over neuron splits has found out about its clauses so far; several threads may tell it."""

from __future__ import annotations

from math import inf
from threading import RLock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from certify.io.witness import Witness, replay
from certify.search.domains import Domains
from certify.search.evidence import ClosedDomains, Reason
from certify.search.neuron_root import Root
from certify.search.projection import interior, project
from certify.search.stage import Problem
from certify.search.tally import Tally


class Findings:
    """By clause of the root: whether it is excluded, and with which margin. A domain that can neither be closed nor split is left out.

    Counts domains, and keeps the first witness.
    """

    def __init__(self, problem: Problem, root: Root) -> None:
        self.problem, self.root = problem, root
        clauses = len(root.clauses)
        self.excluded = np.zeros(clauses, dtype=bool)
        self.margin = np.full(clauses, inf)
        self.witness: Witness | None = None
        self.visited = self.narrowed = self.closed = self.deepest = 0
        self._tally = Tally(clauses)
        self._attackable = problem.spec.inputs.attackable()
        self._lock = RLock()

    def count(self, visited: int = 0, narrowed: int = 0) -> None:
        """So many more domains."""
        with self._lock:
            self.visited += visited
            self.narrowed += narrowed

    def reach(self, depth: int) -> None:
        """Some domain has so many splits."""
        with self._lock:
            self.deepest = max(self.deepest, depth)

    def begin(self, domains: Domains) -> None:
        """The domains that the search begins with."""
        with self._lock:
            self._tally.begin(self.root.clause[domains.goal].numpy())

    def split(self, domains: Domains) -> None:
        """Domains that are replaced by their halves."""
        with self._lock:
            self._tally.split(self.root.clause[domains.goal].numpy())

    @property
    def done(self) -> NDArray[np.bool_]:
        """The clauses that are excluded, or all of whose domains are closed: (clauses,)."""
        return self.excluded | self._tally.excluded

    def exclude(self, clauses: Tensor) -> None:
        """Some clauses, (clauses,) bool, cannot be satisfied on their sets: bounds of neurons exclude each other."""
        with self._lock:
            self.excluded |= clauses.numpy()
            if self.problem.evidence.wanted and bool(clauses.any()):
                numbers = self.root.clauses[clauses.numpy()]
                self.problem.evidence.close(ClosedDomains(numbers, "infeasible", [[] for _ in numbers]))

    def close(self, domains: Domains, bound: Tensor, reason: Reason) -> None:
        """Counts domains that are closed, with bounds of their goals, and hands them over where a proof is wanted."""
        if not len(domains):
            return
        root = self.root
        clause = root.clause[domains.goal].numpy()
        above = np.nextafter((bound - root.conditions.rhs[domains.goal]).numpy(), -inf)
        with self._lock:
            self.closed += len(domains)
            self._tally.close(clause)
            np.minimum.at(self.margin, clause, above)
            if self.problem.evidence.wanted:
                data = {"atom": root.atoms[domains.goal.numpy()], "bound": bound.numpy(), "multiplier": domains.multiplier.numpy()}
                paths = domains.paths(root.network.neurons)
                self.problem.evidence.close(ClosedDomains(root.clauses[clause], reason, paths, data))

    def look_at(self, x: Tensor, domains: Domains) -> None:
        """Looks for a witness among points, one a domain."""
        clause = self.root.clause[domains.goal]
        y = self.problem.model.program(torch.float32, self.problem.device).evaluate(x)
        worst = torch.full((len(x),), -inf)
        for atom in range(len(self.root.atoms)):
            mine = (clause == self.root.clause[atom]).nonzero().squeeze(1)
            value = (self.root.conditions.outputs[atom].float() * y[mine]).flatten(1).sum(dim=1)
            if self.root.conditions.inputs is not None:
                value = value + (self.root.conditions.inputs[atom].float() * x[mine]).flatten(1).sum(dim=1)
            worst[mine] = torch.maximum(worst[mine], value - self.root.conditions.rhs[atom].float())
        for i in worst.argsort()[:4].tolist():
            if worst[i] < 1e-5 and self.witness is None:
                self.replay(x[i].numpy(), int(clause[i]))

    def replay(self, x: NDArray[np.floating], clause: int) -> None:
        """Tries the nearest float32 point of the clause's input set."""
        spec = self.problem.spec
        region = spec.clauses[self.root.clauses[clause]].region
        if self.witness is not None or not self._attackable[region]:
            return
        inside = spec.inputs.attack_region([region])
        x = project(inside, interior(inside), torch.from_numpy(x).float().reshape(inside.box.lower.shape)).numpy()
        found = replay(self.problem.model, spec, x, self.root.clauses[clause : clause + 1])
        if found.ok:
            self.witness = found.witness
