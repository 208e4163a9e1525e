"""The event simulation against simpy models of the same systems, against laws, and against sums by hand."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
import random
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import simpy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hetcnn import HetcnnError
from hetcnn.simulate import Cluster, Engine, Layer, Path, Slots, Stealing, System, copies, simulate
from hetcnn.simulate.loop import Run
from hetcnn.simulate.plan import compile_system

SETTINGS = settings(derandomize=True, deadline=None, max_examples=300)
FEW = settings(derandomize=True, deadline=None, max_examples=40)


# --- The same systems in simpy: a process per layer and per job, jobs as objects, shared rates by what remains ---


class SharedRate:
    """Processor sharing by bookkeeping of the work that remains of each user."""

    def __init__(self, model, code, rate, limit):
        self.model, self.code, self.rate, self.limit = model, code, rate, limit
        self.remaining, self.events, self.since, self.version = {}, {}, 0.0, 0

    def serve(self, user, amount):
        self.advance()
        self.remaining[user], self.events[user] = amount, self.model.env.event()
        event = self.events[user]
        self.plan()
        return event

    def each(self):
        return min(self.limit, self.rate / len(self.remaining))

    def advance(self):
        now = self.model.env.now
        for user in self.remaining:
            self.remaining[user] -= (now - self.since) * self.each()
        self.since = now

    def plan(self):
        self.version += 1
        if self.remaining:
            # Equal but for rounding: two who came at once with as much to do.
            least = min(self.remaining.values())
            user = min(u for u, amount in self.remaining.items() if amount <= least + 1e-9)
            wait = max(0.0, self.remaining[user] / self.each())
            alarm = self.model.after(wait, self.code)
            alarm.callbacks.append(lambda _, v=self.version, u=user: self.ring(v, u))

    def ring(self, version, user):
        if version == self.version:
            self.advance()
            del self.remaining[user]
            self.plan()
            self.events.pop(user).succeed()


class Model:
    """A system in simpy. Timed events have the priority that the tie rule gives them; what follows at once has less."""

    def __init__(self, system, frames, interval=0.0):
        self.system, self.frames, self.interval, self.env = system, frames, interval, simpy.Environment()
        engines, layers, clusters = system.engines, system.layers, system.clusters
        fair = [s for s in system.slots if s.fair]
        base = 10 + len(engines)
        self.code = {e.name: 10 + i for i, e in enumerate(engines)}
        self.rates = {}
        for i, r in enumerate([*system.paths, *fair]):
            rate, limit = (r.rate, r.limit) if isinstance(r, Path) else (r.count, 1.0)
            self.rates[r.name] = SharedRate(self, base + i, rate, limit)
        base += len(self.rates)
        self.code |= {("layer", i): base + i for i in range(len(layers))}
        self.code |= {("cluster", i): base + len(layers) + i for i in range(len(clusters))}
        self.code["source"] = base + len(layers) + len(clusters)
        self.slots = {s.name: simpy.Resource(self.env, s.count) for s in system.slots if not s.fair}
        self.teams = [Team(self, i, c) for i, c in enumerate(clusters)]
        self.team_of = {c.name: t for c, t in zip(clusters, self.teams, strict=True)}
        self.boxes = [[] for _ in layers[1:]]
        self.depths = system.depths
        self.frame_event = [None] * len(layers)
        self.room_event = [None] * len(layers)
        self.entered, self.left = [], []
        self.busy, self.done, self.worked = Counter(), Counter(), []
        self.waited, self.delayed, self.worked_at_software = Counter(), Counter(), Counter()
        self.hungry = [t for t in self.teams if self.steals and t.cluster.thief]
        self.stolen, self.steal_due = Counter(), False
        self.random = random.Random(system.stealing.seed) if system.stealing else None
        for i in range(len(layers)):
            self.env.process(self.thread(i))
        self.env.run()

    @property
    def steals(self):
        return self.system.stealing is not None

    def after(self, delay, code):
        event = simpy.Event(self.env)
        event._ok, event._value = True, None
        self.env.schedule(event, priority=code, delay=delay)
        return event

    def wake(self, events, i):
        event, events[i] = events[i], None
        if event is not None:
            event.succeed()

    def thread(self, i):
        layer, last = self.system.layers[i], len(self.system.layers) - 1
        for frame in range(self.frames):
            if i == 0:
                yield from self.source(frame)
            else:
                while not self.boxes[i - 1]:
                    self.frame_event[i] = self.env.event()
                    yield self.frame_event[i]
                assert self.boxes[i - 1].pop(0) == frame
                self.wake(self.room_event, i - 1)
            yield from self.software(i, layer.before)
            if layer.jobs:
                counting = {"left": layer.jobs, "event": self.env.event()}
                team = self.team_of[layer.cluster]
                yield from team.push([(i, frame, number, counting) for number in range(layer.jobs)])
                yield counting["event"]
            yield from self.software(i, layer.after)
            if i < last:
                while len(self.boxes[i]) == self.depths[i]:
                    self.room_event[i] = self.env.event()
                    yield self.room_event[i]
                self.boxes[i].append(frame)
                self.wake(self.frame_event, i + 1)
            else:
                self.left.append(self.env.now)
                self.wake(self.frame_event, 0)

    def source(self, frame):
        limit = self.system.in_flight or math.inf
        while len(self.entered) - len(self.left) >= limit or frame * self.interval > self.env.now:
            self.frame_event[0] = self.env.event()
            if len(self.entered) - len(self.left) < limit:
                alarm = self.env.event()
                alarm._ok, alarm._value = True, None
                # The exact time: now + (due - now) may differ from due in the last digit.
                heap_entry = (frame * self.interval, self.code["source"], next(self.env._eid), alarm)
                heapq.heappush(self.env._queue, heap_entry)
                alarm.callbacks.append(lambda _: self.wake(self.frame_event, 0))
            yield self.frame_event[0]
        self.entered.append(self.env.now)

    def software(self, i, seconds):
        layer = self.system.layers[i]
        if not seconds:
            return
        begin = start = self.env.now
        if layer.core in self.rates:
            yield self.rates[layer.core].serve((2, i), seconds)
        elif layer.core is None:
            yield self.after(seconds, self.code["layer", i])
        else:
            asked = self.slots[layer.core].request()
            if not asked.triggered:
                yield asked
            start = self.env.now
            yield self.after(seconds, self.code["layer", i])
        self.delayed[layer.name] += start - begin
        self.worked_at_software[layer.name] += self.env.now - start
        if layer.core in self.slots:
            yield from self.give_up(layer.core, asked)

    def give_up(self, slots, asked):
        """Release; who gets the slot goes on first."""
        yield self.slots[slots].release(asked)
        now = self.env.event()
        now.succeed()
        yield now

    def work(self, team, engine, job):
        layer, handed = self.system.layers[job[0]], self.env.now
        asked = self.slots[engine.core].request() if engine.core in self.slots else None
        if asked is not None and not asked.triggered:
            yield asked
        start = self.env.now
        self.waited[engine.name] += start - handed
        moves = engine.path is not None and layer.bytes > 0
        if moves and not engine.double_buffer:
            yield self.env.process(self.move(engine, layer))
            yield self.compute(engine, layer)
        elif moves:
            yield self.env.all_of([self.compute(engine, layer), self.env.process(self.move(engine, layer))])
        else:
            yield self.compute(engine, layer)
        self.busy[engine.name, layer.name] += self.env.now - start
        self.done[engine.name, layer.name] += 1
        self.worked.append((engine.name, job[:3], start, self.env.now))
        if asked is not None:
            yield from self.give_up(engine.core, asked)
        team.finished(engine)
        job[3]["left"] -= 1
        if not job[3]["left"]:
            job[3]["event"].succeed()

    def compute(self, engine, layer):
        if engine.core in self.rates:
            return self.rates[engine.core].serve((1, self.code[engine.name]), engine.seconds(layer))
        return self.after(engine.seconds(layer), self.code[engine.name])

    def move(self, engine, layer):
        asked = self.slots[engine.port].request() if engine.port is not None else None
        if asked is not None and not asked.triggered:
            yield asked
        yield self.rates[engine.path].serve((0, self.code[engine.name]), layer.bytes)
        if asked is not None:
            yield from self.give_up(engine.port, asked)

    def look(self):
        """Have the hungry looked at once everything else that happens now has happened."""
        if self.steals and not self.steal_due:
            self.steal_due = True
            self.after(0, 5).callbacks.append(lambda _: self.feed())

    def feed(self):
        self.steal_due = False
        rule = self.system.stealing
        if self.hungry:
            victims = [t for t in self.teams if len(t.queue) >= rule.least]
            if not victims:
                return
            if rule.victim == "longest":
                victim = max(victims, key=lambda t: (len(t.queue), -t.number))
            else:
                victim = victims[int(self.random.random() * len(victims))] if rule.victim == "random" else victims[0]
            thief = self.hungry.pop(0)
            count = {"half": math.ceil(len(victim.queue) / 2), "all": len(victim.queue)}.get(rule.amount)
            if count is None:
                third = math.ceil(len(victim.queue) / 3)
                count = third if rule.amount == "all/3" else min(rule.amount, len(victim.queue))
            count = min(count, thief.cluster.queue or math.inf)
            loot = [victim.queue.pop(0) for _ in range(count)]
            self.stolen[thief.cluster.name, victim.cluster.name] += count
            thief.waiting_for_loot = True
            victim.refill()
            if rule.overhead:
                arrival = self.after(rule.overhead, self.code["cluster", thief.number])
                arrival.callbacks.append(lambda _, t=thief, jobs=loot: t.receive(jobs))
            else:
                thief.receive(loot)
            # The next thief looks when those who waited to push to the victim have done so.
            self.look()


class Team:
    """A cluster: its queue, who waits to push, and what its engines hold."""

    def __init__(self, model, number, cluster):
        self.model, self.number, self.cluster = model, number, cluster
        self.queue, self.senders, self.waiting_for_loot = [], [], False
        self.held = {e.name: 0 for e in cluster.engines}
        self.inbox = {e.name: [] for e in cluster.engines}
        self.next = 0

    def free(self):
        return [e for e in self.cluster.engines if self.held[e.name] <= self.cluster.buffer]

    def hand(self, job):
        """To the next engine in turn that has room."""
        engines = self.cluster.engines
        order = [engines[(self.next + i) % len(engines)] for i in range(len(engines))]
        engine = next(e for e in order if self.held[e.name] <= self.cluster.buffer)
        self.next = (engines.index(engine) + 1) % len(engines)
        self.held[engine.name] += 1
        if self.held[engine.name] == 1:
            self.model.env.process(self.model.work(self, engine, job))
        else:
            self.inbox[engine.name].append(job)

    def push(self, jobs):
        """Push a frame's jobs; those who wait for room take turns, one job each."""
        while jobs and self.free():
            self.hand(jobs.pop(0))
        if not self.free() and self in self.model.hungry:
            self.model.hungry.remove(self)
        if jobs:
            pushed = self.model.env.event()
            self.senders.append((jobs, pushed))
            self.refill()
            yield pushed

    def refill(self):
        while self.senders and len(self.queue) < (self.cluster.queue or math.inf):
            jobs, pushed = self.senders.pop(0)
            self.queue.append(jobs.pop(0))
            self.model.look()
            if jobs:
                self.senders.append((jobs, pushed))
            else:
                pushed.succeed()

    def finished(self, engine):
        self.held[engine.name] -= 1
        if self.inbox[engine.name]:
            self.model.env.process(self.model.work(self, engine, self.inbox[engine.name].pop(0)))
        if self.queue:
            self.hand(self.queue.pop(0))
            self.refill()
        self.starving()

    def starving(self):
        known = self in self.model.hungry or self.waiting_for_loot
        if self.model.steals and self.cluster.thief and self.free() and not self.queue and not known:
            self.model.hungry.append(self)
            self.model.look()

    def receive(self, jobs):
        self.waiting_for_loot = False
        self.queue.extend(jobs)
        while self.queue and self.free():
            self.hand(self.queue.pop(0))
        if self.queue:
            self.model.look()
        self.starving()


def agree(system, frames, interval=0.0, rtol=1e-9):
    """Run both and compare everything that both know."""
    schedule, model = simulate(system, frames, 0, interval=interval, record=True), Model(system, frames, interval)
    close = {"rtol": rtol, "atol": 1e-12}
    assert len(model.left) == frames
    np.testing.assert_allclose(schedule.makespan, model.left[-1], rtol=rtol)
    np.testing.assert_allclose(schedule.left, model.left, **close)
    np.testing.assert_allclose(schedule.entered, model.entered, **close)
    for e, engine in enumerate(system.engines):
        for i, layer in enumerate(system.layers):
            assert schedule.jobs[e, i] == model.done[engine.name, layer.name]
            np.testing.assert_allclose(schedule.busy[e, i], model.busy[engine.name, layer.name], rtol=rtol, atol=1e-9)
    for counted, known in (
        ("waited", [model.waited[e.name] for e in system.engines]),
        ("delayed", [model.delayed[layer.name] for layer in system.layers]),
        ("software", [model.worked_at_software[layer.name] for layer in system.layers]),
    ):
        np.testing.assert_allclose(getattr(schedule.whole[1], counted), known, rtol=rtol, atol=1e-9)
    for p, path in enumerate(system.paths):
        through = [e.name for e in system.engines if e.path == path.name]
        moved = sum(model.done[e, layer.name] * layer.bytes for e in through for layer in system.layers)
        np.testing.assert_allclose(schedule.whole[1].served[p], moved, rtol=1e-9, atol=1e-9)
    names = [c.name for c in system.clusters]
    assert schedule.stolen.tolist() == [[model.stolen[a, b] for b in names] for a in names]
    mine = sorted(zip(schedule.log.who, schedule.log.start, schedule.log.finish, strict=True))
    jobs = sorted((i, a, b) for n, _, a, b in model.worked for i, e in enumerate(system.engines) if e.name == n)
    np.testing.assert_allclose([t for t in mine if t[0] < len(system.engines)], jobs, **close)
    bare = simulate(system, frames, 0, interval=interval)
    assert bare.left.tolist() == schedule.left.tolist()
    for mine_bare, mine_recorded in zip(bare.whole[1], schedule.whole[1], strict=True):
        np.testing.assert_allclose(mine_bare, mine_recorded, rtol=1e-9, atol=1e-9)
    return schedule, model


@st.composite
def systems(draw, shared=True, stealing=True, whole=False):
    """A random system: its shape is drawn, its numbers come from a seed (small whole ones on request: many ties)."""
    rng = random.Random(draw(st.integers(0, 10**6)))
    number = (lambda low, high: float(rng.randint(math.ceil(low), math.ceil(high)))) if whole else rng.uniform
    pick = lambda *choices: draw(st.sampled_from(choices))  # noqa: E731
    fair = shared and not whole
    slots = [Slots("cpu", pick(1, 2)), Slots("mmu", pick(1, 2)), Slots("fair", pick(1, 2), fair=True)]
    paths = [Path("ddr", rng.uniform(1, 6), limit=pick(math.inf, 2.0)), Path("axi", rng.uniform(1, 6))]
    cores = ("cpu", None, "fair") if fair else ("cpu", None) if shared else (None,)

    def engine(name):
        path = pick("ddr", "axi", None) if fair else None
        needs = {"core": pick(*cores), "path": path, "port": pick("mmu", None) if path else None}
        return Engine(
            name, number(0.5, 3), **needs, double_buffer=draw(st.booleans()), overhead=pick(0.0, number(0, 1))
        )

    clusters = [
        Cluster(
            f"C{c}",
            [engine(f"E{c}{e}") for e in range(draw(st.integers(1, 3)))],
            queue=pick(None, None, 1, 2, 5),
            buffer=pick(0, 0, 0, 1, 2),
            thief=pick(True, True, True, False),
        )
        for c in range(draw(st.integers(1, 3)))
    ]
    layers = []
    for i in range(draw(st.integers(1, 4))):
        software = {"before": pick(0.0, number(0, 4)), "after": pick(0.0, number(0, 4)), "core": pick(*cores)}
        work = {"work": number(0.5, 2), "bytes": pick(0.0, rng.uniform(0.5, 6)), "cluster": pick(*clusters).name}
        layers.append(Layer(f"L{i}", jobs=pick(0, 1, 2, 3, 7, 12), **work, **software))
    rule = None
    if stealing and draw(st.booleans()):
        rule = Stealing(
            pick("longest", "first", "random"),
            pick(1, 2, "half", "all", "all/3"),
            overhead=pick(0.0, 0.0, number(0.1, 2)),
            seed=draw(st.integers(0, 3)),
            least=pick(1, 1, 1, 2),
        )
    mailbox = draw(st.sampled_from([1, 2, tuple(rng.randint(1, 3) for _ in layers[1:])]))
    return System(clusters, layers, slots, paths, mailbox=mailbox, in_flight=pick(None, None, 1, 2), stealing=rule)


FRAMES = st.integers(1, 7)


@SETTINGS
@given(systems(), FRAMES)
def test_simpy_finds_the_same_schedule(system, frames):
    agree(system, frames)


@SETTINGS
@given(systems(whole=True), FRAMES)
def test_simpy_finds_the_same_schedule_with_many_ties(system, frames):
    agree(system, frames, rtol=0)


@SETTINGS
@given(systems(shared=False), FRAMES)
def test_simpy_finds_the_same_schedule_where_nothing_is_shared(system, frames):
    agree(system, frames)


@FEW
@given(systems(whole=True), FRAMES, st.integers(0, 30))
def test_simpy_finds_the_same_schedule_for_frames_that_arrive_in_time(system, frames, interval):
    agree(system, frames, interval=float(interval))


# --- Laws ---


def chain(jobs=(), *, seconds=(), count=1, **options):
    """Layers with a cluster of equal engines each: nothing is shared."""
    clusters = [Cluster(f"C{i}", copies(Engine(f"E{i}", s), count)) for i, s in enumerate(seconds)]
    layers = [Layer(f"L{i}", jobs=n, cluster=f"C{i}") for i, n in enumerate(jobs)]
    return System(clusters, layers, **options)


TIMES = st.lists(st.floats(0.01, 10), min_size=1, max_size=6)


@FEW
@given(TIMES, st.integers(1, 3), st.integers(50, 60))
def test_exclusive_stages_deliver_at_the_rate_of_the_slowest(seconds, mailbox, frames):
    system = chain([1] * len(seconds), seconds=seconds, mailbox=mailbox)
    schedule = simulate(system, frames, system.max_in_flight)
    np.testing.assert_allclose(schedule.throughput, 1 / max(seconds), rtol=1e-9)
    np.testing.assert_allclose(schedule.makespan, sum(seconds) + (frames - 1) * max(seconds), rtol=1e-9)
    worked = schedule.results.steady_busy.values.sum(axis=1)
    asked = np.array(seconds) * (frames - 2 * schedule.warmup)
    assert (abs(worked - asked) <= np.array(seconds) * system.max_in_flight).all()
    np.testing.assert_allclose(schedule.utilisation[np.argmax(seconds)], 1, rtol=1e-9)


@FEW
@given(TIMES, st.integers(1, 20))
def test_one_frame_at_a_time_takes_the_sum(seconds, frames):
    schedule = simulate(chain([1] * len(seconds), seconds=seconds, in_flight=1), frames)
    np.testing.assert_allclose(schedule.makespan, frames * sum(seconds), rtol=1e-9)
    np.testing.assert_allclose(schedule.latencies, sum(seconds), rtol=1e-9)
    assert (schedule.entered[1:] == schedule.left[:-1]).all()


@FEW
@given(systems(), st.integers(1, 3))
def test_littles_law_of_the_frames(system, inside):
    """Frames inside = throughput x latency, counted at many moments of the steady part."""
    system = dataclasses.replace(system, in_flight=inside)
    schedule = simulate(system, 400, 40)
    assume(schedule.makespan)
    begin, end = (snapshot.time for snapshot in schedule.steady)
    at = np.linspace(begin, end, 20001)
    present = np.searchsorted(schedule.entered, at, side="right") - np.searchsorted(schedule.left, at, side="right")
    assert present.max() <= inside
    np.testing.assert_allclose(schedule.throughput * schedule.latency, present.mean(), rtol=0.02)


@FEW
@given(systems(), st.integers(1, 6))
def test_littles_law_of_the_queues(system, frames):
    """The integral of a queue's length is the time that jobs spent in it: summed as it goes, or from the record."""
    schedule = simulate(system, frames, 0, record=True)
    for c in range(len(system.clusters)):
        steps = [(0.0, 0), *((t, n) for t, cluster, n in schedule.log.lengths if cluster == c), (schedule.makespan, 0)]
        area = sum(n * (after - t) for (t, n), (after, _) in itertools.pairwise(steps))
        np.testing.assert_allclose(schedule.results["queue"][c] * schedule.window, area, rtol=1e-9, atol=1e-9)


@FEW
@given(systems(), st.integers(1, 6))
def test_work_is_conserved(system, frames):
    """No job is lost or done twice, stolen or not; busy time is the jobs' time; what was moved is what jobs asked."""
    schedule = simulate(system, frames, 0, record=True)
    assert schedule.jobs.sum(axis=0).tolist() == [frames * layer.jobs for layer in system.layers]
    ids = {e.name: i for i, e in enumerate(system.engines)}
    tasks = schedule.tasks.where(schedule.tasks.part == "job", drop=True)
    spent = np.zeros(len(ids))
    for name, length in zip(tasks.engine.values, (tasks.finish - tasks.start).values, strict=True):
        spent[ids[str(name)]] += length
    np.testing.assert_allclose(schedule.busy.sum(axis=1), spent, rtol=1e-9, atol=1e-9)
    alone = np.array([[e.seconds(layer) for layer in system.layers] for e in system.engines])
    least = schedule.jobs * alone
    assert (schedule.busy >= least - 1e-9).all()
    free = [e.path is None and e.core != "fair" for e in system.engines]
    np.testing.assert_allclose(schedule.busy[free], least[free], rtol=1e-9, atol=1e-9)
    for path in system.paths:
        through = np.array([e.path == path.name for e in system.engines])
        moved = (schedule.jobs[through] * [layer.bytes for layer in system.layers]).sum()
        used = schedule.results.resource_utilisation.sel(resource=path.name) * path.rate * schedule.window
        np.testing.assert_allclose(used, moved, rtol=1e-9, atol=1e-9)
    assert (schedule.results.utilisation <= 1 + 1e-9).all()
    assert (schedule.results.resource_utilisation <= 1 + 1e-9).all()


@FEW
@given(systems(), st.integers(8, 14), st.integers(1, 3))
def test_the_steady_part_counts_what_lies_between_its_ends(system, frames, warmup):
    schedule = simulate(system, frames, warmup, record=True)
    begin, end = (snapshot.time for snapshot in schedule.steady)
    assert (begin, end) == (schedule.left[warmup - 1], schedule.left[frames - warmup - 1])
    tasks = schedule.tasks
    inside = np.maximum(np.minimum(tasks.finish, end) - np.maximum(tasks.start, begin), 0)
    tasks = tasks.assign(inside=("task", inside.values))

    def total(key, name, jobs):
        chosen = (tasks[key].values == name) & ((tasks.part.values == "job") == jobs)
        return tasks.inside.values[chosen].sum()

    close = {"rtol": 1e-9, "atol": 1e-9}
    for e, engine in enumerate(system.engines):
        busy = schedule.results.steady_busy.values[e].sum()
        np.testing.assert_allclose(busy, total("engine", engine.name, True), **close)
    software = np.subtract(schedule.steady[1].software, schedule.steady[0].software)
    np.testing.assert_allclose(software, [total("layer", layer.name, False) for layer in system.layers], **close)
    cpu = total("engine", "cpu", False) + sum(total("engine", e.name, True) for e in system.engines if e.core == "cpu")
    used = schedule.results.resource_utilisation.sel(resource="cpu") * schedule.window * system.slots[0].count
    np.testing.assert_allclose(used, cpu, **close)
    for c in range(len(system.clusters)):
        steps = [(0.0, 0), *((t, n) for t, cluster, n in schedule.log.lengths if cluster == c), (math.inf, 0)]
        parts = (n * max(0.0, min(b, end) - max(a, begin)) for (a, n), (b, _) in itertools.pairwise(steps))
        np.testing.assert_allclose(schedule.results["queue"][c] * schedule.window, sum(parts), **close)


def test_a_path_that_never_rests_is_used_all_the_time():
    """Transfers of 2 and 3 bytes of two layers share 1 byte/s: when a frame leaves, another is half way."""
    clusters = [Cluster(name, [Engine(name, 0.0, path="ddr")]) for name in "AB"]
    layers = [Layer("a", 1, bytes=2.0, cluster="A"), Layer("b", 1, bytes=3.0, cluster="B")]
    schedule = simulate(System(clusters, layers, paths=[Path("ddr", 1.0)]), 20, 5)
    assert schedule.results.resource_utilisation.item() == pytest.approx(1, rel=1e-12)
    assert schedule.throughput == pytest.approx(1 / 5)
    snapshot = simulate(System(clusters, layers, paths=[Path("ddr", 1.0)]), 3, 1).steady[0]
    # a alone until 2; then a's second and b's first share until a is done at 6 (2 bytes each); b's last byte shares
    # with a's third frame until 8: 8 bytes in 8 s, one of them of a transfer that is not over.
    assert (snapshot.time, snapshot.served) == (8.0, [8.0])


@FEW
@given(systems(), st.integers(1, 6))
def test_nothing_works_on_two_things_at_once(system, frames):
    schedule = simulate(system, frames, 0, record=True)
    tasks = schedule.tasks
    capacity = {e.name: 1 for e in system.engines} | {s.name: s.count for s in system.slots if not s.fair}
    holds = {e.name: e.core for e in system.engines}
    use = {name: [] for name in capacity}
    for name, start, finish in zip(tasks.engine.values, tasks.start.values, tasks.finish.values, strict=True):
        for user in {str(name), holds.get(str(name))} & set(use):
            use[user] += [(start, 1), (finish, -1)]
    for name, changes in use.items():
        assert max(itertools.accumulate(n for _, n in sorted(changes)), default=0) <= capacity[name]


@FEW
@given(
    st.lists(st.tuples(st.integers(0, 12), st.floats(0.1, 3)), min_size=1, max_size=4),
    st.integers(1, 4),
    st.integers(1, 8),
)
def test_more_engines_of_a_kind_never_slow_a_static_system_without_sharing(layers, count, frames):
    jobs, seconds = zip(*layers, strict=True)
    few, more = (simulate(chain(jobs, seconds=seconds, count=n), frames, 0) for n in (count, count + 1))
    assert (more.left <= few.left * (1 + 1e-12)).all()


@FEW
@given(st.integers(1, 40), st.integers(1, 5), st.floats(0.1, 3), st.integers(1, 6))
def test_equal_engines_work_in_rounds(jobs, count, seconds, frames):
    schedule = simulate(chain([jobs], seconds=[seconds], count=count), frames, 0)
    np.testing.assert_allclose(schedule.makespan, frames * math.ceil(jobs / count) * seconds, rtol=1e-9)


@FEW
@given(systems(stealing=False), st.integers(1, 6))
def test_a_rule_of_stealing_changes_nothing_without_thieves(system, frames):
    clusters = [dataclasses.replace(c, thief=False) for c in system.clusters]
    ruled = dataclasses.replace(system, clusters=clusters, stealing=Stealing())
    assert simulate(ruled, frames, 0).left.tolist() == simulate(system, frames, 0).left.tolist()


@FEW
@given(systems(), st.integers(1, 6))
def test_starting_the_sums_of_a_shared_rate_anew_changes_nothing(system, frames):
    runs = [Run(system, compile_system(system), frames) for _ in range(2)]
    for run, renew in zip(runs, (0.0, math.inf), strict=True):
        run.renew = [renew] * len(run.renew)
        run.run()
    np.testing.assert_allclose(runs[0].left, runs[1].left, rtol=1e-9)


# --- By hand ---


def spans(schedule):
    """Engine -> [(layer, frame, start, finish)]."""
    found: dict[str, list[tuple[object, ...]]] = {}
    t = schedule.tasks
    rows = zip(t.engine.values, t.layer.values, t.frame.values, t.start.values, t.finish.values, strict=True)
    for engine, layer, frame, start, finish in rows:
        found.setdefault(str(engine), []).append((str(layer), int(frame), float(start), float(finish)))
    return found


SLOW, FAST = Engine("slow", 3.0), Engine("fast", 1.0)


def test_two_engines_static_and_stealing_by_hand():
    """a: 3 jobs to the slow cluster (3 s each), b: 2 jobs to the fast one (1 s each), two frames."""
    layers = [Layer("a", jobs=3, cluster="S"), Layer("b", jobs=2, cluster="F")]
    static = System([Cluster("S", [SLOW]), Cluster("F", [FAST])], layers)
    schedule = simulate(static, 2, 0, record=True)
    assert spans(schedule) == {
        "slow": [("a", f, 9.0 * f + 3 * i, 9.0 * f + 3 * i + 3) for f in (0, 1) for i in range(3)],
        "fast": [("b", 0, 9.0, 10.0), ("b", 0, 10.0, 11.0), ("b", 1, 18.0, 19.0), ("b", 1, 19.0, 20.0)],
    }
    assert schedule.busy.tolist() == [[18.0, 0.0], [0.0, 4.0]]
    assert schedule.utilisation.tolist() == [18 / 20, 4 / 20]
    assert (schedule.makespan, schedule.throughput, schedule.latencies.tolist()) == (20.0, 0.1, [11.0, 11.0])

    # 0: two of a's jobs wait in S; fast steals one, and at 1 the other. 3: a is done; b's two jobs keep fast until 5;
    # of a's next three one is with slow until 6. 5: fast steals one of the two that wait. 6: both are done at once,
    # slow is declared first and takes the last. 9: of b's two jobs, one goes to fast; slow is hungry, steals the other.
    stealing = dataclasses.replace(static, stealing=Stealing(amount=1))
    schedule = simulate(stealing, 2, 0, record=True)
    assert spans(schedule) == {
        "fast": [
            ("a", 0, 0.0, 1.0),
            ("a", 0, 1.0, 2.0),
            ("b", 0, 3.0, 4.0),
            ("b", 0, 4.0, 5.0),
            ("a", 1, 5.0, 6.0),
            ("b", 1, 9.0, 10.0),
        ],
        "slow": [("a", 0, 0.0, 3.0), ("a", 1, 3.0, 6.0), ("a", 1, 6.0, 9.0), ("b", 1, 9.0, 12.0)],
    }
    assert schedule.stolen.tolist() == [[0, 1], [3, 0]]
    assert schedule.steals.tolist() == [[0, 1], [3, 0]]
    assert schedule.left.tolist() == [5.0, 12.0]
    # S: 2 at 0, 1 at once (stolen), 0 from 1 on; 2 from 3 to 5, 1 to 6. F: 1 from 3 to 4.
    assert schedule.queues([0.0, 0.5, 1.0, 3.0, 4.9, 5.0, 6.0, 12.0]).values.tolist() == [
        [1, 1, 0, 2, 2, 1, 0, 0],
        [0, 0, 0, 1, 0, 0, 0, 0],
    ]
    assert schedule.results["queue"].values.tolist() == [(1 + 2 * 2 + 1) / 12, 1 / 12]


def test_overhead_delays_stolen_jobs_by_hand():
    """4 jobs of 3 s to slow; fast takes half of the 3 that wait (2), which reach it at 0.5, and the last at 2.5."""
    clusters = [Cluster("S", [SLOW]), Cluster("F", [FAST])]
    system = System(clusters, [Layer("a", jobs=4, cluster="S")], stealing=Stealing(overhead=0.5))
    schedule = simulate(system, 1, record=True)
    # At 2.5 fast is hungry again and takes the last: it is under way when slow asks for it at 3.
    assert spans(schedule) == {
        "slow": [("a", 0, 0.0, 3.0)],
        "fast": [("a", 0, 0.5, 1.5), ("a", 0, 1.5, 2.5), ("a", 0, 3.0, 4.0)],
    }


def first_steal(rule, second=3):
    """A thief that is busy with its own 3 jobs of 4 s until 12, when 1 job waits in A and 2 in B (3 s each)."""
    clusters = [Cluster(name, [Engine(name.lower(), 3.0)], thief=False) for name in "AB"]
    clusters.append(Cluster("F", [Engine("f", {"own": 4.0, "job": 1.0})]))
    layers = [
        Layer("own", 1, job_class="own", cluster="F"),
        Layer("one", 2, cluster="A"),
        Layer("two", second, cluster="B"),
    ]
    schedule = simulate(System(clusters, layers, stealing=rule), 3, record=True)
    return schedule.log.steals[0]


def test_choice_of_the_victim_by_hand():
    assert first_steal(Stealing("longest", 1)) == (12.0, 2, 1, 1)
    assert first_steal(Stealing("longest", 1), second=2) == (12.0, 2, 0, 1)  # the first of equals
    assert first_steal(Stealing("first", 1)) == (12.0, 2, 0, 1)
    assert first_steal(Stealing("first", "all", least=2)) == (12.0, 2, 1, 2)
    draws = [first_steal(Stealing("random", 1, seed=seed)) for seed in range(12)]
    assert {victim for _, _, victim, _ in draws} == {0, 1}
    assert draws == [first_steal(Stealing("random", 1, seed=seed)) for seed in range(12)]


def test_amounts():
    assert [Stealing(amount="all/3").jobs(n) for n in (1, 3, 4, 7)] == [1, 1, 2, 3]
    assert [Stealing(amount="half").jobs(n) for n in (1, 2, 3, 8)] == [1, 1, 2, 4]
    assert [Stealing(amount=3).jobs(n) for n in (1, 3, 8)] == [1, 3, 3]
    assert Stealing(amount="all").jobs(8) == 8


def test_transfers_share_a_path_by_hand():
    """a moves 2 bytes and b 1 byte over a path of 1 byte/s, two frames; computing takes twice as long for a."""

    def finish(double, seconds=0.5, limit=math.inf, port=None):
        engines = [Engine(n, seconds, path="ddr", port=port, double_buffer=double) for n in ("one", "two")]
        clusters = [Cluster("A", engines[:1]), Cluster("B", engines[1:])]
        layers = [Layer("a", 1, 2.0, bytes=2.0, cluster="A"), Layer("b", 1, bytes=1.0, cluster="B")]
        slots, paths = [Slots("mmu")], [Path("ddr", 1.0, limit)]
        schedule = simulate(System(clusters, layers, slots, paths), 2, 0, record=True)
        assert schedule.results.resource_utilisation.sel(resource="ddr") == 6 / schedule.makespan
        return {key: [row[3] for row in rows] for key, rows in spans(schedule).items()}

    # a: 2 bytes alone until 2; then frame 1 of a and frame 0 of b share: b is done at 4, a at 5; then b alone until 6.
    assert finish(double=True) == {"one": [2.0, 5.0], "two": [4.0, 6.0]}
    # Computing takes 4 s (a) and 2 s (b): nothing but computing is seen.
    assert finish(double=True, seconds=2.0) == {"one": [4.0, 8.0], "two": [6.0, 10.0]}
    # Without double buffer: a 2 + 1 until 3; together until b has its byte, at 5, a at 6; both compute: 5.5 and 7.
    # b's second: 7 + 1 + 0.5.
    assert finish(double=False) == {"one": [3.0, 7.0], "two": [5.5, 8.5]}
    # At most 0.5 byte/s each: a takes 4 s, b 2 s, and neither slows the other.
    assert finish(double=True, limit=0.5) == {"one": [4.0, 8.0], "two": [6.0, 10.0]}
    # Through one port, one after the other: at 2 a's thread goes on last (b was woken first, but a pushes first).
    assert finish(double=True, port="mmu") == {"one": [2.0, 4.0], "two": [5.0, 6.0]}


def test_a_core_is_shared_in_line_by_hand():
    """One core: software of 1 s before, an engine that needs the core 2 s for each of 2 jobs, 3 s after."""
    layer = Layer("a", 2, before=1.0, after=3.0, cluster="N", core="cpu")
    neon = Cluster("N", copies(Engine("neon", 2.0, core="cpu"), 2))
    schedule = simulate(System([neon], [layer], [Slots("cpu")]), 2, 0, record=True)
    assert spans(schedule) == {
        "cpu": [("a", 0, 0.0, 1.0), ("a", 0, 5.0, 8.0), ("a", 1, 8.0, 9.0), ("a", 1, 13.0, 16.0)],
        "neon 1": [("a", 0, 1.0, 3.0), ("a", 1, 9.0, 11.0)],
        "neon 2": [("a", 0, 3.0, 5.0), ("a", 1, 11.0, 13.0)],
    }
    results = schedule.results
    assert results.waited.values.tolist() == [0.0, 4.0]
    assert results.resource_utilisation.sel(resource="cpu") == 1
    assert (results.software.item(), results.delayed.item()) == (8.0, 0.0)
    assert [row[0] for row in schedule.bars()].count("cpu 1") == 4  # 5 to 8 and 8 to 9 are of two frames

    # With two cores they work side by side; with one that is fair, too, at half the speed.
    wide = simulate(System([neon], [layer], [Slots("cpu", 2)]), 1, 0)
    fair = simulate(System([neon], [layer], [Slots("cpu", fair=True)]), 1, 0)
    assert (wide.makespan, fair.makespan) == (1 + 2 + 3, 1 + 4 + 3)
    assert simulate(System([neon], [layer], [Slots("cpu", 2, fair=True)]), 1, 0).makespan == 6
    assert fair.results.resource_utilisation.sel(resource="cpu") == 1


def test_threads_go_on_in_the_order_of_waking_by_hand():
    """b is slow, a waits behind it, c before it. When b hands on, c is woken first, then a: c has the core first."""
    layers = [Layer("a", after=1.0, core="cpu"), Layer("b", after=9.0), Layer("c", after=2.0, core="cpu")]
    schedule = simulate(System([], layers, [Slots("cpu")]), 4, 0, record=True)
    # a: frames 0 and 1 until 2, 2 until 3; then it is blocked until b has taken frame 1, at 10.
    assert [row for row in spans(schedule)["cpu"] if 9 < row[2] < 19] == [("c", 0, 10.0, 12.0), ("a", 3, 12.0, 13.0)]
    assert schedule.results.busy.shape == (0, 3)
    assert schedule.results.delayed.values.tolist() == [2.0, 0.0, 0.0]
    assert schedule.results.software.values.tolist() == [4.0, 36.0, 8.0]


def test_full_queues_and_mailboxes_hold_threads_by_hand():
    """a (1 s) runs ahead of b (4 s) by one frame in each mailbox place, and then waits."""
    system = chain([1, 1], seconds=[1.0, 4.0], mailbox=2)
    # b takes frame 0 at 1; frames 1 and 2 fill the mailbox at 2 and 3; 3 is done at 4, and goes in when b takes 1 at 5.
    assert simulate(system, 6, 0).entered.tolist() == [0.0, 1.0, 2.0, 3.0, 5.0, 9.0]
    # Two layers push 5 jobs each to one engine (1 s) behind a queue of 1. At 5, a's next frame is first: one job with
    # the engine, one in the queue, one more when that has gone, at 6; then b and a take turns.
    cluster = Cluster("C", [Engine("e", 1.0)], queue=1)
    system = System([cluster], [Layer("a", 5, cluster="C"), Layer("b", 5, cluster="C")])
    schedule = simulate(system, 2, 0, record=True)
    assert [f"{layer}{frame}" for layer, frame, _, _ in spans(schedule)["e"]] == [
        *["a0"] * 5,
        *["a1"] * 3,
        *["b0", "a1", "b0", "a1", "b0", "b0", "b0"],
        *["b1"] * 5,
    ]


def test_buffers_keep_jobs_with_the_engine_that_has_them():
    """3 jobs, engines of 4 s and 1 s: with room for 1 more, the slow one gets the first and the third."""
    layer = Layer("a", 3, cluster="C")
    engines = (Engine("slow", 4.0), Engine("fast", 1.0))
    assert simulate(System([Cluster("C", engines)], [layer]), 1).makespan == 4
    assert simulate(System([Cluster("C", engines, buffer=1)], [layer]), 1).makespan == 8


def test_frames_that_arrive_slowly_never_wait():
    schedule = simulate(chain([1, 1], seconds=[1.0, 2.0]), 5, 0, interval=2.5)
    assert schedule.entered.tolist() == [0.0, 2.5, 5.0, 7.5, 10.0]
    assert schedule.latencies.tolist() == [3.0] * 5
    assert simulate(chain([1, 1], seconds=[1.0, 2.0]), 30, 10, interval=2.5).throughput == pytest.approx(1 / 2.5)


def test_engine_times():
    layer = Layer("a", 1, 3.0, job_class="big", cluster="C")
    assert Engine("e", 2.0, overhead=1.0).seconds(layer) == 7
    assert Engine("e", {"big": 4.0, "small": 1.0}).seconds(layer) == 12
    table = np.array([5.0, 6.0])
    assert Engine("e", lambda item: table[int(item.work) - 2], overhead=1.0).seconds(layer) == 7


# --- Results, pictures, mistakes ---


def mixed(**options):
    cpu, ddr = Slots("cpu", 2), Path("ddr", 1e6)
    clusters = [
        Cluster("C0", copies(Engine("neon", 3e-3, kind="neon", core="cpu"), 2)),
        Cluster("C1", copies(Engine("pe", 1e-3, kind="fpga", path="ddr"), 3)),
    ]
    layers = [
        Layer("conv1", 6, cluster="C0", before=1e-3, core="cpu"),
        Layer("pool", after=2e-3, core="cpu"),
        Layer("conv2", 9, bytes=1e3, cluster="C1"),
    ]
    return System(clusters, layers, [cpu], [ddr], stealing=Stealing(), name="mixed", **options)


def test_results_are_labelled():
    schedule = simulate(mixed(), 12, 3, record=True)
    results = schedule.results
    assert all({"units", "long_name"} <= set(array.attrs) for array in results.data_vars.values())
    assert results.busy.groupby("engine_cluster").sum().sizes == {"engine_cluster": 2, "layer": 3}
    assert results.kind.values.tolist() == ["neon", "neon", "fpga", "fpga", "fpga"]
    assert results.throughput == 6 / (schedule.left[8] - schedule.left[2])
    assert results.mean_latency == pytest.approx(results.latency[3:9].mean().item())
    assert results.cluster_utilisation[1] == pytest.approx(results.utilisation[2:].mean().item())
    assert Counter(schedule.tasks.part.values.tolist()) == {"job": 12 * 15, "before": 12, "after": 12}
    assert str(schedule).startswith("mixed: 12 frames in ")


def test_what_was_not_recorded_is_said_in_one_line():
    schedule = simulate(mixed(), 3)
    for what in (lambda: schedule.tasks, schedule.queues, schedule.gantt):
        with pytest.raises(HetcnnError, match=r"not recorded; use simulate\(\.\.\., record=True\)"):
            what()
    assert "<img" not in schedule._repr_html_()


def test_the_picture_shows_every_engine_and_core():
    import matplotlib.pyplot as plt

    schedule = simulate(mixed(), 6, record=True)
    ax = schedule.gantt(frames=2)
    rows = [label.get_text() for label in ax.get_yticklabels()]
    assert rows[:5] == ["neon 1", "neon 2", "pe 1", "pe 2", "pe 3"]
    assert set(rows[5:]) <= {"cpu 1", "cpu 2"}
    assert ax.get_xlim() == (0.0, schedule.left[1])
    plt.close("all")
    bars = schedule.bars()
    tasks = schedule.tasks
    total = (tasks.finish - tasks.start).sum().item()
    assert sum(finish - start for _, _, start, finish in bars) == pytest.approx(total)
    html = schedule._repr_html_()
    assert "data:image/png;base64," in html
    assert not plt.get_fignums()


def test_a_fairly_shared_core_has_rows_for_threads():
    """Three threads of 1 s on two shared places run at 2/3 of their speed: rows for three, on two cores."""
    layers = [Layer(name, before=1.0, core="cpu") for name in "abc"]
    rows = {
        fair: simulate(System([], layers, [Slots("cpu", 2, fair=fair)]), 6, 0, record=True).bars()
        for fair in (False, True)
    }
    assert {row[0] for row in rows[False]} == {"cpu 1", "cpu 2"}
    assert {row[0] for row in rows[True]} == {"cpu thread 1", "cpu thread 2", "cpu thread 3"}


def test_repeated_runs_are_the_same():
    once, again = (simulate(mixed(), 20, record=True) for _ in range(2))
    assert once.results.identical(again.results)
    assert once.tasks.identical(again.tasks)


PE = Engine("pe", 1.0)
C0 = Cluster("C0", [PE])
CONV = Layer("conv1", 1, cluster="C0")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: System([C0], [Layer("conv1", 1, cluster="C1")]), "unknown cluster of layer 'conv1': 'C1'; Known: C0"),
        (lambda: System([C0], [Layer("conv1", 1)]), "layer 'conv1': 1 jobs and no cluster; choose among C0"),
        (lambda: System([], [CONV]), "unknown cluster of layer 'conv1': 'C0'"),
        (lambda: System([C0], []), "system: expected at least 1 layer, got none"),
        (lambda: System([C0, C0], [CONV]), "two clusters named 'C0'"),
        (lambda: System([C0, Cluster("C1", [PE])], [CONV]), "two engines named 'pe'"),
        (lambda: System([C0], [CONV, CONV]), "two layers named 'conv1'"),
        (lambda: System([C0], [CONV], [Slots("a")], [Path("a", 1.0)]), "two resources named 'a'"),
        (lambda: System([C0], [CONV], mailbox=0), "mailbox: expected a whole number from 1 up, got 0"),
        (lambda: System([C0], [CONV], mailbox=[1]), "1 mailbox depths for 0 gaps"),
        (lambda: System([C0], [CONV], in_flight=0), "in_flight: expected a whole number from 1 up, got 0"),
        (lambda: System([C0], [PE]), "system: layers: expected Layer objects, got Engine"),
        (lambda: Cluster("C0", []), "cluster 'C0': expected at least 1 engine, got none"),
        (lambda: Cluster("C0", [PE], queue=0), "cluster 'C0': queue: expected a whole number from 1 up, got 0"),
        (lambda: Cluster("C0", [PE], buffer=-1), "cluster 'C0': buffer: expected a whole number from 0 up, got -1"),
        (lambda: Slots("cpu", 0), "slots 'cpu': count: expected a whole number from 1 up, got 0"),
        (lambda: Slots("cpu", 1.5), "slots 'cpu': count: expected a whole number from 1 up, got 1.5"),
        (lambda: Path("ddr", 0), "path 'ddr': rate: expected a finite number of B/s above 0, got 0"),
        (lambda: Path("ddr", math.nan), "path 'ddr': rate: expected a finite number of B/s above 0, got nan"),
        (lambda: Engine("pe", -1.0), "engine 'pe': time: expected a finite number of seconds from 0 up, got -1"),
        (lambda: Engine("pe", math.nan), "engine 'pe': time: expected a finite number of seconds from 0 up, got nan"),
        (lambda: Engine("pe", {"a": math.inf}), "engine 'pe': time of job class 'a': expected a finite number"),
        (lambda: Engine("pe", "1 ms"), "engine 'pe': time: expected a finite number of seconds from 0 up, got '1 ms'"),
        (lambda: Engine(" ", 1.0), "engine: expected a name, got ' '"),
        (lambda: Engine("pe", 1.0, port="mmu"), "engine 'pe': port 'mmu' without a path"),
        (lambda: Layer("a", -1), "layer 'a': jobs: expected a whole number from 0 up, got -1"),
        (lambda: Layer("a", 1, math.nan), "layer 'a': work: expected a finite number of units of work from 0 up"),
        (lambda: Layer("a", bytes=-1), "layer 'a': bytes: expected a finite number of bytes from 0 up, got -1"),
        (lambda: Layer("a", before=-1), "layer 'a': before: expected a finite number of seconds from 0 up, got -1"),
        (lambda: Layer("a", after=math.nan), "layer 'a': after: expected a finite number of seconds from 0 up"),
        (lambda: Stealing("longst"), "unknown choice of victim 'longst'; did you mean 'longest'?"),
        (lambda: Stealing(amount="some"), "amount 'some'; expected 1, 2, ..., 'half', 'all' or 'all/3'"),
        (lambda: Stealing(amount="all/0"), "amount 'all/0'; expected"),
        (lambda: Stealing(amount=0), "amount: expected a whole number from 1 up, got 0"),
        (lambda: Stealing(overhead=-1), "overhead: expected a finite number of seconds from 0 up, got -1"),
        (lambda: copies(PE, -1), "copies of engine 'pe': expected a whole number from 0 up, got -1"),
        (lambda: simulate(System([C0], [CONV]), 0), "frames: expected a whole number from 1 up, got 0"),
        (lambda: simulate(System([C0], [CONV]), 4, 2), "warmup: 2 at either end leave nothing of 4 frames; at most 1"),
        (lambda: simulate(System([C0], [CONV]), 4, interval=-1), "interval: expected a finite number of seconds"),
    ],
)
def test_mistakes_are_one_line(make, message):
    with pytest.raises(HetcnnError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def one(engine, layer=CONV, **options):
    return System([Cluster("C0", [engine])], [layer], [Slots("cpu"), Slots("fair", fair=True)], **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: one(Engine("pe", 1.0, core="cpus")), "unknown core of engine 'pe': 'cpus'; did you mean 'cpu'?"),
        (lambda: one(Engine("pe", 1.0, path="ddr")), "unknown path of engine 'pe': 'ddr'"),
        (lambda: one(PE, Layer("a", before=1.0, core="cup")), "unknown core of layer 'a': 'cup'; did you mean 'cpu'?"),
        (lambda: one(Engine("pe", {"conv": 1.0})), "unknown job class (layer 'conv1' on engine 'pe') 'job'"),
        (lambda: one(Engine("pe", lambda _: math.nan)), "engine 'pe': time of layer 'conv1': expected a finite"),
        (
            lambda: one(Engine("pe", 1.0, core="cpu", path="d", port="cpu"), paths=[Path("d", 1.0)]),
            "engine 'pe': port 'cpu' is a core of engines too",
        ),
        (
            lambda: one(Engine("pe", 1.0, path="d", port="fair"), paths=[Path("d", 1.0)]),
            "engine 'pe': port 'fair' is fair; use exclusive slots of its own",
        ),
    ],
)
def test_mistakes_between_parts_are_one_line(make, message):
    with pytest.raises(HetcnnError) as caught:
        make()
    assert message in str(caught.value)


def test_only_clusters_that_may_get_a_job_must_have_a_time_for_it():
    clusters = [Cluster("C0", [Engine("a", {"x": 1.0})]), Cluster("C1", [Engine("b", {"y": 1.0})])]
    layers = [Layer("one", 1, job_class="x", cluster="C0"), Layer("two", 1, job_class="y", cluster="C1")]
    assert simulate(System(clusters, layers), 1).makespan == 2
    with pytest.raises(HetcnnError, match=r"unknown job class \(layer 'one' on engine 'b'\) 'x'"):
        System(clusters, layers, stealing=Stealing())
    alone = [dataclasses.replace(cluster, thief=False) for cluster in clusters]
    assert simulate(System(alone, layers, stealing=Stealing()), 1).makespan == 2


def test_heavy_imports_wait_for_first_use():
    heavy = "{'xarray', 'matplotlib', 'scipy', 'pandas'}"
    code = f"import sys, hetcnn.simulate; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rate_is_the_slope_of_the_exits():
    pe = Engine("pe", time=2.0)
    regular = simulate(System([Cluster("C0", [pe])], [Layer("a", jobs=3, cluster="C0")]), 12, 2)
    assert regular.rate == pytest.approx(regular.throughput) == pytest.approx(1 / 6)
    # exits at 1, 2 and 4 s between two frames that do not count: (-1 x 1 + 1 x 4) / 2 seconds a frame
    uneven = dataclasses.replace(regular, frames=5, warmup=1, left=np.array([0.0, 1.0, 2.0, 4.0, 9.0]))
    assert uneven.rate == pytest.approx(2 / 3)
    alone = simulate(System([Cluster("C0", [pe])], [Layer("a", jobs=3, cluster="C0")]), 1, 0)
    assert alone.rate == alone.throughput == pytest.approx(1 / 6)
