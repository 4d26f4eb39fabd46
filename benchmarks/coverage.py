"""What is captured on each of mlx-lm's architectures, as the tables in Markdown that README quotes.

    python -m benchmarks.coverage [--each]

Resolves the tiny model of every architecture that the tests have; with --each also a row for each
architecture, with what it lacks and why, and the promises of the tests that it does not keep.
"""

import argparse

import engine  # noqa: F401 -- before mlx.core, to put its BLAS in place
from benchmarks.architectures import ARCHITECTURES, NOT_ON_A_CPU, tiny_model
from benchmarks.exceptions import EXCEPTIONS
from engine.components import WHOLE_MODEL
from engine.components import ComponentType as C
from engine.structure.resolver import Structure, resolve
from engine.weights.catalogue import OF_LAYER as WEIGHTS_OF_LAYER
from engine.weights.catalogue import WHOLE_MODEL as WEIGHTS_OF_MODEL
from engine.weights.catalogue import Weights


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--each", action="store_true", help="a row for each architecture too")
    options = parser.parse_args()
    structures = {name: resolve(tiny_model(name)) for name in ARCHITECTURES}
    print_components(list(structures.values()))
    print()
    print_weights(structures)
    if options.each:
        print()
        print_architectures(structures)
        print()
        print_exceptions()


def print_components(structures: list[Structure]) -> None:
    """For each component, how many architectures have it in each layer, in some, in none."""
    print(f"| of {len(structures)} architectures | in each layer | in some layers | in none |")
    print("| --- | ---: | ---: | ---: |")
    for component in C:
        without = [len(layers_without(each, component)) for each in structures]
        possible = [1 if component in WHOLE_MODEL else each.layers for each in structures]
        everywhere = without.count(0)
        nowhere = sum(a == b for a, b in zip(without, possible, strict=True))
        some = len(structures) - everywhere - nowhere
        print(f"| `{component}` | {everywhere} | {some} | {nowhere} |")


def print_weights(structures: dict[str, Structure]) -> None:
    """For each weight, how many architectures have it in each layer, in some, in none."""
    print(f"| of {len(structures)} architectures | in each layer | in some layers | in none |")
    print("| --- | ---: | ---: | ---: |")
    counts = {name: [0, 0, 0] for name in (*WEIGHTS_OF_MODEL, *WEIGHTS_OF_LAYER)}
    for structure in structures.values():
        weights = Weights(structure)
        for name, count in counts.items():
            layers = [None] if name in WEIGHTS_OF_MODEL else range(structure.layers)
            absent = [bool(weights.absence(name, layer)) for layer in layers]
            count[0 if not any(absent) else 2 if all(absent) else 1] += 1
    for name, count in counts.items():
        print(f"| `{name}` | {' | '.join(map(str, count))} |")


def print_architectures(structures: dict[str, Structure]) -> None:
    """For each architecture, what it lacks, in which layers, and why."""
    print("| architecture | layers | what is absent, and why |")
    print("| --- | ---: | --- |")
    for name, structure in structures.items():
        print(f"| {name} | {structure.layers} | {'; '.join(absences(structure))} |")
    for name, reason in NOT_ON_A_CPU.items():
        print(f"| {name} | | not run here: {reason} |")


def print_exceptions() -> None:
    """For each promise of the tests, the architectures of which it is expected to fail, and why."""
    print("| promise | expected to fail on | because |")
    print("| --- | --- | --- |")
    for test, exceptions in EXCEPTIONS.items():
        promise = test.removeprefix("test_").replace("_", " ")
        for name, reason in exceptions.items():
            print(f"| {promise} | {name} | {reason} |")


def layers_without(structure: Structure, component: C) -> list[int | None]:
    return [layer for layer, absent in structure.absent if absent is component]


def absences(structure: Structure) -> list[str]:
    """Components that are absent for one reason in the same layers, together with the reason."""
    layers: dict[tuple[C, str], list[int | None]] = {}
    for (layer, component), reason in structure.absent.items():
        layers.setdefault((component, reason), []).append(layer)
    together: dict[tuple[str, str], list[str]] = {}
    for (component, reason), where in layers.items():
        everywhere = len(where) == structure.layers
        place = "" if everywhere else f" in layer {', '.join(map(str, sorted(where)))}"
        together.setdefault((place, reason), []).append(f"`{component}`")
    return [f"{', '.join(names)}{place}: {reason}" for (place, reason), names in together.items()]


if __name__ == "__main__":
    main()
