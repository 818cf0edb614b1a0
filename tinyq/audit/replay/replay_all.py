"""Replay a whole run, cut at its checkpoints, several parts at a time."""
import dataclasses
import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed

from tinyq.audit.replay.replay import NOTHING, Replayed, replay_stretch, stretches_of_all
from tinyq.audit.replay.rerun import Source
from tinyq.kernels.jit.cores import usable_cores
from tinyq.output.work import Work


def replay_all(source: Source, jobs: int = 1) -> Replayed:
    """Compare every record that depends on the configuration and the data; AuditMismatch for the first difference.

    jobs: processes, each of which repeats one part between two checkpoints at a time.
    """
    stretches = stretches_of_all(source)
    with Work("replay", source.history.steps) as work:
        if jobs > 1 and len(stretches) > 1:
            return _replay_parts(source, len(stretches), jobs, work)
        done = NOTHING
        for stretch in stretches:
            done += replay_stretch(source, stretch, on_step=work.advance)
        return done


def _replay_parts(source: Source, count: int, jobs: int, work: Work) -> Replayed:
    done = NOTHING
    threads = source.changes.get("threads") or max(1, usable_cores() // jobs)
    mine = dataclasses.replace(source, changes={**source.changes, "threads": threads})
    # Not forked: a fork inherits the kernels' threads, which do not run in it.
    with ProcessPoolExecutor(min(jobs, count), multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(_replay_part, mine.folder, mine.changes, mine.trust, i) for i in range(count)]
        try:
            for part in as_completed(running):
                done += part.result()
                work.advance(part.result().compared)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return done


def _replay_part(folder, changes, trust, number):
    source = Source(folder, changes, trust)
    return replay_stretch(source, stretches_of_all(source)[number])
