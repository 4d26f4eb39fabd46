"""Several visitors at one point of one forward pass."""

from engine.taps.points import Point, Visitor, Visitors


def in_turn(*several: Visitors) -> Visitors:
    """Visitors that act one after another where they meet, in the order given.

    Each sees what the one before it answered.
    """
    woven: dict[Point, Visitor] = {}
    for visitors in several:
        for point, visitor in visitors.items():
            woven[point] = _chained(woven[point], visitor) if point in woven else visitor
    return woven


def _chained(first: Visitor, second: Visitor) -> Visitor:
    return lambda value, span: second(first(value, span), span)
