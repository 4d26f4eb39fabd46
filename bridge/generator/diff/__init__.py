"""What a new API document changes for a caller, each change with its severity."""

import re
from collections.abc import Iterator

from bridge.generator.api.document import Api
from bridge.generator.api.operations import Operation
from bridge.generator.client import Client
from bridge.generator.diff.changes import Change, Differences, Severity
from bridge.generator.diff.forms import FORMS
from bridge.generator.diff.operations import operation_changes, server_changes

__all__ = ["FORMS", "Change", "Differences", "Severity", "diff_of"]


def diff_of(old: Client, new: Client) -> Differences:
    """All changes from one client's document to another's, the worst first."""
    changes = [*_operations(old, new), *_document(old.api, new.api), *_selectors(old, new)]
    ordered = sorted(
        dict.fromkeys(changes), key=lambda c: (-c.severity, c.subject, c.place, c.text)
    )
    return Differences(old.version, new.version, tuple(ordered))


def _operations(old: Client, new: Client) -> Iterator[Change]:
    before, after = _by_route(old.api), _by_route(new.api)
    for route, operation in before.items():
        if route not in after:
            selectors = old.selectors_of(operation.route)
            yield Change(Severity.BREAKING, operation.route, "", "removed", selectors)
            continue
        changed = after[route]
        selectors = new.selectors_of(changed.route) or old.selectors_of(operation.route)
        for severity, place, text in operation_changes(operation, changed):
            yield Change(severity, changed.route, place, text, selectors)
    for route, operation in after.items():
        if route not in before:
            selectors = new.selectors_of(operation.route)
            yield Change(Severity.COMPATIBLE, operation.route, "", "added", selectors)


def _by_route(api: Api) -> dict[str, Operation]:
    """The operations by verb and path; what the names in a path are does not count."""
    return {f"{o.verb} {re.sub(r'{[^{}]+}', '{}', o.path)}": o for o in api.operations}


def _document(old: Api, new: Api) -> Iterator[Change]:
    before, after = ([s.template for s in api.servers] for api in (old, new))
    for severity, place, text in server_changes(before, after):
        yield Change(severity, "document", place, text)
    for name, scheme in old.security_schemes.items():
        if name not in new.security_schemes:
            used = any(name == each for o in old.operations for r in o.security for each, _ in r)
            severity = Severity.BREAKING if used else Severity.COMPATIBLE
            yield Change(severity, "document", f"security scheme {name}", "removed")
            continue
        changed = new.security_schemes[name]
        if _credentials(scheme) != _credentials(changed):
            text = "the credentials travel differently"
            yield Change(Severity.BREAKING, "document", f"security scheme {name}", text)
        elif scheme.description != changed.description:
            text = "described differently"
            yield Change(Severity.TEXT, "document", f"security scheme {name}", text)
    for name in new.security_schemes.keys() - old.security_schemes:
        yield Change(Severity.COMPATIBLE, "document", f"security scheme {name}", "added")
    for what in ("title", "version", "description"):
        texts = [_info(api, what) for api in (old, new)]
        if texts[0] != texts[1]:
            yield Change(Severity.TEXT, "document", "", f"its {what} changed")


def _credentials(scheme: object) -> tuple[str, ...]:
    return tuple(getattr(scheme, what) for what in ("type", "http", "place", "parameter"))


def _info(api: Api, what: str) -> str:
    info = api.node.get("info")
    return info.text(what) if info else ""


def _selectors(old: Client, new: Client) -> Iterator[Change]:
    """Selectors of operations that are still there, of which a caller would miss one."""
    kept = {m.pattern.selector: m for m in new.methods}
    routes = set(_by_route(new.api))
    for method in old.methods:
        route = f"{method.operation.verb} {re.sub(r'{[^{}]+}', '{}', method.operation.path)}"
        selector = method.pattern.selector
        if route not in routes:
            continue
        if selector not in kept:
            text = f"the selector {selector} is removed"
            yield Change(Severity.BREAKING, method.operation.route, "", text, (selector,))
            continue
        for before, after in zip(method.pattern.parts, kept[selector].pattern.parts, strict=True):
            if before.name != after.name and before.place != "path":
                text = f"{after.keyword} is sent as {after.name}, not {before.name}"
                yield Change(Severity.BREAKING, method.operation.route, "", text, (selector,))
