"""Entry point of the command `certify`: finds the command, runs it, and turns errors into one line and an exit code.

A command is a line in `COMMANDS` and a module `certify.cli.NAME` with a function `main(argv) -> exit code`. The module is imported
when the command is called, and torch when it computes, so that help is instant.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module

from certify import __version__

COMMANDS: Mapping[str, str] = {
    "verify": "prove that a property holds, or find a counterexample",
    "accuracy": "clean, attacked and certified accuracy of a classifier on a data set",
    "bounds": "bounds of outputs, of linear objectives or of any node",
    "inspect": "what a model consists of, and which operators lack a rule",
    "supports": "formats, versions and operators that are supported",
    "bench": "a verifier on lists of instances, within limits, and resumable",
    "poison": "certificates against poisoned training data",
    "smooth": "randomized smoothing: certify a data set, plan a run, audit a log",
    "report": "pages and tables of verification runs, smoothing logs, poisoning certificates",
    "demo": "certify the models shipped with the project on real test images",
}

OK, NOT_MET, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
MISTAKES: tuple[type[Exception], ...] = (ValueError, OSError, MemoryError)
"""Classes of errors that a user can mend. Any other that leaves a command is a fault of ours."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 done, 1 expectation not met, 2 bad usage or input, 130 interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    # Otherwise torch's threads spin while they wait for each other: on a busy machine small networks take several times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        return _run(argv)
    except KeyboardInterrupt:
        print("certify: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, as `head` does; Python would complain again when it flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:
        if "--debug" in argv:
            raise
        print(f"certify: {_explain(error)}", file=sys.stderr)
        return BAD_INPUT


def run() -> None:
    """The process: as `main`, and then at once the end, without taking gigabytes of tensors apart first."""
    code = main()
    with suppress(BrokenPipeError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _run(argv: Sequence[str]) -> int:
    parser = _parser()
    name = parser.parse_args(argv[:1]).command
    if name is None:
        parser.print_help(sys.stderr)
        return BAD_INPUT
    return import_module(f"certify.cli.{name}").main(argv[1:])


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="certify",
        description="Proves what an adversary cannot do to a neural network.",
        epilog=f"commands:\n{listing}\n\n`certify COMMAND --help` shows the options of a command, with examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__, help="print the version and exit")
    parser.add_argument("--name", action="version", version="certify", help="print the verifier's name and exit")
    parser.add_argument("command", metavar="COMMAND", nargs="?", choices=COMMANDS, help="what to do, see below")
    return parser


def _explain(error: Exception) -> str:
    """One line: what the user can mend as it was said, anything else as a fault of ours."""
    if isinstance(error, OSError) and error.strerror:
        return f"error: {error.filename or 'system'}: {error.strerror}"
    said = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"error: not enough memory ({said or 'the machine has no more'}); ask for less at a time"
    if isinstance(error, MISTAKES):
        return f"error: {said}"
    return f"internal error: {type(error).__name__}: {said}; please report it with what the same command prints after --debug"
