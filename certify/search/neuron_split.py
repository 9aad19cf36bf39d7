"""Branch and bound over the neurons: beta-CROWN (arXiv 2103.06624) on domains that are cut at the kinks of activations.

The open clauses share a root: intervals of all neurons. Each clause then narrows them by assuming that it is satisfied (`tighten`), and
what is left of it is a domain, which is bounded, and split at a neuron while the bound does not decide (`neuron_step`). Several threads
take domains from one list.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Condition

import numpy as np
import torch
from torch import Tensor

from certify.bounds.alpha import Schedule
from certify.bounds.budget import Budget
from certify.bounds.rounding import NEAREST
from certify.graph import Graph
from certify.operators.base import Elementwise
from certify.operators.rows import DenseRows
from certify.operators.table import OPS
from certify.search.domain_bounds import Base, Cut, Goals, Layout, cut, improve
from certify.search.domains import Domains, Worklist
from certify.search.findings import Findings
from certify.search.neuron_root import Root, relax_root
from certify.search.neuron_step import Step, Task
from certify.search.pace import SECONDS_A_STEP, Pace
from certify.search.stage import Problem, Progress, count
from certify.search.tighten import Sets, tighten

_ROOT = Schedule(iterations=20, step=0.3, decay=0.9)
_TIGHTEN = Schedule(iterations=10, step=0.3, decay=0.9)
_FEW_BASES = 256
_FIRST_SIZE, _MOST_DOMAINS = 32, 4096


def splittable(graph: Graph) -> bool:
    """Whether some neuron can be split: an elementwise function of something else than the input."""
    return any(isinstance(OPS.get(node.op), Elementwise) and node.inputs[0] != graph.input for node in graph.nodes)


def split_neurons(problem: Problem, progress: Progress) -> Progress:
    """Excludes open clauses by branch and bound over neurons, or finds a witness among the minimisers of its bounds.

    Ends at the deadline with whatever is decided by then.
    """
    clauses = np.flatnonzero(progress.open)
    root = relax_root(problem, clauses)
    if root is None:
        return progress.noted("neuron splitting: no time was left for the bounds of the neurons")
    started = time.monotonic()
    findings = Findings(problem, root)
    base = _narrowed(problem, root, findings)
    note = f"narrowed in {time.monotonic() - started:.2f} s, {int(findings.excluded.sum())} excluded by it"
    task, domains = _start(problem, root, base, findings)
    findings.begin(domains)
    search = _Search(task, base, domains, findings)
    search.run()
    _, bound = search.work.bounds()
    done = findings.done
    least = f", least margin {float(bound.min()):.4g}" if len(bound) else ""
    line = (
        f"neuron splitting on {count(len(root.clauses))}: {int(done.sum())} excluded, {note}; {findings.visited} domains bounded, "
        f"{findings.narrowed} narrowed, {findings.closed} closed, {len(bound)} open, depth {findings.deepest}{least}, "
        f"{time.monotonic() - started:.1f} s"
    )
    open_, margin = progress.open.copy(), progress.margin.copy()
    open_[clauses[done]] = False
    margin[clauses[done]] = np.maximum(margin[clauses[done]], findings.margin[done])
    return replace(progress, open=open_, margin=margin, witness=findings.witness, log=(*progress.log, line))


def _narrowed(problem: Problem, root: Root, findings: Findings) -> Base:
    """Intervals of the neurons, each clause assumed on its own set."""
    sets = len(root.clauses)
    unsplit = Domains.roots(torch.arange(sets), torch.zeros(sets, root.assumed.shape[1]), torch.zeros(sets, 0))
    network = replace(root.network, budget=Budget(deadline=time.monotonic() + 0.3 * problem.remaining()))
    base, empty, _ = tighten(
        network, Sets(root.base, unsplit, root.conditions, root.assumed), problem.model.graph.output, _TIGHTEN, 4
    )
    findings.exclude(empty)
    return base


def _start(problem: Problem, root: Root, base: Base, findings: Findings) -> tuple[Task, Domains]:
    """One domain for each clause that is left, its goal the atom of the best bound."""
    target = problem.model.graph.output
    assumed = root.assumed[root.clause]
    assumed = torch.where(assumed == torch.arange(len(root.atoms))[:, None], -1, assumed)
    spread = root.conditions.spread
    unit = spread[:, None] / spread[assumed].clamp(min=1e-12)
    rows = {target: DenseRows(root.conditions.outputs)}
    if root.conditions.inputs is not None:
        rows[problem.model.graph.input] = DenseRows(root.conditions.inputs)
    strict = torch.from_numpy(problem.table.strict[root.atoms])
    goals = Goals(rows, root.conditions.rhs, root.conditions.rhs, strict, root.conditions, assumed, unit)
    domains = Domains.roots(root.clause, (0.01 * unit * (assumed >= 0)).float(), torch.zeros(len(root.atoms), 0))
    domains = domains.select(torch.from_numpy(~findings.excluded)[root.clause].nonzero().squeeze(1))
    if not len(domains):
        return Task(problem, root, goals, Layout({}, {})), domains
    piece = cut(root.network, base, goals, domains, target, NEAREST)
    loose = _loose(piece)
    domains, lines = improve(goals, domains, piece, _ROOT, None, loose)
    layout = Layout.of(lines, loose)
    domains = replace(domains, slopes=layout.pack(lines, len(domains)))
    best = [
        int(of[domains.bound[of].argmax()])
        for k in range(len(root.clauses))
        if len(of := (root.clause[domains.goal] == k).nonzero().squeeze(1))
    ]
    return Task(problem, root, goals, layout), domains.select(torch.tensor(best))


def _loose(piece: Cut) -> dict[str, Tensor]:
    """For each nonlinear node the neurons whose lines are free on some set."""
    found = {}
    for node in piece.relaxed.order:
        rule = OPS.get(node.op)
        if isinstance(rule, Elementwise):
            l, u = piece.relaxed.intervals[node.inputs[0]]
            found[node.name] = (~rule.linear(l, u, node, piece.relaxed.program.params(node))).flatten(1).any(dim=0)
    return found


class _Search:
    """The open domains and their bases, from which threads take some, and to which they bring back what is left of them.

    `lent` are the numbers of the bases of domains that are with threads, one tensor for each.
    """

    def __init__(self, task: Task, base: Base, domains: Domains, findings: Findings) -> None:
        self.task, self.base, self.findings, self.pace = task, base, findings, Pace()
        self.work = Worklist(domains)
        self.size, self.kept = _FIRST_SIZE, _FEW_BASES
        self.lent: dict[Step, Tensor] = {}
        self.threads, self.halted, self.changed = 1, False, Condition()

    def run(self) -> None:
        """Goes on until all is closed, a witness is found, or time or memory is used up."""
        on_cpu = torch.device(self.task.problem.device).type == "cpu"
        self.threads = torch.get_num_threads() if on_cpu else 1
        if self.threads == 1:
            self._go_on()
            return
        with _one_thread_each(), ThreadPoolExecutor(self.threads, thread_name_prefix="certify-search") as pool:
            try:
                for future in [pool.submit(self._go_on) for _ in range(self.threads)]:
                    future.result()
            finally:
                self.halted = True  # by an error or an interrupt, else nobody is left to see it

    def _go_on(self) -> None:
        """What one thread does."""
        try:
            with torch.no_grad():
                while (taken := self._take()) is not None:
                    began, (step, domains) = time.monotonic(), taken
                    left = step.run(domains)
                    self._bring_back(step, left, len(domains), time.monotonic() - began)
        except BaseException:
            with self.changed:
                self.halted = True
                self.changed.notify_all()
            raise

    def _over(self) -> bool:
        taken = self.work.bytes + self.base.bytes
        problem = self.task.problem
        return self.halted or self.findings.witness is not None or problem.remaining() <= 0 or taken >= problem.memory

    def _take(self) -> tuple[Step, Domains] | None:
        """Some domains, and a step with their bases; None when the search is over. Waits while all domains are with other threads."""
        with self.changed:
            while not self._over() and (len(self.work) or self.lent):
                if len(self.work):
                    self._forget()
                    domains = self.work.take(min(self.size, -(-len(self.work) // self.threads)))
                    used, number = domains.base.unique(return_inverse=True)
                    step = Step(self.task, self.base.select(used), self.findings, self.pace)
                    self.lent[step] = used
                    return step, replace(domains, base=number)
                self.changed.wait(0.1)
            return None

    def _bring_back(self, step: Step, left: Domains, taken: int, seconds: float) -> None:
        with self.changed:
            lent = self.lent.pop(step)
            used = left.base.unique()
            new = used[used >= len(lent)]
            number = torch.zeros(len(step.base), dtype=torch.int64)
            number[: len(lent)], number[new] = lent, len(self.base) + torch.arange(len(new))
            self.base = self.base.plus(step.base.select(new)) if len(new) else self.base
            self.work.put(replace(left, base=number[left.base]))
            if step.late:
                self.size = max(self.size // 2, self.pace.at_once)
            elif seconds < 0.5 * SECONDS_A_STEP and taken == self.size:
                self.size = min(2 * self.size, _MOST_DOMAINS)
            elif seconds > 1.5 * SECONDS_A_STEP:
                self.size = max(self.size // 2, 1)
            self.changed.notify_all()

    def _forget(self) -> None:
        """Drops the bases that no open domain refers to, once there are twice as many as after the last time."""
        if len(self.base) < 2 * self.kept:
            return
        used = torch.cat([self.work.bases(), *self.lent.values()]).unique()
        number = torch.zeros(len(self.base), dtype=torch.int64)
        number[used] = torch.arange(len(used))
        self.base = self.base.select(used)
        self.work.renumber(number)
        self.lent = {step: number[lent] for step, lent in self.lent.items()}
        self.kept = max(_FEW_BASES, len(used))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Torch's own threads would get in the way of those of the search."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
