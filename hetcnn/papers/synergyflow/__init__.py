"""SynergyFlow: an elastic accelerator that runs complementary layers side by side (Li et al., ACM TODAES 24(1), 2019).

Only the abstract is at hand. `workload`: what layers ask for. `machine`: the board and the assumptions. `division`: the
mechanism in closed form. `model`: networks and pairs on the machine. `calibration`: the one calibrated number.
`schedule`: the same machine as events. `figures`: what the model says. `identify`: what the two gains pin down.
"""

from __future__ import annotations

from functools import partial

from hetcnn.papers.synergyflow.calibration import SIDES, at_batch, calibrate, calibrated, nominal
from hetcnn.papers.synergyflow.claims import CLAIMS
from hetcnn.papers.synergyflow.division import Part, best_fixed, divide, rigid_time
from hetcnn.papers.synergyflow.exercises import EXERCISES
from hetcnn.papers.synergyflow.figures import (
    abstract,
    calibration_table,
    divisions,
    gains,
    layer_table,
    mixes,
    over_batch,
    over_time,
    pairs,
    rooflines,
    throughputs,
    utilisations,
)
from hetcnn.papers.synergyflow.identify import (
    batch_map,
    identifiability,
    over_provision,
    published_gains,
    sensitivity,
    subsets,
)
from hetcnn.papers.synergyflow.machine import Machine, provisioned
from hetcnn.papers.synergyflow.model import elastic, gain, pair_gain, parts, rigid_seconds, utilisation
from hetcnn.papers.synergyflow.schedule import event_period, event_schedule, profile
from hetcnn.papers.synergyflow.workload import NETWORKS, OTHERS, beside, of_network, workload

TITLE = (
    "Li, Yan, Lu, Gong, Jiang, Wu, Li: SynergyFlow: An Elastic Accelerator Architecture Supporting Batch Processing of "
    "Large-Scale Deep Neural Networks. ACM TODAES 24(1), 2019"
)

TABLES = {
    "Abstract": abstract,
    "Abstract, as scored": partial(abstract, scored=True),
    "Gain by network": gains,
    "Gain over the batch": over_batch,
    "Gain of pairs of networks": pairs,
    "Gain of mixes of networks": mixes,
    "Utilisation": utilisations,
    "Utilisation over time": over_time,
    "Throughput": throughputs,
    "Division": divisions,
    "Roofline": rooflines,
    **{f"Layers of {network}": partial(layer_table, network) for network in NETWORKS},
    "Calibration": calibration_table,
    "Gain over the provisioning": over_provision,
    "Identifiability": identifiability,
    "Batch and activations": batch_map,
    "Other sets of networks": subsets,
    "Sensitivity": sensitivity,
}

__all__ = [
    "CLAIMS",
    "EXERCISES",
    "NETWORKS",
    "OTHERS",
    "SIDES",
    "TABLES",
    "TITLE",
    "Machine",
    "Part",
    "abstract",
    "at_batch",
    "batch_map",
    "beside",
    "best_fixed",
    "calibrate",
    "calibrated",
    "calibration_table",
    "divide",
    "divisions",
    "elastic",
    "event_period",
    "event_schedule",
    "gain",
    "gains",
    "identifiability",
    "layer_table",
    "mixes",
    "nominal",
    "of_network",
    "over_batch",
    "over_provision",
    "over_time",
    "pair_gain",
    "pairs",
    "parts",
    "profile",
    "provisioned",
    "published_gains",
    "rigid_seconds",
    "rigid_time",
    "rooflines",
    "sensitivity",
    "subsets",
    "throughputs",
    "utilisation",
    "utilisations",
    "workload",
]
