"""How an image installs the packages: one expression for each dialect, from a folder or a server.

Each first files in the installer, which loads the packages in their order.
"""

from dataclasses import dataclass
from pathlib import Path

USUAL_ADDRESS = "http://127.0.0.1:50111"
INSTALL = "(Smalltalk at: #NeuroScopeInstaller) installFrom: '{place}'"


@dataclass(frozen=True)
class Installation:
    """What an image evaluates; `{place}` is the folder, or the address of a folder.

    For a system that is started with the packages, what is typed in a shell takes the place of
    the expression for a folder.
    """

    folder: str
    server: str
    in_shell: bool = False

    def from_folder(self, folder: Path) -> str:
        """The expression, or the line of a shell, for a folder of packages."""
        return self.folder.format(place=folder)

    def from_server(self, url: str, dialect: str) -> str:
        """The expression for a server's address."""
        return self.server.format(place=f"{url.rstrip('/')}/smalltalk/{dialect}")


INSTALLATIONS = {
    "amber": Installation(
        "cd '{place}' && npm install && npm run --silent smalltalk -- "
        '"LMStudioRESTClient default health"',
        "((Platform fetch: '{place}/install.st') then: [:response | response text]) then: "
        "[:text | Importer new import: text readStream. "
        "(Smalltalk globals at: #NeuroScopeInstaller) installFrom: '{place}']",
        in_shell=True,
    ),
    "cuis": Installation(
        f"'{{place}}/install.st' asFileEntry readStreamDo: [:stream | stream fileIn]. {INSTALL}",
        "Feature require: #WebClient. (ReadStream on: ((Smalltalk at: #WebClient) httpGet: "
        f"'{{place}}/install.st') content) fileIn. {INSTALL}",
    ),
    "gst": Installation(
        f"FileStream fileIn: '{{place}}/install.st'. {INSTALL}",
        "PackageLoader fileInPackage: 'NetClients'. (NetClients.URIResolver openStreamOn: "
        f"'{{place}}/install.st' ifFail: [self error: 'no server']) fileIn. {INSTALL}",
    ),
    "pharo": Installation(
        "Metacello new baseline: 'NeuroScopeBridge'; repository: 'tonel://{place}'; load",
        f"CodeImporter evaluateString: (ZnClient new get: '{{place}}/install.st'). {INSTALL}",
    ),
    "squeak": Installation(
        f"(FileStream readOnlyFileNamed: '{{place}}/install.st') fileIn. {INSTALL}",
        "(ReadWriteStream with: (WebClient httpGet: '{place}/install.st') content) reset; fileIn. "
        f"{INSTALL}",
    ),
}
