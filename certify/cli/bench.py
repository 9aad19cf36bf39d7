"""Runs a verifier on lists of instances, each in a process of its own with its time and memory limit.

Results go to an SQLite file as they come. What was stopped, by whatever means, goes on when the same command is given again: what
has a result with the same files, tool and settings is not run a second time. `certify report` makes a page of the file.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from fractions import Fraction
from typing import TYPE_CHECKING

from certify.cli.arguments import command_parser, number, output_file, positive, seconds

if TYPE_CHECKING:
    from certify.bench.batch import Batch
    from certify.bench.settings import Settings
    from certify.bench.tools import Tool
    from certify.report.store import Result, Run

EXAMPLES = """\
  certify bench acasxu --out runs.sqlite                    acasxu/instances.csv, with its time limits
  certify bench vnncomp --out runs.sqlite --every 3 --timeout 20
  certify bench acasxu --out runs.sqlite --name other --tool-cmd './tool.sh {model} {property} {result} {timeout}'"""
OK, NOT_MET = 0, 1


def main(argv: Sequence[str]) -> int:
    """Runs what has no result yet, prints a table of all that was asked for, and returns 1 where a verdict is not the expected one."""
    from certify.bench.batch import Batch
    from certify.bench.instances import read_instances
    from certify.bench.processes import check_platform
    from certify.bench.tools import certify_tool, other_tool
    from certify.report.store import Store

    arguments = _parser().parse_args(argv)
    check_platform()
    instances = read_instances(arguments.lists, arguments.every, arguments.filter, arguments.expected)
    if not instances:
        raise ValueError("no instance is left to run; loosen --filter or --expected")
    tool = other_tool(arguments.tool_cmd, arguments.name) if arguments.tool_cmd else certify_tool()
    with Store(arguments.out, create=True) as store:
        settings = _settings(arguments)
        name = arguments.name or tool.name
        run = store.begin(_run(name, tool, settings, shlex.join(["certify", "bench", *argv])))
        return _report(_go_on(Batch(instances, tool, settings, store, run, arguments.again)))


def _settings(arguments: argparse.Namespace) -> Settings:
    from certify.bench.settings import Settings, cores, physical_memory

    workers = arguments.workers or cores()
    memory = physical_memory() // workers if arguments.memory is None else int(arguments.memory * 10**9)
    return Settings(memory, workers, max(cores() // workers, 1), arguments.timeout)


def _run(name: str, tool: Tool, settings: Settings, command: str) -> Run:
    from certify.bench.settings import machine
    from certify.cli.record import versions
    from certify.report.store import Run, now

    found = {**machine(), "versions": versions()}
    return Run(now(), name, tool.name, tool.version, {**asdict(settings), "command": tool.command}, found, command)


def _go_on(batch: Batch) -> list[Result]:
    """All results of the batch; when interrupted, says how to go on."""
    from certify.cli.bench_progress import progress

    results, total = batch.done(), len(batch.instances)
    if results:
        print(f"{len(results)} of {total} instances have their result already", file=sys.stderr)
    try:
        with progress(results, total) as advance, closing(batch.go_on()) as coming:
            for result in coming:
                results.append(result)
                advance(result)
    except KeyboardInterrupt:
        print(f"\n{len(results)} of {total} instances done; the same command goes on from here", file=sys.stderr)
        raise
    return results


def _report(results: Sequence[Result]) -> int:
    from certify.bench.tally import summary
    from certify.cli.table import table

    print(table(*summary(results)), file=sys.stderr)
    return NOT_MET if any(result.wrong for result in results) else OK


def _gigabytes(text: str) -> Fraction:
    value = number(text)
    if value <= 0:
        raise argparse.ArgumentTypeError(f"a memory limit must be positive, got {text}")
    return value


def _parser() -> argparse.ArgumentParser:
    from certify.report.store import VERDICTS

    parser = command_parser("bench", __doc__, EXAMPLES)
    parser.add_argument(
        "lists", metavar="LIST", nargs="+", help="rows `model,property,seconds`, or a folder with instances.csv in or below it"
    )
    parser.add_argument("--out", type=output_file, required=True, metavar="RUNS.sqlite", help="file of results, made or continued")
    parser.add_argument("--name", metavar="NAME", help="what to call the run (default: the tool's name)")
    group = parser.add_argument_group("which instances")
    group.add_argument("--every", type=positive, default=1, metavar="K", help="only the rows 0, K, 2 K, ... of every list")
    group.add_argument("--filter", default="", metavar="TEXT", help="only those with TEXT in benchmark, model or property")
    group.add_argument(
        "--expected", action="store_true", help="only those whose verdict is known, by the expected.csv beside a list"
    )
    help_again = "those as well that ended in VERDICT before, such as error; may be given more than once"
    group.add_argument("--again", choices=VERDICTS, metavar="VERDICT", action="append", default=[], help=help_again)
    group = parser.add_argument_group("how")
    group.add_argument(
        "--workers", type=positive, metavar="N", help="instances at a time, which share the cores (default: one a core)"
    )
    group.add_argument("--timeout", type=seconds, metavar="S", help="seconds an instance (default: as the lists say)")
    group.add_argument(
        "--memory", type=_gigabytes, metavar="GB", help="for all processes of an instance together (default: its share)"
    )
    tool = "another verifier, with {model}, {property}, {timeout} and {result} in their places: it writes verdict and witness to {result}"
    group.add_argument("--tool-cmd", metavar="COMMAND", help=f"{tool}, or prints them where that is not used")
    return parser
