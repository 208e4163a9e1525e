"""The command line: `hetcnn reproduce | analyse | measure | platforms | networks | run | doctor | lab`."""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from hetcnn.errors import HetcnnError, unknown

if TYPE_CHECKING:
    from hetcnn.network import Network

__all__ = ["main"]

EXAMPLES = """\
examples:
  hetcnn reproduce                            run every notebook, score every claim, write the report
  hetcnn reproduce pipeit --set network=alexnet
  hetcnn analyse model.onnx --platform hikey970 --dims N=1
  hetcnn analyse googlenet --platform my_board.toml --format csv > layers.csv
  hetcnn measure --out my-machine.toml        measure this machine; the file is a board like any other
  hetcnn platforms hikey970                   every number of a board, with its source
  hetcnn networks                             the networks by name, with their MACs and weights
  hetcnn lab                                  open JupyterLab on the notebooks

exit codes: 0 fine; 1 a claim is unexpectedly off, or a notebook failed; 2 bad input; 130 interrupted
'hetcnn COMMAND --help' explains a command.
"""


READER_GONE = 141
"""What a shell reports for a command whose reader closed the pipe."""


class _Parser(argparse.ArgumentParser):
    """Answers a mistake in one line, like everything else here."""

    def error(self, message: str) -> NoReturn:
        raise HetcnnError(f"{message}; see '{self.prog} --help'")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    try:
        code = _run(sys.argv[1:] if arguments is None else list(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone; give the interpreter's last flush somewhere to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except HetcnnError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        print("hetcnn: interrupted; what had finished is kept", file=sys.stderr)
        return 130
    return code


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["run"]:
        return _run_model(arguments[1:])
    parser, commands = _parser()
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands:
        raise unknown("command", arguments[0], commands)
    options, rest = parser.parse_known_args(arguments)
    if rest and getattr(options, "run", None) is not _lab:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    if not hasattr(options, "run"):
        parser.print_help()
        return 0
    return int(options.run(options))


def _fail(message: str) -> int:
    print("hetcnn: error: " + " ".join(message.split()), file=sys.stderr)
    return 2


def _parser() -> tuple[argparse.ArgumentParser, Sequence[str]]:
    from hetcnn import __version__

    parser = _Parser(
        prog="hetcnn",
        description="Which engine of a mixed machine runs which layer of a CNN: how fast, at what energy, how sure.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hetcnn {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    _add_reproduce(commands)
    _add_analyse(commands)
    _add_measure(commands)
    for name, help_text, run in (
        ("platforms", "list the boards, or show one with every number and its source", _platforms),
        ("networks", "list the networks, or show one layer by layer", _networks),
    ):
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.add_argument("name", metavar="NAME", nargs="?")
        if name == "networks":
            _add_dims(command)
        command.set_defaults(run=run)
    commands.add_parser("run", help=RUN, add_help=False)
    command = commands.add_parser("doctor", help="check this installation", description="Check this installation.")
    command.set_defaults(run=_doctor)
    command = commands.add_parser(
        "lab",
        help="open JupyterLab on the notebooks",
        description=LAB,
        epilog="Everything else is passed on to jupyter lab, for instance --no-browser.",
        allow_abbrev=False,
    )
    command.add_argument("--dir", metavar="DIR", type=_path, help="where the copy goes (default: hetcnn-notebooks)")
    command.set_defaults(run=_lab)
    return parser, tuple(commands.choices)


def _run_model(arguments: list[str]) -> int:
    # Its module needs NumPy, which the help of the others does without.
    from hetcnn import run

    parser = _Parser(prog="hetcnn run", description=RUN)
    run.add_arguments(parser)
    options = parser.parse_intermixed_args(arguments)
    try:
        return run.command(options, _dims(options.dims))
    except HetcnnError as error:
        raise HetcnnError(_in_options(str(error))) from None


RUN = "run a model on arrays or images, print the classes it considers or save its outputs"

LAB = (
    """Open JupyterLab on the notebooks: those of the checkout, or a copy of the installed ones that you may change."""
)


def _path(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected a path, got '{text}'")
    return Path(text)


def _add_reproduce(commands: Any) -> None:
    command = commands.add_parser(
        "reproduce",
        help="run the notebooks, score every claim, write the report",
        description="Run the notebooks, score every claim, and write DIR/report/index.html, scorecard.json, "
        "predictions.json, figures and executed notebooks. What has not changed is taken from the last run.",
    )
    command.add_argument("names", metavar="PAPER", nargs="*", help="papers or notebooks (default: all)")
    command.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        dest="assignments",
        help="set a notebook parameter wherever it is declared; may be repeated",
    )
    command.add_argument("--jobs", metavar="N", type=int, default=2, help="notebooks at a time (default: 2)")
    command.add_argument("--fresh", action="store_true", help="run everything again, changed or not")
    command.add_argument("--plain-kernels", action="store_true", help="start every kernel from nothing; slower")
    command.add_argument("--out", metavar="DIR", type=_path, default=Path("_build"), help="default: _build")
    command.set_defaults(run=_reproduce)


def _reproduce(options: argparse.Namespace) -> int:
    from hetcnn.repro import reproduce

    # Being told to end is answered like Ctrl-C: the kernels end too, and what had finished is kept.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return reproduce(
            options.names,
            assignments=options.assignments,
            jobs=options.jobs,
            fresh=options.fresh,
            fork=not options.plain_kernels,
            out=options.out,
        )
    finally:
        signal.signal(signal.SIGTERM, before)


def _add_analyse(commands: Any) -> None:
    command = commands.add_parser(
        "analyse",
        help="MACs, bytes, bound, time and energy of every layer on every device of a board",
        description="MACs, bytes, arithmetic intensity, bound, time and energy of every layer on every device of a "
        "board, and the best pipeline over the devices.",
    )
    command.add_argument("model", metavar="MODEL", help="an ONNX file, or the name of a network: see 'hetcnn networks'")
    command.add_argument(
        "--platform", metavar="BOARD", required=True, help="a board's name or its TOML file: see 'hetcnn platforms'"
    )
    _add_dims(command)
    command.add_argument("--devices", metavar="DEVICE", nargs="+", help="only these devices of the board")
    command.add_argument("--format", choices=("table", "json", "csv"), default="table", help="default: table")
    command.add_argument("--plot", metavar="FILE", type=_path, help="also draw the roofline: .svg, .png or .pdf")
    command.set_defaults(run=_analyse)


def _add_dims(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dims",
        metavar="NAME=SIZE",
        nargs="+",
        action="extend",
        default=[],
        help="sizes of symbolic dimensions, or of an input: N=1 x=1x3x64x64; may be repeated",
    )


def _analyse(options: argparse.Namespace) -> int:
    from hetcnn import platform

    if options.plot is not None:
        _check_plot(options.plot)
    board = platform.load(options.platform)
    network = _network(options.model, _dims(options.dims))
    from hetcnn.analysis import analyse

    analysis = analyse(network, board, devices=options.devices)
    if options.format == "csv":
        from hetcnn.text import layer_notes

        sys.stdout.write(analysis.to_csv())
        for note in layer_notes(analysis):
            print(f"note: {note}", file=sys.stderr)
    elif options.format == "json":
        print(analysis.to_json())
    else:
        from hetcnn.text import analysis_text

        print(analysis_text(analysis))
    if options.plot is not None:
        _plot(analysis, options.plot)
    return 0


def _check_plot(file: Path) -> None:
    """Raise HetcnnError for a file that cannot be drawn to, before anything is computed."""
    if file.suffix.lower() not in (".svg", ".png", ".pdf"):
        raise HetcnnError(f"--plot {file}: expected a file that ends in .svg, .png or .pdf")
    if file.is_dir():
        raise HetcnnError(f"--plot {file}: is a folder; expected a file")
    there = next(folder for folder in file.absolute().parents if folder.exists())
    if not there.is_dir():
        raise HetcnnError(f"--plot {file}: '{there}' is a file; expected a folder")
    if not os.access(there, os.W_OK):
        raise HetcnnError(f"--plot {file}: no permission to write in '{there}'")


def _plot(analysis: Any, file: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from hetcnn import plots
    from hetcnn.plots.style import figure_of
    from hetcnn.repro.files import written

    try:
        with plots.context(), written(file) as temporary:
            figure_of(plots.roofline(analysis)).savefig(temporary, format=file.suffix[1:].lower())
    except OSError as error:
        raise HetcnnError(f"--plot {file}: {error.strerror or error}") from None
    print(f"roofline: {file}", file=sys.stderr)


def _dims(assignments: Sequence[str]) -> dict[str, int | tuple[int, ...]]:
    """Read NAME=SIZE, or NAME=AxBxC for all sizes of an input."""
    found: dict[str, int | tuple[int, ...]] = {}
    for assignment in assignments:
        name, _, text = assignment.partition("=")
        sizes = tuple(int(size) if size.isascii() and size.isdigit() else 0 for size in text.split("x"))
        if not name or min(sizes) < 1:
            raise HetcnnError(f"--dims {assignment}: expected NAME=SIZE with sizes of at least 1, for instance N=1")
        size = sizes if len(sizes) > 1 else sizes[0]
        if found.setdefault(name, size) != size:
            raise HetcnnError(f"--dims {assignment}: '{name}' has another size already; give each name once")
    return found


def _in_options(message: str) -> str:
    """A message with Python's `dims={'N': 1}` and `with_weights()` in the command line's words."""

    def option(match: re.Match[str]) -> str:
        try:
            dims: dict[str, int | tuple[int, ...]] = dict(ast.literal_eval(match[1]))
        except (ValueError, SyntaxError):  # a name with a quote in it
            return match[0]
        written = (f"{k}={'x'.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in dims.items())
        return "--dims " + " ".join(map(shlex.quote, written))

    message = message.replace("give it weights with with_weights()", "--seed 0 gives it random ones")
    return re.sub(r"\bdims=(\{[^{}]*\})", option, re.sub(r"(^| )dims: ", r"\1--dims: ", message))


def _network(model: str, dims: dict[str, int | tuple[int, ...]]) -> Network:
    """Read a file that exists or looks like one, else take a network of the zoo."""
    if model.endswith(".onnx") or os.sep in model or Path(model).is_file():
        from hetcnn import onnx_io

        try:
            network = onnx_io.load(model, dims=dims or None)
        except HetcnnError as error:
            raise HetcnnError(_in_options(str(error))) from None
        return replace(network, notes=tuple(map(_in_options, network.notes)))
    from hetcnn import zoo

    batch = dims.pop("N", 1)
    if dims or not isinstance(batch, int):
        raise HetcnnError(
            f"--dims {next(iter(dims), 'N')}: '{model}' has one symbolic dimension, the batch N; try --dims N=1"
        )
    return zoo.load(model, batch=batch)


def _add_measure(commands: Any) -> None:
    command = commands.add_parser(
        "measure",
        help="measure this machine and write it as a board file",
        description="Measure this machine (matrix products and memory per thread count, the cost of a call, what kinds "
        "of layer reach) and write a board file that every command takes. Under a minute; figures that other work on "
        "the machine keeps from settling say so.",
    )
    command.add_argument(
        "--out", metavar="FILE", type=_path, default=Path("my-machine.toml"), help="default: my-machine.toml"
    )
    command.add_argument("--quick", action="store_true", help="fewer shapes and rounds, under ten seconds")
    command.set_defaults(run=_measure)


def _measure(options: argparse.Namespace) -> int:
    if options.out.suffix.lower() != ".toml" or options.out.is_dir():
        raise HetcnnError(f"--out {options.out}: expected a file that ends in .toml")
    from hetcnn import platform, text
    from hetcnn.host import board, energy
    from hetcnn.host.measure import measure

    measured = measure(quick=options.quick, say=lambda step: print(f"  {step}", file=sys.stderr, flush=True))
    print(f"  {energy.reason()}", file=sys.stderr)
    for line in board.report(measured):
        print(line)
    print()
    path = board.write(measured, options.out)
    print(text.platform_text(platform.load(path)))
    print(f"board: {path} ({measured.seconds:.0f} s)", file=sys.stderr)
    return 0


def _platforms(options: argparse.Namespace) -> int:
    from hetcnn import platform, text

    if options.name is None:
        print(text.platforms_text([platform.load(name) for name in platform.names()]))
    else:
        print(text.platform_text(platform.load(options.name)))
    return 0


def _networks(options: argparse.Namespace) -> int:
    from hetcnn import text, zoo

    if options.name is None:
        print(text.networks_text({name: zoo.load(name) for name in zoo.names()}))
    else:
        print(text.network_text(_network(options.name, _dims(options.dims))))
    return 0


def _doctor(_: argparse.Namespace) -> int:
    from hetcnn import doctor

    return doctor.report()


def _lab(options: argparse.Namespace) -> int:
    from hetcnn import lab

    return lab.open_lab(options.dir, options.rest)


if __name__ == "__main__":
    sys.exit(main())
