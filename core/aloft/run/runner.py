"""Works out what is left of a run: finds it by keys, hands it to an executor, writes it down."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any

from aloft.jsonl import RecordFile, encode_record
from aloft.records import Rejection
from aloft.run.context import Context, Inputs, Shared
from aloft.run.executors.local import Executor, LocalExecutor
from aloft.run.executors.worker import Task
from aloft.run.graph import Graph
from aloft.run.plan import (
    Fingerprints,
    Keys,
    ModelFingerprints,
    PartPlace,
    Plan,
    content_key,
    partitions,
    plan,
)
from aloft.run.stage import Setup, Stage
from aloft.run.store import RunStore, Tally, Writer

Accept = Callable[[RecordFile[Any]], None]
logger = logging.getLogger(__name__)


def accept_all(records: RecordFile[Any]) -> None:
    """Accept any records."""


class Runner:
    """Works out the stages of one run.

    Args:
        setup: What the run is asked to do.
        shared: Its folder, models and progress.
        executor: Works out partitions; None: this process.
        fingerprints: Names models; None: by their weights.

    Attributes:
        setup, graph, store: Of the run.
    """

    def __init__(
        self,
        setup: Setup,
        shared: Shared,
        executor: Executor | None = None,
        fingerprints: Fingerprints | None = None,
    ) -> None:
        self.setup = setup
        self.shared = shared
        self.store: RunStore = shared.store
        self.executor = executor or LocalExecutor()
        self._fingerprints = fingerprints or ModelFingerprints(shared)
        self._arrange()

    def _arrange(self) -> None:
        self.graph = Graph(self.setup)
        self.keys = Keys(self.graph, self.store, self._fingerprints)

    def arrange(self, setup: Setup) -> None:
        """Take up another setup, such as one with a log."""
        self.setup = setup
        self._arrange()

    # ---- what the user gave

    def take_in(self, source: str, given: Any, accept: Accept = accept_all) -> None:
        """Read what the user gave; outputs that it leaves as they were stay as they are.

        Args:
            source: Names the stage that reads it.
            given: What the user gave.
            accept: Called with new records before they replace others; may raise.

        Raises:
            DataError: nothing of it can be used.
        """
        self.shared.given[source] = given
        (one,) = (one for one in self.graph.stages.values() if one.source == source)
        started = time.monotonic()
        context = Context(one, self.shared)
        digest = sha256()
        with self.store.writing(one) as writer:
            for outcome in one.work(context, Inputs(one, self.graph, self.store)):
                if not isinstance(outcome, Rejection):
                    digest.update(encode_record(outcome))
                writer.add(outcome)
            key = content_key(one, digest.hexdigest())
            if self._key_of(one) == key and self.store.is_done(one, key):
                self._write_rejections(one, writer)
            else:
                accept(writer.preview())
                tally = writer.finish()
                tally.seconds = time.monotonic() - started
                self.store.write_manifest(one, key, tally)
        self.keys.forget()
        self.shared.progress(one.doing, 1, 1)

    def _key_of(self, stage: Stage) -> Any:
        return (self.store.manifest(stage.name) or {}).get("key")

    def _write_rejections(self, stage: Stage, writer: Writer) -> None:
        """Files that cannot be read may differ where documents do not."""
        tally = writer.finish()
        known = self.store.facts(stage.name)
        tally.seconds = known["seconds"]
        self.store.write_manifest(stage, known["key"], tally)

    # ---- stages

    def plan(self, wanted: Collection[str]) -> Plan:
        """What is left to do for some stages, groups or outputs; nothing is written."""
        return plan(self.graph, self.store, self.keys, wanted)

    def do(self, *wanted: str) -> None:
        """Work out stages, groups or outputs, with all that they need."""
        names = set(wanted)
        left = list(self.plan(names).missing)
        targets = {one.name for one in left}
        while left:
            some = self._next(left)
            left = [one for one in left if one not in some]
            some = [one for one in some if not self.store.is_done(one, self.keys.of(one))]
            if not some:
                continue  # worked out on the way, for a follower
            if some[0].resources.is_task:
                self._work_out_tasks(some)
                continue
            (one,) = some
            follower = self._follower(one, targets)
            if follower is not None:
                self.do(*self._needed_by_follower(follower))
            self._work_out(one, follower)

    def read(self, output: str) -> Any:
        """An output, worked out where it is missing: records, a folder's path or a document."""
        self.do(output)
        return self.store.read(self.graph.maker(output).outputs[output])

    def records(self, output: str) -> RecordFile[Any]:
        """An output of records, worked out where it is missing."""
        found = self.read(output)
        assert isinstance(found, RecordFile)  # noqa: S101 - the caller knows what it asks for
        return found

    def _next(self, left: Sequence[Stage]) -> list[Stage]:
        """The first stage that needs none of the others, or all trainings that need none.

        Trainings come last, when nothing else can be worked out, so that as many as the graph
        allows are there to be worked out side by side.
        """
        names = {one.name for one in left}
        ready = [
            one
            for one in left
            if names.isdisjoint(self.graph.maker(name).name for name in one.inputs)
        ]
        return [one for one in ready if not one.resources.is_task][:1] or ready

    def _follower(self, one: Stage, targets: Collection[str]) -> Stage | None:
        """The stage that works on the same records right after, where its turn will come."""
        for other in self.graph.stages.values():
            if other.affinity and other.affinity.stage == one.name and other.name in targets:
                return other
        return None

    def _needed_by_follower(self, follower: Stage) -> Iterator[str]:
        """Its inputs but for those that are divided, which come from the stage it follows."""
        assert follower.partition is not None  # noqa: S101 - it follows partitions
        return (name for name in follower.inputs if name not in follower.partition.over)

    def _work_out(self, one: Stage, follower: Stage | None) -> None:
        started = time.monotonic()
        if one.partition is None:
            tally = self._work_out_whole(one)
        else:
            tally = self._work_out_parts(one, follower)
        tally.seconds = max(tally.seconds, time.monotonic() - started)
        self._complete(one, tally)

    def _complete(self, one: Stage, tally: Tally) -> None:
        """Write the manifest of a stage whose outputs are there, and tidy up after it."""
        self.store.write_manifest(one, self.keys.of(one), tally)
        self.store.forget_parts(one.name)
        self.store.forget_scratch(one.name)
        self.shared.memo.clear()
        if one.partition is None:
            self.shared.progress(one.doing, 1, 1)
        kept, dropped = sum(tally.kept.values()), sum(tally.dropped.values())
        logger.info("%s: kept %d, dropped %d", one.name, kept, dropped)

    def _work_out_whole(self, one: Stage) -> Tally:
        context = Context(one, self.shared, key=self.keys.of(one))
        with self.store.writing(one) as writer:
            for outcome in one.work(context, Inputs(one, self.graph, self.store)):
                writer.add(outcome)
            tally = writer.finish()
        tally.add_usage(context.meter.by_role, 0.0)
        return tally

    def _work_out_tasks(self, stages: Sequence[Stage]) -> None:
        """Work out stages that are one task each; the executor may do so side by side."""
        tasks = [Task(stage=one.name, key=self.keys.of(one)) for one in stages]
        for result in self.executor.whole(tasks, self.graph, self.shared):
            one = self.graph.stages[result.task.stage]
            with self.store.writing(one) as writer:
                for outcome in result.outcomes:
                    writer.add(outcome)
                tally = writer.finish()
            tally.add_usage(result.usage, result.seconds)
            self._complete(one, tally)

    def _work_out_parts(self, one: Stage, follower: Stage | None) -> Tally:
        places = list(partitions(one, self.graph, self.store, self.keys))
        missing = [place for place in places if not self.store.has_part(one.name, place.key)]
        total = sum(place.stop - place.start for place in places)
        done = total - sum(place.stop - place.start for place in missing)
        if len(missing) != 1:  # the first of several is done after a while
            self.shared.progress(one.doing, done, total)
        tasks = self._tasks(one, follower, missing)
        for result in self.executor.run(tasks, self.graph, self.shared):
            task = result.task
            self.store.write_part(one.name, task.part, result.outcomes, result.tally)
            done += task.stop - task.start
            self.shared.progress(one.doing, done, total)
        with self.store.writing(one) as writer:
            tally = writer.tally
            for place in places:
                outcomes, part = self.store.read_part(one, place.key)
                tally.add_usage(part.usage, part.seconds)
                for outcome in outcomes:
                    writer.add(outcome)
            return writer.finish()

    def _tasks(
        self, one: Stage, follower: Stage | None, missing: Iterable[PartPlace]
    ) -> list[Task]:
        key = self.keys.of(one)
        follows: dict[str, str] = {}
        if follower is not None:
            follows = {"follower": follower.name, "follower_key": self.keys.of(follower)}
        return [
            Task(
                stage=one.name,
                key=key,
                part=place.key,
                over=place.over,
                start=place.start,
                stop=place.stop,
                **follows,
            )
            for place in missing
        ]
