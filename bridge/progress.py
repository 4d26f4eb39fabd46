"""A bar in the terminal for requests that take long."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bridge import api_types as api


class ProgressBar:
    """Shows the progress of one request after another, until the block is left.

    For the `progress` of a client::

        with ProgressBar() as bar, LMStudioNeuroScopeClient(progress=bar) as client:
            client.patch_circuit(examples=examples)
    """

    def __init__(self, console: Console | None = None) -> None:
        self._shown = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
            transient=True,
        )
        self._job: str | None = None
        self._task = self._shown.add_task("", visible=False)

    def __enter__(self) -> Self:
        self._shown.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shown.stop()

    def __call__(self, event: api.ProgressEvent) -> None:
        """Show an event of a request."""
        if event["job_id"] != self._job:
            self._job = event["job_id"]
            self._shown.reset(self._task, total=event["total"], visible=True)
        self._shown.update(
            self._task,
            completed=event["done"],
            total=event["total"],
            description=event["unit"],
        )
