"""The paper's figures as labelled data: ours, and beside it what is published (NaN where nothing is at hand)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from hetcnn import pipeline
from hetcnn.papers.pipeit.kernel_level import RATIOS, even_split_time, ratio_split_time
from hetcnn.papers.pipeit.layers import NETWORKS, layer_table
from hetcnn.papers.pipeit.tables import best_design
from hetcnn.papers.pipeit.times import (
    CORES,
    FIG3,
    FIG12_LAYERS,
    NOMINAL,
    Assumptions,
    big_core,
    core_parts,
    derived,
    multi_core,
    predicted,
)
from hetcnn.papers.published import number, numbers
from hetcnn.papers.results import variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "best_split_ratio",
    "figure_3",
    "figure_4",
    "figure_5",
    "figure_6",
    "figure_7",
    "figure_8",
    "figure_9",
    "figure_12",
    "figure_14",
    "figure_15",
]

_KINDS = ("conv", "fc", "other")
_FIG3 = ("1B", "2B", "3B", "4B", "4B1s", "4B2s", "4B3s", "4B4s")


def figure_3() -> xr.Dataset:
    """Return kernel-level throughput on one to four Big cores, then with one to four Small cores added.

    On Fig. 3's own scale (its four-Big-core point is the reference of each network).
    """

    def rate(network: str, cores: str) -> float:
        big, small = int(cores[0]), int(cores[2]) if len(cores) > 2 else 0
        if small:
            return 1 / even_split_time(network, big, small, FIG3)
        return 1 / float(derived(network, FIG3).times["B", big].sum())

    model = [[rate(n, c) for c in _FIG3] for n in NETWORKS]
    published = [numbers("pipeit", [f"fig3.{n}.{c}" for c in _FIG3]) for n in NETWORKS]
    return xr.Dataset(
        {
            "throughput": variable("network cores", model, "frames/s", "throughput"),
            "published": variable("network cores", published, "frames/s", "throughput, published", reading_rtol=0.01),
        },
        {"network": list(NETWORKS), "cores": list(_FIG3)},
        {"title": "Fig. 3: kernel-level scaling"},
    )


def figure_4() -> xr.Dataset:
    """Return frameworks on four Big cores: published, and the model of the one library that it knows."""
    frameworks = ("armcl", "ncnn", "tvm")
    model = [[1 / float(derived(n).times["B", 4].sum()), np.nan, np.nan] for n in NETWORKS]
    published = [numbers("pipeit", [f"fig4.{n}.{f}" for f in frameworks]) for n in NETWORKS]
    return xr.Dataset(
        {
            "throughput": variable("network framework", model, "frames/s", "throughput"),
            "published": variable(
                "network framework", published, "frames/s", "throughput, published", reading_rtol=0.01
            ),
        },
        {"network": list(NETWORKS), "framework": list(frameworks)},
        {"title": "Fig. 4: frameworks on four Big cores"},
    )


def figure_5() -> xr.Dataset:
    """Return throughput of an uneven kernel-level split over 4B + 4s, relative to four Big cores alone."""
    relative = [
        [float(derived(n).times["B", 4].sum()) / ratio_split_time(n, float(r)) for r in RATIOS] for n in NETWORKS
    ]
    data = xr.Dataset(
        {"relative_throughput": variable("network ratio", relative, "1", "throughput over Big only")},
        {"network": list(NETWORKS), "ratio": ("ratio", RATIOS, {"units": "1", "long_name": "Big : Small work"})},
        {"title": "Fig. 5: uneven kernel-level split"},
    )
    curve = data["relative_throughput"]
    summaries = {
        "at1": curve.sel(ratio=1),
        "mean2to4": curve.sel(ratio=slice(2, 4)).mean("ratio"),
        "mean8to11": curve.sel(ratio=slice(8, 11)).mean("ratio"),
        "max": curve.max("ratio"),
    }
    stacked = np.stack([s.values for s in summaries.values()], axis=1)
    published = [numbers("pipeit", [f"fig5.{n}.{s}" for s in summaries]) for n in NETWORKS]
    return data.assign_coords(summary=list(summaries)).assign(
        summarised=variable("network summary", stacked, "1", "throughput over Big only"),
        published=variable("network summary", published, "1", "throughput over Big only, published", reading_rtol=0.01),
    )


def figure_6() -> xr.Dataset:
    """Return the share of time by kind of layer on four Big cores, as the regression has it (not anchored)."""
    model = []
    for network in NETWORKS:
        layers = layer_table(network)
        total = predicted(network, anchored=False).times["B", 4]
        minor = _minor_seconds(network)
        major = total - minor
        fc = layers.where("fc")
        parts = np.array([major[~fc].sum(), major[fc].sum(), minor.sum()])
        model.append(100 * parts / parts.sum())
    published = [numbers("pipeit", [f"fig6.{n}.{k}" for k in _KINDS]) for n in NETWORKS]
    return xr.Dataset(
        {
            "share": variable("network kind", model, "%", "share of time"),
            "published": variable("network kind", published, "%", "share of time, published", reading_rtol=0.01),
        },
        {"network": list(NETWORKS), "kind": list(_KINDS)},
        {"title": "Fig. 6: time by kind of layer, four Big cores"},
    )


def _minor_seconds(network: str) -> NDArray[np.float64]:
    scaling, _ = multi_core()
    return np.asarray(big_core().parts(layer_table(network)).minor / 4**scaling.minor)


def figure_7() -> xr.Dataset:
    """Return each convolution's share of convolution time on four Big cores, predicted by the regression."""
    width = max(len(layer_table(n)) for n in NETWORKS)
    model, published = np.full((len(NETWORKS), width), np.nan), np.full((len(NETWORKS), width), np.nan)
    names = np.full((len(NETWORKS), width), "", dtype=object)
    for row, network in enumerate(NETWORKS):
        layers = layer_table(network)
        time = predicted(network, anchored=False).times["B", 4] - _minor_seconds(network)
        conv = ~layers.where("fc")
        model[row, : len(layers)] = np.where(conv, 100 * time / time[conv].sum(), np.nan)
        published[row] = numbers("pipeit", [f"fig7.{network}.{i:02d}" for i in range(1, width + 1)])
        names[row, : len(layers)] = layers.names
    return xr.Dataset(
        {
            "share": variable("network layer", model, "%", "share of convolution time"),
            "published": variable(
                "network layer", published, "%", "share of convolution time, published", reading_rtol=0.01
            ),
            "name": variable("network layer", names.astype(str), "name", "layer"),
        },
        {"network": list(NETWORKS), "layer": np.arange(1, width + 1)},
        {"title": "Fig. 7: convolution time by layer, four Big cores"},
    )


def figure_8() -> xr.Dataset:
    """Return throughput on B4-s4 against the split point, normalised to its best, for all five networks.

    The split ratio is (layers on B4) / (W - 1) with W major layers, from 1 to W - 1 layers on B4.
    """
    width = max(len(layer_table(n)) for n in NETWORKS)
    shape = (2, len(NETWORKS), width - 1)
    rate, ratio = np.full(shape, np.nan), np.full(shape[1:], np.nan)
    for row, network in enumerate(NETWORKS):
        splits = np.arange(1, len(layer_table(network)))
        ratio[row, : len(splits)] = splits / (len(splits))
        for source, matrix in enumerate((derived(network), predicted(network))):
            first, second = np.cumsum(matrix.times["B", 4])[:-1], matrix.times["s", 4][::-1].cumsum()[::-1][1:]
            rate[source, row, : len(splits)] = 1 / np.maximum(first, second)
    best = np.nanmax(rate, axis=-1, keepdims=True)
    dims = "times network layers_on_B4"
    return xr.Dataset(
        {
            "throughput": variable(dims, rate, "frames/s", "throughput"),
            "normalised_throughput": variable(dims, rate / best, "1", "throughput over the best split"),
            "split_ratio": variable("network layers_on_B4", ratio, "1", "split ratio, layers on B4 / (W - 1)"),
        },
        {"times": ["derived", "predicted"], "network": list(NETWORKS), "layers_on_B4": np.arange(1, width)},
        {"title": "Fig. 8: two stages, B4-s4"},
    )


def best_split_ratio(network: str, times: str = "derived") -> float:
    """Return the split ratio of Fig. 8 at which the throughput is greatest."""
    curve = figure_8().sel(network=network, times=times)
    return float(curve["split_ratio"][int(np.nanargmax(curve["normalised_throughput"].to_numpy()))])


def figure_9(network: str = "resnet50", given: Assumptions = NOMINAL) -> xr.Dataset:
    """Return throughput on B4-s2-s2 over both split points (last layer of stage 1, last layer of stage 2)."""
    matrix = derived(network, given)
    count = len(layer_table(network))
    first, second = np.meshgrid(np.arange(1, count - 1), np.arange(2, count), indexing="ij")
    rows = np.stack([matrix.times["B", 4], matrix.times["s", 2], matrix.times["s", 2]])
    cuts = np.stack([first, np.maximum(second, first)], axis=-1)
    rate = pipeline.throughput(pipeline.stage_times(rows, cuts))
    rate = np.where(second > first, rate, np.nan)
    return xr.Dataset(
        {"throughput": variable("last_of_stage_1 last_of_stage_2", rate, "frames/s", "throughput")},
        {
            "last_of_stage_1": ("last_of_stage_1", np.arange(1, count - 1), {"long_name": "last layer on B4"}),
            "last_of_stage_2": ("last_of_stage_2", np.arange(2, count), {"long_name": "last layer on the first s2"}),
        },
        {"title": f"Fig. 9: {network} on B4-s2-s2"},
    )


def figure_12() -> xr.Dataset:
    """Return the speed-up of AlexNet's convolutions on two to four cores of each cluster."""
    scaling, _ = multi_core()
    cores = CORES[1:]
    model = np.empty((2, len(FIG12_LAYERS), len(cores)))
    published = np.empty_like(model)
    for c, (kind, cluster) in enumerate((("B", "big"), ("s", "small"))):
        parts = core_parts("alexnet")[kind]
        for i, (name, ids) in enumerate(FIG12_LAYERS.items()):
            rows = np.array(ids) - 1
            one = parts.major[rows].sum()
            model[c, i] = [one / scaling.conv(parts.major, parts.layers.N, h)[rows].sum() for h in cores]
            published[c, i] = [number("pipeit", f"fig12.{cluster}.{name}.{h}") for h in cores]
    dims = "cluster layer cores"
    return xr.Dataset(
        {
            "speedup": variable(dims, model, "1", "speed-up over one core"),
            "published": variable(dims, published, "1", "speed-up over one core, published", reading_rtol=0.01),
        },
        {"cluster": ["big", "small"], "layer": list(FIG12_LAYERS), "cores": list(cores)},
        {"title": "Fig. 12: multi-core speed-up of AlexNet's convolutions"},
    )


def figure_14() -> xr.Dataset:
    """Return MobileNet's time by kind of layer for four builds of the library; the model knows the first one."""
    builds = ("v18.05-f32", "v18.05-qasymm8", "v18.11-f32", "v18.11-qasymm8")
    parts = ("conv", "dw", "other", "total")
    published = [numbers("pipeit", [f"fig14.{b.replace('.', '')}.{p}" for p in parts]) for b in builds]
    pipeit = numbers("pipeit", [f"fig14.{b.replace('.', '')}.pipeit" for b in builds])
    model = np.full((len(builds), len(parts)), np.nan)
    model[0] = 1e3 * mobilenet_seconds()
    return xr.Dataset(
        {
            "time": variable("build part", model, "ms", "time per frame"),
            "published": variable("build part", published, "ms", "time per frame, published", reading_rtol=0.01),
            "published_pipeit": variable(
                "build", pipeit, "ms", "time per frame in the pipeline, published", reading_rtol=0.01
            ),
        },
        {"build": list(builds), "part": list(parts)},
        {"title": "Fig. 14: MobileNet, library versions and quantisation"},
    )


def mobilenet_seconds() -> NDArray[np.float64]:
    """Return MobileNet's derived time on four Big cores: convolutions, depthwise, other, total."""
    layers, scaling = layer_table("mobilenet"), multi_core()[0]
    parts = core_parts("mobilenet")["B"]
    minor = (parts.minor / 4**scaling.minor).sum()
    major = parts.on(4, scaling) - parts.minor / 4**scaling.minor
    dw = layers.where("dw")
    return np.array([major[~dw].sum(), major[dw].sum(), minor, major.sum() + minor])


def figure_15() -> xr.Dataset:
    """Return frameworks on MobileNet: published, and our Pipe-it beside the paper's."""
    names = ("caffe-android-lib", "mini-caffe", "tf-lite", "tvm", "ncnn", "pipeit", "pipeit_quantised")
    model = np.full(len(names), np.nan)
    model[names.index("pipeit")] = best_design("mobilenet", "predicted", "algorithm_3").throughput
    return xr.Dataset(
        {
            "throughput": variable("framework", model, "frames/s", "throughput"),
            "published": variable(
                "framework", numbers("pipeit", [f"fig15.{n}" for n in names]), "frames/s", "throughput, published"
            ),
        },
        {"framework": list(names)},
        {"title": "Fig. 15: frameworks on MobileNet"},
    )
