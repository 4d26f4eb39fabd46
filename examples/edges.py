"""Two behaviours of SmolLM2 as circuits of edges, found by EAP-IG and verified by ablation.

    python examples/edges.py

*greater-than* (Hanna et al. 2023, arXiv:2305.00586): "The war lasted from the year 1732 to the year
17" goes on with a later year. SmolLM2's tokens of numbers are digits, so the next token is the tens
digit: the score is the probability of the larger ones less that of the smaller ones, and the
corrupted prompt says 1701. *capitals*: a fact that is recalled, with another country as corruption.

For each, the edges are ranked by integrated edge attribution patching over half of the examples.
Circuits of the first edges are then run over the other half, with what every other edge carries
taken from the corrupted prompt, beside random circuits of as many edges.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from rich.console import Console
from rich.table import Table

from bridge import api_types as api
from bridge.client import LMStudioNeuroScopeClient
from bridge.engine_process import running_engine

YEARS = {
    "war": 32,
    "siege": 45,
    "voyage": 56,
    "reform": 63,
    "famine": 27,
    "dispute": 74,
    "drought": 38,
    "campaign": 51,
}
CAPITALS = [
    ("France", " Paris", "Italy", " Rome"),
    ("Italy", " Rome", "Germany", " Berlin"),
    ("Germany", " Berlin", "France", " Paris"),
    ("Japan", " Tokyo", "China", " Beijing"),
    ("China", " Beijing", "Japan", " Tokyo"),
    ("Russia", " Moscow", "Spain", " Madrid"),
    ("Spain", " Madrid", "Russia", " Moscow"),
    ("England", " London", "Greece", " Athens"),
]
SIZES = [50, 200, 500, 1000, 2000, 5000]


def greater_than() -> list[api.CircuitExample]:
    """Examples of years; the digits of the same tens count on neither side."""
    return [
        {
            "clean": f"The {noun} lasted from the year 17{year} to the year 17",
            "corrupted": f"The {noun} lasted from the year 1701 to the year 17",
            "answers": [str(digit) for digit in range(year // 10 + 1, 10)],
            "distractors": [str(digit) for digit in range(year // 10)],
        }
        for noun, year in YEARS.items()
    ]


def capitals() -> list[api.CircuitExample]:
    """Examples of countries, each with another one as corruption."""
    return [
        {
            "clean": f"The capital of {country} is the city of",
            "corrupted": f"The capital of {other} is the city of",
            "answers": [city],
            "distractors": [another],
        }
        for country, city, other, another in CAPITALS
    ]


def main() -> None:
    """Print the strongest edges of each behaviour, and its faithfulness curve."""
    console = Console(width=100)
    with running_engine("smollm2") as client:
        show(client, console, "greater-than", greater_than(), "probability")
        show(client, console, "capitals", capitals(), "mean")


def show(
    client: LMStudioNeuroScopeClient,
    console: Console,
    name: str,
    examples: list[api.CircuitExample],
    pooling: str,
) -> None:
    """Find a circuit over half of the examples, and verify it over the others."""
    half = len(examples) // 2
    found = client.score_edges(examples=examples[:half], pooling=pooling, top_n=SIZES[-1])
    ranking: list[api.EdgeSpec] = [
        {"source": each["source"], "destination": each["destination"]} for each in found["edges"]
    ]
    curve = client.edge_faithfulness(
        ranking, examples=examples[half:], pooling=pooling, sizes=SIZES, random=2
    )
    console.print(
        f"{name}: score {curve['clean_score']:.3f} over clean prompts, "
        f"{curve['corrupted_score']:.3f} over corrupted ones; {curve['edge_count']} edges, scored "
        f"in {found['forward_passes']} forward and {found['backward_passes']} backward passes"
    )
    for each in found["edges"][:8]:
        console.print(f"  {each['source']:>8} -> {each['destination']:<10} {each['score']:+.3f}")
    table = Table("edges kept", "faithfulness", "random circuits", box=None)
    for place, size in enumerate(curve["sizes"]):
        others = [each[place] for each in curve["random_faithfulness"]]
        table.add_row(
            str(size),
            f"{curve['faithfulness'][place]:.2f}",
            " ".join(f"{each:.2f}" for each in others),
        )
    console.print(table)


if __name__ == "__main__":
    main()
