"""Squeak in a page: the native machine makes the image, and SqueakJS resumes it."""

from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from systems import GENERATED, LIMIT_SECONDS, OldSqueak, SmalltalkError, sorted_tests
from systems.pages import Site, running, shown
from systems.squeak.machine import HERE as SQUEAK
from systems.squeak.machine import Squeak, SqueakError, value_of

PAGE = Path(__file__).parent.parent / "docs" / "squeakjs.html"
HANDS_OVER = """<script>
  var expression = unescape(encodeURIComponent(decodeURIComponent(location.hash.slice(1))));
  history.replaceState(null, '', location.pathname);
  function outcome(text) {
    const bytes = Uint8Array.from(text, (each) => each.charCodeAt(0));
    fetch('/answer', {
      method: 'POST', body: JSON.stringify({ text: new TextDecoder().decode(bytes) }),
    });
  }
</script>
"""


class SqueakJs:
    """Debian's image in SqueakJS, whose bundle for pages `SQUEAKJS` names, in Chromium.

    The packages are filed in natively, once, and the image is saved: a page starts in a second.
    """

    name = "squeakjs"

    def __init__(self, bundle: Path, folder: Path = GENERATED) -> None:
        self.bundle = bundle.read_bytes()
        self.folder = folder
        self.image = self.saved()

    def saved(self, *files: Path) -> bytes:
        """The image with the packages, and with more files."""
        with TemporaryDirectory() as work:
            machine = Squeak(Path(work))
            squeak = OldSqueak(machine, self.folder)
            said = squeak.run("HeadlessRun save", *files, SQUEAK / "browser.st")
            if said != "saved":
                raise SmalltalkError(said)
            return machine.image.read_bytes()

    def run(self, expression: str, *files: Path) -> str:
        image = self.saved(*files) if files else self.image
        content = {
            "/squeakjs.html": (HANDS_OVER + PAGE.read_text()).encode(),
            "/squeak_bundle.js": self.bundle,
            "/neuroscope.image": image,
        }

        class SqueakSite(Site):
            def do_GET(self) -> None:  # noqa: N802 - named by http.server
                path = self.path.partition("?")[0]
                self.reply(200 if path in content else 404, content.get(path, b""))

        with (
            running(SqueakSite) as address,
            shown(f"{address}/squeakjs.html#{quote(expression)}"),
        ):
            try:
                return value_of(SqueakSite.answers.get(timeout=LIMIT_SECONDS).encode())
            except SqueakError as error:
                raise SmalltalkError(str(error)) from None

    def run_with_tests(self, expression: str) -> str:
        return self.run(expression, SQUEAK / "sunit.st", *sorted_tests(self.folder / "squeak"))
