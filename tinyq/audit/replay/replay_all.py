"""Replay a whole run, cut at its checkpoints, several parts at a time."""
import dataclasses
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed

from tinyq.audit.replay.replay import NOTHING, Replayed, replay_stretch, stretches_of_all
from tinyq.audit.replay.rerun import Source
from tinyq.audit.time_left import TimeLeft
from tinyq.kernels.jit.cores import usable_cores


def replay_all(source: Source, jobs: int = 1) -> Replayed:
    """Compare every record that depends on the configuration and the data; AuditMismatch for the first difference.

    jobs: processes, each of which repeats one part between two checkpoints at a time.
    """
    stretches = stretches_of_all(source)
    left, done = TimeLeft(source.history.steps, "replay"), NOTHING
    if jobs == 1 or len(stretches) == 1:
        for stretch in stretches:
            done += replay_stretch(source, stretch, on_step=left.advance)
        return done
    threads = source.changes.get("threads") or max(1, usable_cores() // jobs)
    mine = dataclasses.replace(source, changes={**source.changes, "threads": threads})
    # Not forked: a fork inherits the kernels' threads, which do not run in it.
    with ProcessPoolExecutor(min(jobs, len(stretches)), multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(_replay_part, mine.folder, mine.changes, mine.trust, i) for i in range(len(stretches))]
        try:
            for part in as_completed(running):
                done += part.result()
                left.advance(part.result().compared)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return done


def _replay_part(folder, changes, trust, number):
    source = Source(folder, changes, trust)
    return replay_stretch(source, stretches_of_all(source)[number])
