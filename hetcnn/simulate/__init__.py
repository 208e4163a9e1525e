"""Event simulation of heterogeneous engines: jobs in queues, shared cores and memory paths, a layer pipeline, stealing.

A `System` is described by frozen dataclasses; `simulate` runs frames through it and returns a `Schedule`.

**A frame.** Every layer has one thread, which handles the frames in order: it takes the next frame from the mailbox in
front (the first layer from the source), works `before` seconds on its core, pushes its jobs into the queue of its
cluster, sleeps until all of them are done, works `after` seconds and puts the frame into the mailbox behind, which
holds a given number of frames. The thread waits wherever something is empty or full.

**A job** waits in the cluster's queue (FIFO), is handed to an engine of the cluster that has room (in turn), waits for
the engine's core if it needs one, and is then worked on: computing and moving its bytes at the same time
(`double_buffer`), or moving first and computing then. Bytes wait for the engine's port (FIFO) and share the rate of
its path equally with all transfers under way.

**Stealing.** A cluster whose queue is empty while one of its engines has room is hungry. Hungry clusters are served in
the order in which they became so: each takes waiting jobs from the front of a victim's queue.

**Order.** Nothing is random but the choice "random", which has a seed. What happens at exactly the same time is
handled in this order: ends of computing by engine, ends of transfers and of work on fair cores by resource (there, the
earlier served first, then by engine and by layer), ends of software work by layer, arrivals of stolen jobs by cluster,
arrivals of frames; engines, layers, clusters and resources as declared. Every such event is handled with all that
follows from it at once: what it held (core, port) goes to the first in line; the engine, then its cluster, take their
next jobs; layer threads go on in the order in which they were woken, each until it has to wait; hungry clusters steal
last.
"""

from hetcnn.simulate.parts import Cluster, Engine, Layer, Path, Slots, Stealing, copies
from hetcnn.simulate.schedule import Schedule, simulate
from hetcnn.simulate.system import System

__all__ = ["Cluster", "Engine", "Layer", "Path", "Schedule", "Slots", "Stealing", "System", "copies", "simulate"]
