"""The classes generated for Squeak load into a real one and decode what the engine sends."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from systems.squeak.machine import Squeak, SqueakError

from .conftest import GENERATED

Files = tuple[Path, ...]


def literal(text: str) -> str:
    """A Smalltalk string literal."""
    return "'" + text.replace("'", "''") + "'"


def floats(expression: str) -> str:
    """An expression for the base64 text of an array of floats."""
    bytes_of_floats = f"(NeuroScopePlatform current bytesFromFloats: {expression})"
    return f"(NeuroScopePlatform current encodeBase64: {bytes_of_floats})"


def decoding(array: np.ndarray, dtype: str) -> str:
    """An expression for the array's bytes, decoded as numbers of `dtype`."""
    encoded = base64.b64encode(array.tobytes()).decode()
    source = f"(NeuroScopePlatform current decodeBase64: '{encoded}')"
    return (
        f"(NeuroScopeTensorDecoder decode: {source} from: 1 count: {array.size} dtype: '{dtype}')"
    )


def floats_in(answer: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(answer), "<f4")


def test_the_installer_files_everything_in(squeak: Squeak, library: Files):
    expression = (
        f"NeuroScopeInstaller installFrom: '{GENERATED}'. Smalltalk at: #LMStudioRESTClient"
    )
    assert squeak.evaluate(expression, *library, GENERATED / "install.st") == "LMStudioRESTClient"


def test_the_installer_names_what_is_missing(squeak: Squeak, library: Files):
    expression = "[NeuroScopeInstaller check] on: Error do: [:error | error messageText]"
    said = squeak.evaluate(expression, library[0], GENERATED / "install.st")
    assert "WebClient" in said


def test_a_package_says_which_class_it_needs_first(squeak: Squeak, client: Files):
    with pytest.raises(SqueakError, match=r"NeuroScope-Bridge needs the class \w+: file in"):
        squeak.evaluate("3", client[0], GENERATED / "NeuroScope-Bridge.st")


SPECIAL = np.array([0, -0.0, 1, -2.5, np.inf, -np.inf, 6e-8, 65504, 0.1], "<f4")
DTYPES = {
    "float32": SPECIAL,
    "float16": SPECIAL.astype("<f2"),
    "int32": np.array([0, 1, -1, 2**31 - 1, -(2**31)], "<i4"),
    "uint32": np.array([0, 1, 2**32 - 1, 2**31 + 127], "<u4"),
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_every_type_become_the_same_single_floats(
    squeak: Squeak, client: Files, dtype: str
):
    array = DTYPES[dtype]
    answer = squeak.evaluate(floats(decoding(array, dtype)), *client)
    assert floats_in(answer).tobytes() == array.astype("<f4").tobytes()


def test_a_safetensors_body_is_read_tensor_by_tensor(squeak: Squeak, client: Files):
    rng = np.random.default_rng(5)
    tensors = {
        "layer_0_residual/0": rng.standard_normal((1, 3, 4)).astype("float32"),
        "layer_1_residual/0": rng.standard_normal((1, 3, 5)).astype("float16"),
    }
    body = base64.b64encode(save(tensors)).decode()
    for name, tensor in tensors.items():
        answer = squeak.evaluate(
            f"""| tensor |
            tensor := (NeuroScopeSafetensorsBody
                on: (NeuroScopePlatform current decodeBase64: '{body}')) tensorNamed: '{name}'.
            tensor shape printString , '|' , {floats("tensor data")}""",
            *client,
        )
        shape, _, data = answer.partition("|")
        assert shape == "(" + " ".join(map(str, tensor.shape)) + ")"
        assert np.array_equal(floats_in(data).reshape(tensor.shape), tensor.astype("float32"))


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, -2, 0.5, -2.25, 1500.0, 1e-7], "b": {"c": None, "d": True, "e": False}},
        ["", 'quote " and \\', "tab\tline\nreturn\r", "Zürich → 東京", "/", {}, [], [[]]],
        123456789012345678901234567890,
    ],
)
def test_json_is_read_and_written_without_loss(squeak: Squeak, client: Files, value: object):
    text = literal(json.dumps(value, ensure_ascii=False))
    answer = squeak.evaluate(
        f"NeuroScopePlatform current writeJson: (NeuroScopePlatform current readJson: {text})",
        *client,
    )
    assert json.loads(answer) == value


def test_escapes_in_json_are_the_code_points_that_they_name(squeak: Squeak, client: Files):
    text = "naïve → 東京 \U0001f600"
    answer = squeak.evaluate(
        f"NeuroScopePlatform current readJson: {literal(json.dumps(text))}", *client
    )
    assert answer == text


@pytest.mark.parametrize("text", ["[1, 2", '{"a" 1}', '"open', "tru", "[1] 2", "", "[1,]", "-"])
def test_text_that_is_not_json_is_an_error(squeak: Squeak, client: Files, text: str):
    with pytest.raises(SqueakError, match=r"not JSON: .* at character"):
        squeak.evaluate(f"NeuroScopePlatform current readJson: {literal(text)}", *client)


BAR = """!String methodsFor: 'stand-in'!
displayProgressAt: aPoint from: low to: high during: aBlock
	"Keep what a bar would show."
	| shown |
	shown := OrderedCollection with: self with: low with: high.
	aBlock value: [:number | shown add: number].
	Smalltalk at: #ShownByBar put: shown! !

!SystemDictionary methodsFor: 'stand-in'!
isHeadless
	^false! !
"""


def test_the_image_s_own_bar_shows_progress_where_there_is_a_display(
    squeak: Squeak, client: Files, tmp_path: Path
):
    (tmp_path / "bar.st").write_text(BAR)
    expression = (
        "| value | value := NeuroScopePlatform current showing: 'sweep' "
        "during: [:show | show value: 40. show value: 90. 7]. "
        "NeuroScopePlatform current writeJson: {value. Smalltalk at: #ShownByBar}"
    )
    answer = squeak.evaluate(expression, *client, tmp_path / "bar.st")
    assert json.loads(answer) == [7, ["sweep", 0, 100, 40, 90]]
