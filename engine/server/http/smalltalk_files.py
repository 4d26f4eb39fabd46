"""The Smalltalk packages of this very version, for images to file in from here."""

from pathlib import Path

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

from engine.server.http.responses import text_response


def smalltalk_files(folder: Path) -> Blueprint:
    """The routes under `/smalltalk`: the files below a folder, and lists of their paths.

    The files are found once, and nothing else can be read: a path is looked up among them.
    """
    routes = Blueprint("smalltalk", __name__, url_prefix="/smalltalk")
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }

    @routes.get("/<path:name>")
    def read(name: str) -> Response:
        if name in files:
            return text_response(files[name].read_text(encoding="utf-8"))
        if name.endswith("/") and (found := [each for each in files if each.startswith(name)]):
            return text_response("".join(f"{each.removeprefix(name)}\n" for each in found))
        raise NotFound(f"no file {name!r}; /smalltalk/ lists what there is")

    @routes.get("/")
    def everything() -> Response:
        return text_response("".join(f"{name}\n" for name in files))

    return routes
