"""The generation thread takes jobs in turn, and none harms another."""

import threading
import time
from itertools import islice

import pytest

from engine.server.errors import (
    QueueFullError,
    ShuttingDownError,
    SlowClientError,
    UnavailableError,
)
from engine.server.jobs.generation_thread import GenerationThread
from engine.server.jobs.job import BOUND, Client

never_gone = Client()


@pytest.fixture
def died():
    return threading.Event()


@pytest.fixture
def worker(died):
    worker = GenerationThread(queue_size=2, stuck_after=0.2, patience=0.2, on_death=died.set)
    worker.start()
    yield worker
    worker.stop(grace=5)


def blocking(release):
    """Work that begins, waits for `release`, and answers once."""

    def work(job):
        release.wait(10)
        yield "done"

    return work


def test_results_arrive_in_order_while_the_work_goes_on(worker):
    go_on = threading.Event()

    def work(job):
        yield 1
        go_on.wait(10)
        yield 2

    results = worker.submit(work, never_gone)
    assert next(results) == 1
    assert not go_on.is_set()
    go_on.set()
    assert list(results) == [2]


def test_an_error_in_one_job_reaches_its_client_alone(worker):
    def failing(job):
        yield 1
        raise ValueError("broken")

    results = worker.submit(failing, never_gone)
    assert next(results) == 1
    with pytest.raises(ValueError, match="broken"):
        next(results)
    assert worker.call(lambda job: 7) == 7


def test_a_full_queue_is_refused_at_once(worker):
    release = threading.Event()
    running = worker.submit(blocking(release), never_gone)
    while worker.queue_depth:
        time.sleep(0.001)
    waiting = [worker.submit(blocking(release), never_gone) for _ in range(2)]
    with pytest.raises(QueueFullError, match="2 requests wait"):
        worker.submit(blocking(release), never_gone)
    release.set()
    assert [list(job) for job in (running, *waiting)] == [["done"]] * 3


def test_clients_that_have_gone_leave_their_place_in_the_queue(worker):
    release, gone = threading.Event(), threading.Event()
    worker.submit(blocking(release), never_gone)
    while worker.queue_depth:
        time.sleep(0.001)
    left = [worker.submit(blocking(release), Client(gone.is_set)) for _ in range(2)]
    gone.set()
    last = worker.submit(blocking(release), never_gone)
    assert [list(job) for job in left] == [[], []]
    release.set()
    assert list(last) == ["done"]


def test_a_call_whose_client_is_gone_is_unavailable(worker):
    with pytest.raises(UnavailableError, match="its client is gone"):
        worker.call(lambda job: 7, Client(lambda: True))


def test_a_gone_client_ends_its_work_at_the_next_result(worker):
    made, gone = [], threading.Event()

    def work(job):
        for i in range(100):
            made.append(i)
            yield i

    results = worker.submit(lambda job: work(job), Client(lambda: len(made) >= 3 or gone.is_set()))
    assert list(results) == [0, 1, 2]
    assert made == [0, 1, 2]


def test_closing_the_results_unwinds_the_work(worker):
    unwound = threading.Event()

    def work(job):
        try:
            while True:
                yield 1
        finally:
            unwound.set()

    results = worker.submit(work, never_gone)
    next(results)
    results.close()
    assert unwound.wait(5)


def test_a_reader_that_takes_nothing_loses_its_job_and_holds_up_nobody(worker):
    def endless(job):
        while True:
            yield 1

    slow = worker.submit(endless, never_gone)
    assert worker.call(lambda job: 7) == 7
    time.sleep(0.4)
    assert len(list(islice(slow, BOUND))) == BOUND
    with pytest.raises(SlowClientError):
        next(slow)


def test_a_reader_that_takes_little_loses_its_job_too(worker):
    def endless(job):
        while True:
            yield 1

    slow, taken = worker.submit(endless, never_gone), []

    def take():
        for result in slow:
            taken.append(result)
            time.sleep(0.01)

    with pytest.raises(SlowClientError):
        take()
    assert len(taken) < BOUND + 30


def test_a_job_without_a_sign_of_life_makes_it_not_ready(worker):
    release = threading.Event()
    assert worker.ready
    results = worker.submit(blocking(release), never_gone)
    deadline = time.monotonic() + 5
    while worker.ready and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not worker.ready
    release.set()
    assert list(results) == ["done"]
    worker.call(lambda job: None)
    assert worker.ready


def test_a_dead_thread_says_so_and_fails_its_jobs(worker, died):
    def fatal(job):
        raise SystemExit
        yield

    results = worker.submit(fatal, never_gone)
    with pytest.raises(RuntimeError, match="died"):
        next(results)
    assert died.wait(5)
    assert not worker.ready
    with pytest.raises(ShuttingDownError):
        worker.submit(fatal, never_gone)


def test_stopping_ends_running_and_waiting_jobs_with_an_error(worker, died):
    release = threading.Event()
    jobs = [worker.submit(blocking(release), never_gone) for _ in range(2)]
    worker.stop(grace=0)
    for job in jobs:
        with pytest.raises(ShuttingDownError):
            list(job)
    release.set()
    assert worker.stop(grace=5)
    assert not died.is_set()
