"""The systems that the generated Smalltalk runs in."""

import sys
from pathlib import Path

import pytest

from bridge.client import LMStudioNeuroScopeClient
from systems import Amber, GnuSmalltalk, OldSqueak, System, gst_program
from systems.squeak.machine import Squeak

SQUEAK = ["squeak"] if sys.platform == "linux" else []  # Debian's
SYSTEMS = ["amber", *SQUEAK, *(["gst"] if gst_program() else [])]


@pytest.fixture(scope="session", params=SYSTEMS)
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> System:
    """Each Smalltalk system that is here; Amber always is, and on Linux Squeak."""
    if request.param == "amber":
        return Amber()
    if request.param == "gst":
        return GnuSmalltalk()
    return OldSqueak(Squeak(tmp_path_factory.mktemp("squeak")))


DEFAULT = """!LMStudioRESTClient class methodsFor: 'tests'!
default
	^self baseUrl: '{}'! !
"""


@pytest.fixture
def default_client(engine: LMStudioNeuroScopeClient, tmp_path: Path) -> Path:
    """A file that makes the running engine the usual server."""
    file = tmp_path / "default.st"
    file.write_text(DEFAULT.format(engine.base_url))
    return file
