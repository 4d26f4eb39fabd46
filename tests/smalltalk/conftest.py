"""The systems that the generated Smalltalk runs in."""

import pytest
from squeak.machine import Squeak
from systems import Amber, GnuSmalltalk, OldSqueak, System, gst_program

SYSTEMS = ["amber", "squeak", *(["gst"] if gst_program() else [])]


@pytest.fixture(scope="session", params=SYSTEMS)
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> System:
    """Each Smalltalk system that is here; Amber and Squeak always are."""
    if request.param == "amber":
        return Amber()
    if request.param == "gst":
        return GnuSmalltalk()
    return OldSqueak(Squeak(tmp_path_factory.mktemp("squeak")))
