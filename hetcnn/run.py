"""`hetcnn run`: run a model on arrays or images, print the classes it considers, or save its outputs.

For `cli.py`: `add_arguments(parser)` declares the arguments, `command(options)` runs them and returns the exit code.
"""

from __future__ import annotations

import argparse
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hetcnn.errors import HetcnnError, unknown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hetcnn.network import Network, Tensor

    Array = NDArray[Any]
    Input = str | Path | NDArray[Any]

__all__ = ["EFFICIENTNET_LITE", "IMAGENET", "Preparation", "add_arguments", "command", "load_model", "run"]

_ARRAYS = (".npy", ".npz")


@dataclass(frozen=True)
class Preparation:
    """How an image becomes a network's input: centre crop, resize, then (pixel - mean) / std with pixels from 0 to 255.

    `mean` and `std` are one number, or three for red, green and blue; the defaults are torchvision's, see `IMAGENET`.
    """

    crop: float = 0.875
    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    std: tuple[float, ...] = (58.395, 57.12, 57.375)

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, 3):
                raise HetcnnError(f"{name} {values}: expected one number, or three for red, green and blue")

    def image(self, source: Input, tensor: Tensor) -> Array:
        """Return an image file as one sample for an input of shape (N, 3 or 1, height, width)."""
        from hetcnn import images

        if len(tensor.shape) != 4 or tensor.shape[1] not in (1, 3) or not tensor.dtype.startswith("float"):
            raise HetcnnError(
                f"'{source}' is an image, but input '{tensor.name}' is {tensor.dtype} {tensor.shape}; an image needs "
                "float32 (N, 3, height, width), or (N, 1, height, width) for grey; give an .npy file instead"
            )
        one = self.mean if len(self.mean) == 3 else self.mean[0]
        other = self.std if len(self.std) == 3 else self.std[0]
        pixels = images.prepare(source, tensor.shape[2:], crop=self.crop, mean=one, std=other)
        return (pixels if tensor.shape[1] == 3 else pixels.mean(axis=1, keepdims=True)).astype(tensor.dtype)


IMAGENET = Preparation()
"""What torchvision's networks were trained with."""

EFFICIENTNET = "efficientnet-lite0"
"""The network of the zoo that has trained weights."""

EFFICIENTNET_LITE = Preparation(mean=(127.0,), std=(128.0,))
"""What EfficientNet-Lite was trained with."""


def load_model(
    model: str | Path, *, dims: Mapping[str, Any] | None = None, seed: int | None = None, pretrained: bool = False
) -> Network:
    """Return the network of an ONNX file, or of the zoo by its name.

    `seed` gives it random weights, `pretrained` those trained on ImageNet. Raises HetcnnError for anything else.
    """
    text = str(model)
    if text.endswith(".onnx") or os.sep in text or Path(text).is_file():
        from hetcnn import onnx_io
        from hetcnn.random_weights import with_random_weights

        if pretrained:
            raise HetcnnError(f"--pretrained: '{text}' is a file; only networks of the zoo have trained weights here")
        network = onnx_io.load(text, dims=dict(dims) if dims else None)
        return network if seed is None else with_random_weights(network, seed)
    from hetcnn import zoo

    if dims:
        raise HetcnnError(
            f"--dims {next(iter(dims))}: only ONNX files have symbolic dimensions; '{text}' is of the zoo"
        )
    network = zoo.load(text, seed=seed, pretrained=pretrained)
    if seed is None and not pretrained:
        trained = ", or --pretrained" if text == EFFICIENTNET else ""
        raise HetcnnError(
            f"network '{network.name}' of the zoo has no weights of its own; give --seed 0 for random ones{trained}"
        )
    return network


def run(
    model: Network | str | Path,
    inputs: Sequence[Input] = (),
    *,
    engine: bool = False,
    threads: int = 1,
    top: int = 5,
    output: str | Path | None = None,
    preparation: Preparation | None = None,
    labels: Sequence[str] | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Array]:
    """Run a model on inputs, say what it answers, and return output name -> array over all samples.

    A model of one input takes each of `inputs` (an image, an .npy file, an array of one or more samples) as samples,
    however many it computes at once; a model of several takes one file for each, in order, or one .npz that names
    them; without inputs, seeded random numbers. `engine` uses the fast engine instead of the plain operators. The
    `top` classes are named by `labels`, by default ImageNet's if there are 1000. `output` is an .npz file to save to.

    >>> from hetcnn import zoo
    >>> found = run(zoo.load("lenet-5", seed=0), [np.zeros((2, 1, 28, 28), np.float32)], say=lambda line: None)
    >>> found["softmax"].shape
    (2, 10)
    """
    target = None if output is None else Path(output)
    if target is not None and target.suffix != ".npz":
        raise HetcnnError(f"--output {target}: expected a file that ends in .npz")
    if threads < 1:
        raise HetcnnError(f"--threads {threads}: expected 1 or more")
    if top < 0:
        raise HetcnnError(f"--top {top}: expected 0 or more classes")
    network = model if not isinstance(model, (str, Path)) else load_model(model)
    titles, feeds = _samples(network, list(inputs), preparation or IMAGENET)
    results = _results(_runner(network, engine, threads), network, feeds, len(titles))
    _report(titles, results, top, labels, say)
    if target is not None:
        _save(target, results)
        say(f"saved {', '.join(results)} to {target}")
    return results


def _samples(
    network: Network, inputs: list[Input], preparation: Preparation
) -> tuple[list[str], list[dict[str, Array]]]:
    """Return a title for each sample, and the feeds that together hold all samples; the last may repeat one."""
    tensors = network.inputs
    if not inputs:
        rng = np.random.default_rng(0)
        return _numbered("seeded random input", tensors), [{t.name: _noise(t, rng) for t in tensors}]
    if len(inputs) == 1 and isinstance(inputs[0], (str, Path)) and Path(inputs[0]).suffix == ".npz":
        return _numbered(str(inputs[0]), tensors), [_archive(Path(inputs[0]), tensors)]
    if len(tensors) > 1:
        if len(inputs) != len(tensors):
            names = ", ".join(t.name for t in tensors)
            raise HetcnnError(f"{len(inputs)} inputs; network '{network.name}' needs {len(tensors)}: {names}")
        whole = {t.name: _array(source, t, preparation) for source, t in zip(inputs, tensors, strict=True)}
        return _numbered(", ".join(map(_title, inputs)), tensors), [whole]
    tensor = tensors[0]
    arrays = [_array(source, tensor, preparation) for source in inputs]
    titles = [
        _title(source) if len(array) == 1 else f"{_title(source)}[{i}]"
        for source, array in zip(inputs, arrays, strict=True)
        for i in range(len(array))
    ]
    return titles, [{tensor.name: batch} for batch in _batches(np.concatenate(arrays), tensor.shape[0])]


def _numbered(title: str, tensors: Sequence[Tensor]) -> list[str]:
    """Return a title for each sample of one batch."""
    count = tensors[0].shape[0] if tensors and tensors[0].shape else 1
    return [title] if count == 1 else [f"{title}[{i}]" for i in range(count)]


def _title(source: Input) -> str:
    return "array" if isinstance(source, np.ndarray) else str(source)


def _noise(tensor: Tensor, rng: np.random.Generator) -> Array:
    if tensor.dtype.startswith("float"):
        return rng.standard_normal(tensor.shape).astype(tensor.dtype)
    raise HetcnnError(f"input '{tensor.name}' is {tensor.dtype}; random input is for floats only: give an .npy file")


def _array(source: Input, tensor: Tensor, preparation: Preparation) -> Array:
    """Return a source as samples of an input: the shape of the tensor, but any number along the first axis."""
    if not isinstance(source, np.ndarray):
        path = Path(source)
        array = _file(path) if path.suffix == ".npy" else preparation.image(path, tensor)
    else:
        array = source
    if array.shape == tensor.shape[1:]:
        array = array[None]
    if array.ndim != len(tensor.shape) or array.shape[1:] != tensor.shape[1:] or not array.size:
        raise HetcnnError(f"'{_title(source)}' has shape {array.shape}; input '{tensor.name}' needs {tensor.shape}")
    if array.dtype.kind == "f" and tensor.dtype.startswith("float"):
        return array.astype(tensor.dtype)
    if array.dtype.name != tensor.dtype:
        raise HetcnnError(f"'{_title(source)}' is {array.dtype.name}; input '{tensor.name}' needs {tensor.dtype}")
    return array


def _file(path: Path) -> Array:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except FileNotFoundError:
        raise HetcnnError(f"no such input: '{path}'") from None
    except (OSError, ValueError, EOFError):
        raise HetcnnError(f"'{path}' is no .npy file of numbers") from None


def _archive(path: Path, tensors: Sequence[Tensor]) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {name: np.asarray(archive[name]) for name in archive.files}
    except FileNotFoundError:
        raise HetcnnError(f"no such input: '{path}'") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        raise HetcnnError(f"'{path}' is no .npz file of numbers") from None
    for name in found:
        if name not in {t.name for t in tensors}:
            raise unknown(f"input in '{path}'", name, [t.name for t in tensors])
    return found


def _batches(samples: Array, size: int) -> Iterator[Array]:
    for start in range(0, len(samples), max(size, 1)):
        batch = samples[start : start + size]
        yield np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])


def _runner(network: Network, engine: bool, threads: int) -> Callable[[Mapping[str, Array]], Mapping[str, Array]]:
    if engine:
        from hetcnn.kernels.engine import Engine

        return Engine(network, threads=threads).run
    from hetcnn.kernels.interpreter import Interpreter

    return Interpreter.of(network).run


def _results(
    function: Callable[[Mapping[str, Array]], Mapping[str, Array]],
    network: Network,
    feeds: list[dict[str, Array]],
    count: int,
) -> dict[str, Array]:
    """Run every feed, and join the outputs along the axis of samples, without what only filled the last batch up."""
    parts = [function(feed) for feed in feeds]
    shape = network.inputs[0].shape if network.inputs else ()
    joined = {}
    for name, first in parts[0].items():
        if shape and first.ndim and first.shape[0] == shape[0]:
            joined[name] = np.concatenate([part[name] for part in parts])[:count]
        else:
            joined[name] = first if len(parts) == 1 else np.stack([part[name] for part in parts])
    return joined


def _report(
    titles: list[str], results: dict[str, Array], top: int, labels: Sequence[str] | None, say: Callable[[str], None]
) -> None:
    """Say what each sample is taken for, or what the outputs are where these are no classes."""
    _, first = next(iter(results.items()))
    classes = first.size // max(len(first), 1) if first.ndim else 0
    scores = first.ndim > 1 and max(first.shape[1:]) == classes > 1 and first.dtype.kind == "f"
    if not scores or not top:
        for name, array in results.items():
            span = f", {array.min():.6g} to {array.max():.6g}" if array.size and array.dtype.kind in "fiu" else ""
            say(f"{name}: {array.dtype.name} {array.shape}{span}")
        return
    names = _class_names(classes, labels)
    rows = first.reshape(len(first), classes)
    likely = bool(rows.min() >= 0 and np.allclose(rows.sum(axis=1), 1, atol=1e-2))
    named = titles if len(titles) == len(rows) else [f"{titles[0]}[{i}]" for i in range(len(rows))]
    for title, row in zip(named, rows, strict=True):
        say(f"{title}:")
        for number in np.argsort(-row, kind="stable")[:top]:
            value = f"{row[number]:7.2%}" if likely else f"{row[number]:10.4f}"
            say(f"  {value}  {number:>4}  {names[number]}")


def _class_names(count: int, labels: Sequence[str] | None) -> Sequence[str]:
    """Return the given names, else ImageNet's where they fit and are installed, else numbers."""
    if labels is not None:
        if len(labels) != count:
            raise HetcnnError(f"{len(labels)} labels for {count} classes; there is one for each")
        return labels
    from hetcnn import images

    try:
        known = images.class_names() if count in (1000, 1001) else ()
    except HetcnnError:
        known = ()
    return known if len(known) == count else ["background", *known] if known else [f"class {i}" for i in range(count)]


def _save(path: Path, results: Mapping[str, Array]) -> None:
    from hetcnn.repro.files import written

    clash = {"file", "allow_pickle"} & results.keys()
    if clash:
        raise HetcnnError(f"output '{clash.pop()}' cannot be saved: NumPy reserves that name")
    with written(path) as temporary:
        np.savez(temporary, **results)  # type: ignore[arg-type]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `hetcnn run`."""
    parser.add_argument("model", metavar="MODEL", help="an ONNX file, or the name of a network: see 'hetcnn networks'")
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="*", help="images, .npy or .npz files (default: random numbers)"
    )
    parser.add_argument("--engine", action="store_true", help="use the fast engine instead of the plain operators")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="threads of the engine (default: 1)")
    parser.add_argument("--top", metavar="N", type=int, default=5, help="classes to print (default: 5; 0: shapes)")
    parser.add_argument("--output", metavar="FILE.npz", type=Path, help="save all outputs")
    parser.add_argument("--labels", metavar="FILE", type=Path, help="class names, one a line (default: ImageNet's)")
    parser.add_argument("--dims", metavar="NAME=SIZE", nargs="+", default=[], help="sizes of symbolic dimensions")
    parser.add_argument("--seed", metavar="N", type=int, help="random weights instead of the model's own")
    parser.add_argument("--pretrained", action="store_true", help="weights trained on ImageNet (zoo networks)")
    parser.add_argument("--crop", metavar="SHARE", type=float, default=0.875, help="of an image (default: 0.875)")
    for name, values in (("mean", IMAGENET.mean), ("std", IMAGENET.std)):
        usual = f"of pixels from 0 to 255 (default: {' '.join(map(str, values))}; with --pretrained the network's)"
        parser.add_argument(f"--{name}", metavar="X", nargs="+", type=float, help=usual)


def command(options: argparse.Namespace, dims: Mapping[str, Any] | None = None) -> int:
    """Run `hetcnn run`; `dims` are the sizes that the command line read from `--dims`."""
    usual = EFFICIENTNET_LITE if options.pretrained else IMAGENET
    preparation = Preparation(
        options.crop,
        usual.mean if options.mean is None else tuple(options.mean),
        usual.std if options.std is None else tuple(options.std),
    )
    labels = None if options.labels is None else _lines(options.labels)
    network = load_model(options.model, dims=dims, seed=options.seed, pretrained=options.pretrained)
    run(
        network,
        options.inputs,
        engine=options.engine,
        threads=options.threads,
        top=options.top,
        output=options.output,
        preparation=preparation,
        labels=labels,
    )
    return 0


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise HetcnnError(f"--labels {path}: no text file that can be read") from None
