"""Where the folders that ship with the bridge are: beside the package, or in the checkout."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def resource_folder(name: str) -> Path:
    """The folder `templates` or `smalltalk`, from an installed wheel or from a checkout."""
    installed = PACKAGE / name
    return installed if installed.is_dir() else PACKAGE.parent / name


OPENAPI = PACKAGE / "openapi.json"
"""The API document that the bindings were last generated from."""
