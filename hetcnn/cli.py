"""The command line: `hetcnn reproduce | analyse | platforms | networks | doctor | lab`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
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
    parser, commands = _parser()
    if arguments and not arguments[0].startswith("-") and arguments[0] not in commands:
        raise unknown("command", arguments[0], commands)
    options = parser.parse_args(arguments)
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
    for name, help_text, run in (
        ("platforms", "list the boards, or show one with every number and its source", _platforms),
        ("networks", "list the networks, or show one layer by layer", _networks),
    ):
        command = commands.add_parser(name, help=help_text, description=help_text)
        command.add_argument("name", metavar="NAME", nargs="?")
        command.set_defaults(run=run)
    command = commands.add_parser("doctor", help="check this installation", description="Check this installation.")
    command.set_defaults(run=_doctor)
    command = commands.add_parser("lab", help="open JupyterLab on the notebooks", description=LAB)
    command.add_argument("--dir", metavar="DIR", type=Path, help="where the copy goes (default: hetcnn-notebooks)")
    command.add_argument("rest", metavar="...", nargs=argparse.REMAINDER, help="passed on to jupyter lab")
    command.set_defaults(run=_lab)
    return parser, tuple(commands.choices)


LAB = (
    """Open JupyterLab on the notebooks: those of the checkout, or a copy of the installed ones that you may change."""
)


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
    command.add_argument("--out", metavar="DIR", type=Path, default=Path("_build"), help="default: _build")
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
    command.add_argument("--dims", metavar="NAME=SIZE", nargs="+", default=[], help="sizes of symbolic dimensions")
    command.add_argument("--devices", metavar="DEVICE", nargs="+", help="only these devices of the board")
    command.add_argument("--format", choices=("table", "json", "csv"), default="table", help="default: table")
    command.add_argument("--plot", metavar="FILE", type=Path, help="also draw the roofline: .svg, .png or .pdf")
    command.set_defaults(run=_analyse)


def _analyse(options: argparse.Namespace) -> int:
    from hetcnn import platform

    if options.plot is not None and options.plot.suffix.lower() not in (".svg", ".png", ".pdf"):
        raise HetcnnError(f"--plot {options.plot}: expected a file that ends in .svg, .png or .pdf")
    board = platform.load(options.platform)
    network = _network(options.model, _dims(options.dims))
    from hetcnn.analysis import analyse

    analysis = analyse(network, board, devices=options.devices)
    if options.format == "csv":
        sys.stdout.write(analysis.to_csv())
    elif options.format == "json":
        print(analysis.to_json())
    else:
        from hetcnn.text import analysis_text

        print(analysis_text(analysis))
    if options.plot is not None:
        _plot(analysis, options.plot)
    return 0


def _plot(analysis: Any, file: Path) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    from hetcnn import plots
    from hetcnn.plots.style import figure_of
    from hetcnn.repro.files import written

    with plots.context(), written(file) as temporary:
        figure_of(plots.roofline(analysis)).savefig(temporary, format=file.suffix[1:].lower())
    print(f"roofline: {file}", file=sys.stderr)


def _dims(assignments: Sequence[str]) -> dict[str, int | tuple[int, ...]]:
    """Read NAME=SIZE, or NAME=AxBxC for all sizes of an input."""
    found: dict[str, int | tuple[int, ...]] = {}
    for assignment in assignments:
        name, _, text = assignment.partition("=")
        sizes = tuple(int(size) if size.isascii() and size.isdigit() else 0 for size in text.split("x"))
        if not name or min(sizes) < 1:
            raise HetcnnError(f"--dims {assignment}: expected NAME=SIZE with sizes of at least 1, for instance N=1")
        found[name] = sizes if len(sizes) > 1 else sizes[0]
    return found


def _network(model: str, dims: dict[str, int | tuple[int, ...]]) -> Network:
    """Read a file that exists or looks like one, else take a network of the zoo."""
    if model.endswith(".onnx") or os.sep in model or Path(model).is_file():
        from hetcnn import onnx_io

        return onnx_io.load(model, dims=dims or None)
    from hetcnn import zoo

    batch = dims.pop("N", 1)
    if dims or not isinstance(batch, int):
        raise HetcnnError(f"--dims {next(iter(dims), 'N')}: '{model}' has one symbolic dimension, the batch N; try N=1")
    return zoo.load(model, batch=batch)


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
        print(text.network_text(_network(options.name, {})))
    return 0


def _doctor(_: argparse.Namespace) -> int:
    from hetcnn import doctor

    return doctor.report()


def _lab(options: argparse.Namespace) -> int:
    from hetcnn import lab

    return lab.open_lab(options.dir, options.rest)


if __name__ == "__main__":
    sys.exit(main())
