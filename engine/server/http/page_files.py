"""The page at `/`: its own files, and nothing of a model, which it asks the API for."""

from pathlib import Path

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from engine.server.http.responses import answer
from engine.server.state.settings import Settings

FOLDER = Path(__file__).parents[1] / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # kept, and asked for again: a file has the version of its server
}
NAME = "page"
ENDPOINTS = frozenset({f"{NAME}.index", f"{NAME}.read"})
"""What everybody may read, with a token or without: the same for each server of this version."""


def page_files(settings: Settings) -> Blueprint:
    """The routes of the page. The files are found once, and a path is looked up among them.

    `/` returns the page to who asks for HTML by name, as browsers do, and to everybody else, such
    as curl, a JSON object of what is where.
    """
    routes = Blueprint(NAME, __name__)
    files = {
        path.relative_to(FOLDER).as_posix(): path.read_bytes()
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in TYPES
    }

    @routes.get("/")
    def index() -> Response:
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
            response = _file("index.html", files["index.html"])
        else:
            response = answer(_contents(settings))
        response.vary.add("Accept")
        return response

    @routes.get("/page/<path:name>")
    def read(name: str) -> Response:
        if name not in files:
            raise NotFound(f"no file {name!r} of the page")
        return _file(name, files[name])

    return routes


def _file(name: str, content: bytes) -> Response:
    response = Response(content, content_type=TYPES[Path(name).suffix])
    response.headers.update(HEADERS)
    response.add_etag()
    response.make_conditional(request)
    return response


def _contents(settings: Settings) -> dict[str, str]:
    """Where things are on this server."""
    places = {
        "name": "neuroscope-bridge",
        "version": settings.version,
        "page": "/ for whoever accepts text/html",
        "api": "/openapi.json",
        "health": "/health",
        "models": "/v1/models",
    }
    if settings.smalltalk_folder is not None:
        places["smalltalk"] = "/smalltalk/"
    return places
