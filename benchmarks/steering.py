"""How far a steering vector changes the default model's answers: a score over 50 prompts.

    python -m benchmarks.steering
    python -m benchmarks.steering --strength 0.3 --tokens 32

The vector is the mean difference between texts that find something good and texts that find it
bad, of the layers in the middle. It is added, and subtracted, while the model answers 50 prompts,
none of which is one of those texts. The score of an answer is its sentiment by VADER (Hutto and
Gilbert 2014), a lexicon that knows nothing of the model, from -1 to 1. Beside it, the controls: a
random direction of the same length in each layer, and the direction of the same pairs with the
labels of half of them swapped, at the same length.
"""

import engine  # noqa: F401

# isort: split
import base64
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import mean, stdev

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load, save
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from bridge.api_types import ContrastPair
from bridge.client import LMStudioNeuroScopeClient
from bridge.engine_process import running_engine

LAYERS = range(8, 20)
SUBJECTS = (
    "food", "weather", "hotel", "teacher", "concert", "train", "novel", "painting", "garden",
    "song", "museum", "coffee", "phone", "neighbour", "holiday", "lecture", "restaurant", "bridge",
    "dog", "meeting", "party", "shop", "game", "speech",
)  # fmt: skip
AT_ONCE = 10
"""Requests that are sent together."""
GOOD = ("wonderful", "lovely", "great", "delightful", "excellent", "beautiful")
BAD = ("terrible", "awful", "horrible", "dreadful", "disgusting", "ugly")
ASKED = (
    "my new job", "the film that I saw yesterday", "living in a big city", "the book on my table",
    "school", "my brother", "winter", "the sea", "trains", "cooking at home", "our new car",
    "the visit to my aunt", "mathematics", "the football match", "working at night", "mountains",
    "the new computer", "my old house", "learning the piano", "rain", "the long flight",
    "birthdays", "my first day at work", "the play at the theatre", "the wedding",
    "swimming in a lake", "the doctor", "my bicycle", "the village", "airports", "fishing",
    "Monday mornings", "the exhibition", "a walk in the forest", "the newspaper", "breakfast",
    "my boss", "dancing",
    "the bus to town", "the children next door", "growing old", "the market", "summer camp",
    "the television", "history", "chess", "my cat", "the hospital", "camping", "the election",
)  # fmt: skip


def pairs() -> list[ContrastPair]:
    """Texts that find a thing good, each with the same that finds it bad."""
    return [
        {
            "positive": f"The {subject} was {good}, and I felt happy.",
            "negative": f"The {subject} was {bad}, and I felt sad.",
        }
        for number, subject in enumerate(SUBJECTS)
        for good, bad in [(GOOD[number % len(GOOD)], BAD[number % len(BAD)])]
    ]


def swapped(given: Sequence[ContrastPair]) -> list[ContrastPair]:
    """The same pairs, of half of which, drawn with a fixed seed, the labels are swapped."""
    chosen = set(random.Random(0).sample(range(len(given)), len(given) // 2))
    return [
        {"positive": pair["negative"], "negative": pair["positive"]} if n in chosen else pair
        for n, pair in enumerate(given)
    ]


def of_equal_length(
    directions: Mapping[str, np.ndarray], like: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Directions with the lengths of others."""
    return {
        name: (each * np.linalg.norm(like[name]) / np.linalg.norm(each)).astype(np.float32)
        for name, each in directions.items()
    }


def read(client: LMStudioNeuroScopeClient, vector: str) -> dict[str, np.ndarray]:
    """The directions of a vector that a server keeps."""
    return load(base64.b64decode(client.read_steering_vector(vector)["data_base64"]))


@contextmanager
def steered(
    client: LMStudioNeuroScopeClient, directions: Mapping[str, np.ndarray] | None, strength: float
) -> Iterator[None]:
    """The model of a client, steered for this client alone."""
    if directions is not None:
        file = base64.b64encode(save(dict(directions))).decode()
        vector = client.import_steering_vector(file)["vector"]
        client.register_steering(vector, strength=strength, scope="session")
    yield
    client.delete_all_steering()


def answers(client: LMStudioNeuroScopeClient, tokens: int) -> list[str]:
    """What the model says to each prompt, at temperature 0."""

    def ask(about: str) -> str:
        messages = [{"role": "user", "content": f"What do you think about {about}?"}]
        reply = client.create_chat_completion(messages, max_tokens=tokens)
        return reply["choices"][0]["message"]["content"] or ""

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(ask, ASKED))


@click.command()
@click.option("--strength", default=0.15, show_default=True, help="Times each direction.")
@click.option("--tokens", default=24, show_default=True, help="Of each answer.")
@click.option("--show", default=2, show_default=True, help="Answers of each kind to print.")
def main(strength: float, tokens: int, show: int) -> None:
    """Score 50 answers with and without steering, and with its controls."""
    console = Console()
    sentiment = SentimentIntensityAnalyzer()
    table = Table("steered by", "strength", "mean score", "standard error", "from plain", "of 50")
    with running_engine("smollm2") as client:
        names = {"name": "sentiment", "layers": list(LAYERS)}
        client.compute_steering_vector(pairs(), **names)
        vector = read(client, "sentiment")
        shuffled = client.compute_steering_vector(swapped(pairs()), layers=list(LAYERS))["vector"]
        generator = np.random.default_rng(0)
        noise = {name: generator.standard_normal(each.shape) for name, each in vector.items()}
        kinds: list[tuple[str, Mapping[str, np.ndarray] | None]] = [
            ("nothing", None),
            ("the vector", vector),
            ("a random direction", of_equal_length(noise, vector)),
            (
                "shuffled labels",
                of_equal_length(read(client, shuffled), vector),
            ),
        ]
        plain: list[float] = []
        for kind, directions in kinds:
            for sign in (1, -1) if directions is not None else (0,):
                with steered(client, directions, sign * strength):
                    said = answers(client, tokens)
                scores = [sentiment.polarity_scores(text)["compound"] for text in said]
                plain = plain or scores
                changes = [one - other for one, other in zip(scores, plain, strict=True)]
                moved = sum(change * sign > 0 for change in changes)
                table.add_row(
                    kind,
                    f"{sign * strength:+g}" if sign else "",
                    f"{mean(scores):+.2f}",
                    f"{stdev(scores) / len(scores) ** 0.5:.2f}",
                    f"{mean(changes):+.2f}" if sign else "",
                    f"{moved} moved its way" if sign else "",
                )
                for text in said[:show]:
                    console.print(f"{kind} {sign * strength:+g}: {text!r}", highlight=False)
    console.print(table)


if __name__ == "__main__":
    main()
