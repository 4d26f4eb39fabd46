"""Mixed load with faults leaves nothing behind: `python -m benchmarks.soak`, shorter."""

import psutil

from benchmarks.soak import soak
from tests.engine.server.test_process import serving

SECONDS = 15


def test_nothing_grows_and_nothing_fails_under_mixed_load_with_faults(tiny_model):
    options = ("--capture-budget", "8", "--model-root", str(tiny_model.parent))
    with serving(tiny_model, *options) as (process, url):
        running = psutil.Process(process.pid)
        found = soak(url, running, str(tiny_model), seconds=SECONDS, clients=4)
    assert found.problems == []
    assert len(found.sent) == 15
