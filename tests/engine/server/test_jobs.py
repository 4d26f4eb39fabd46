"""Jobs: short work passes long work, and all of it is listed, cancelled, and as it is alone."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier

import pytest

from engine.contract import schemas as s
from engine.server.jobs.job import Client

ASKED = {"prompt": "once upon a time", "max_tokens": 4}
CIRCUIT = {"clean": "abcdefgh" * 4, "corrupted": "abcdefgX" * 4, "answer": "a", "distractor": "b"}
SERVER = Client()


def long_work(job):
    """Goes on until it is cancelled, a checkpoint each 20 ms."""
    for done in range(10_000):
        time.sleep(0.02)
        job.report(done, 10_000, "passes")
        job.checkpoint()
    yield None


@pytest.fixture
def long_job(server):
    job = server.service.worker.submit(long_work, SERVER)
    yield job
    job.close()


def listed(server):
    jobs = server.get("/v1/jobs")
    s.JobList.model_validate(jobs)
    return {each["job_id"]: each for each in jobs["jobs"]}


def test_a_job_is_listed_with_its_progress_until_it_is_over(server, long_job):
    def done():
        return (listed(server)[long_job.job_id]["progress"] or {}).get("done", 0)

    before = done()
    time.sleep(0.2)
    assert done() > before
    assert listed(server)[long_job.job_id]["state"] == "running"
    long_job.close()
    deadline = time.monotonic() + 5
    while long_job.job_id in listed(server) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert long_job.job_id not in listed(server)


def test_a_cancelled_job_tells_its_client_and_ends(server):
    with ThreadPoolExecutor() as pool:
        path, body = "/v1/completions", ASKED | {"max_tokens": 8000}
        asked = pool.submit(server.http.post, path, json=body, headers={"X-Request-Id": "mine"})
        deadline = time.monotonic() + 5
        mine = {}
        while not mine and time.monotonic() < deadline:
            mine = {k: each for k, each in listed(server).items() if each["request_id"] == "mine"}
        ((job_id, entry),) = mine.items()
        assert entry["operation"] == "createCompletion"
        assert server.http.delete(f"/v1/jobs/{job_id}").json() == {"job_id": job_id}
        response = asked.result(10)
    assert (response.status_code, response.json()["error"]["type"]) == (503, "cancelled")
    assert server.http.delete("/v1/jobs/job-of-nobody").json()["error"]["type"] == "unknown_job"


def test_short_work_passes_long_work(server, long_job):
    time.sleep(0.1)
    alone = server.post("/v1/completions", **ASKED)["choices"]
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        unread = server.http.stream("POST", "/v1/completions", json=ASKED | {"stream": True})
        with unread:
            answers = list(pool.map(lambda _: server.post("/v1/completions", **ASKED), range(4)))
            server.post("/v1/forward", prompt="a")
    assert time.monotonic() - began < 3
    assert [answer["choices"] for answer in answers] == [alone] * 4
    assert not long_job.abandoned


def test_long_jobs_take_turns(server, long_job):
    with closing(server.service.worker.submit(long_work, SERVER)) as other:
        until(lambda: all(job.progress and job.progress.done > 10 for job in (long_job, other)))
        done = [job.progress.done for job in (long_job, other)]
    assert abs(done[0] - done[1]) < 10


def until(condition, seconds=5):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


KINDS = 8


def mixed(number):
    """A request of one of some kinds, each with its own prompt."""
    prompt = f"client {number} says " + "xyz" * (number % 11)
    body = {"prompt": prompt, "max_tokens": 3 + number % 9, "logprobs": number % 3}
    hook = {"layer_name": str(number % 3), "component": "residual"}
    ablation = hook | {"operation": "scaling", "factor": 0.5}
    changes = [
        {},
        {"temperature": 0.9, "seed": number},
        {"stop": ["a", "e"], "max_tokens": 12},
        {"temperature": 1.1, "seed": -number, "top_p": 0.9, "n": 2},
        {"frequency_penalty": 1.5, "logit_bias": {"5": 3.0}},
        {"activation_hooks": [hook], "activation_format": "array"},
        {"interventions": [ablation]},
        {"interventions": [hook | {"operation": "ablation", "positions": [999]}]},
    ]
    change = changes[number % KINDS]
    is_capturing = "activation_hooks" in change or "interventions" in change
    path = "/v1/completions/with_activations" if is_capturing else "/v1/completions"
    return path, body | change


def answered(server, number):
    path, body = mixed(number)
    response = server.http.post(path, json=body)
    reply = response.json()
    if response.status_code != 200:
        return response.status_code, reply["error"]["type"]
    choices = [(each["text"], each["finish_reason"]) for each in reply["choices"]]
    records = reply.get("activations", {}).values()
    numbers = [value for record in records for each in record for value in _flat(each["data"])]
    return choices, pytest.approx(numbers, abs=1e-5), reply["usage"]["total_tokens"]


def _flat(data):
    return [x for each in data for x in _flat(each)] if isinstance(data, list) else [data]


@pytest.mark.slow
def test_128_mixed_answers_are_those_of_each_alone(server):
    alone = [answered(server, number) for number in range(128)]
    start = Barrier(32)

    def client(first):
        start.wait(30)
        return [answered(server, number) for number in range(first, 128, 32)]

    with ThreadPoolExecutor(32) as pool:
        crowd = list(pool.map(client, range(32)))
    for first, answers in enumerate(crowd):
        for number, answer in zip(range(first, 128, 32), answers, strict=True):
            assert _plain(answer) == alone[number]


def _plain(answer):
    return tuple(each.expected if hasattr(each, "expected") else each for each in answer)
