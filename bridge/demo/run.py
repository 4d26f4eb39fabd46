"""One run of the demonstration: checks, and analyses of completions."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from bridge.client import LMStudioNeuroScopeClient
from bridge.demo import checks
from bridge.demo.analysis import Check, Checks
from bridge.demo.run_folder import RunFolder
from bridge.demo.studies import studies

Trial = Callable[[LMStudioNeuroScopeClient], Iterator[Check]]

CHECKS: dict[str, Trial] = {
    "engine_test": checks.engine,
    "rest_interface": checks.rest_interface,
    "streaming": checks.streaming,
    "integration_workflow": checks.integration,
}


class Run:
    """A run on a running engine, step by step."""

    def __init__(self, client: LMStudioNeuroScopeClient):
        entry = client.retrieve_model(client.health()["model"] or "")
        self._client = client
        self._model = entry["id"]
        self._studies = studies(entry["layers"] or 1)

    def __len__(self) -> int:
        return len(CHECKS) + len(self._studies)

    def into(self, folder: RunFolder) -> Iterator[tuple[str, list[Check]]]:
        """Do each step, write and log it; yield its name, and the checks that failed."""
        for name, check in CHECKS.items():
            yield name, self._checked(name, check, folder)
        for study in self._studies:
            analysis = study.run(self._client, self._model, folder)
            tensors = sum(len(each) for each in analysis.activations.values())
            folder.log(f"{study.name}: {tensors} tensors")
            folder.log(f"{study.name}: {study.prompt!r} is continued {analysis.generated_text!r}")
            yield study.name, []

    def _checked(self, name: str, check: Trial, folder: RunFolder) -> list[Check]:
        document = Checks(
            timestamp=datetime.now(UTC),
            analysis=name,
            description=(check.__doc__ or "").strip(),
            model=self._model,
            checks=list(check(self._client)),
        )
        folder.write(document)
        for each in document.checks:
            state = "as expected" if each.passed else f"FAILED, expected: {each.expected}"
            folder.log(f"{name}: {each.name}: {each.found} ({state})")
        return [each for each in document.checks if not each.passed]
