"""Grammars that a text is held to: JSON of a schema, a regular expression, a Lark grammar.

They are compiled by `llguidance`, within limits, for the exact bytes of one model's tokens. Text
that is certain need not be one certain sequence of tokens (`no_forcing`): all that spell it are
allowed, so that what a tokenizer puts before a text of its own is no part of it.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer, regex_to_lark

from engine.errors import GrammarError

LONGEST = 50_000
"""Characters of a grammar's source."""
PATIENCE = 10.0
"""Seconds for a grammar to be compiled, those included that it waits for others to be."""
MOST_KEPT = 64
"""Compiled grammars that are kept, the newest ones."""
LIMITS = LLParserLimits(
    initial_lexer_fuel=500_000,
    step_lexer_fuel=100_000,
    step_max_items=20_000,
    max_lexer_states=50_000,
    max_grammar_size=200_000,
    verbose_errors=False,
)
"""Of what is compiled, and of each step: about ten milliseconds, and 100 MB for the states."""
FOOTER = '\n%llguidance {"no_forcing": true}\n'
FORM = {"json_allowed_escapes": '"\\bfnrt', "whitespace_pattern": r"[ \t\n\r]{1,64}"}
"""How JSON is written. Each character in one way, or a key could be that of another property, and
pass for an additional one; whitespace within bounds, or a weak model writes nothing else."""
CONTEXT = re.compile(r"<non-verbose/>|\n +\d+ \| ")
"""What llguidance says after what is wrong: the source around it, which the client has."""
VALUES = ("const", "enum", "default", "examples")
"""Keywords of a schema whose values are no schemas."""
COMPILING = ThreadPoolExecutor(2, "grammars")
"""Threads that compile: what takes its time there holds up no other work."""


@dataclass(frozen=True)
class Grammar:
    """A grammar in llguidance's form of Lark: `rule` is what its rule `start` is, `more` are the
    other rules. Without a `rule` the others contain `start`."""

    rule: str | None
    more: str = ""

    @property
    def source(self) -> str:
        return self.more if self.rule is None else f"start: {self.rule}\n{self.more}"


@dataclass(frozen=True)
class CompiledGrammar:
    """A grammar for one model's tokens.

    It holds from the beginning of the text on, or, with `after`, from behind the first place where
    the text has these tokens: until then the text is free, and cannot end.
    """

    start: LLMatcher
    first_mask: bytes
    eos: frozenset[int]
    after: tuple[int, ...] = ()

    def behind(self, tokens: Sequence[int]) -> "CompiledGrammar":
        """The same grammar, that holds behind the first of these `tokens`."""
        return replace(self, after=tuple(tokens))


def json_schema(schema: Mapping[str, Any]) -> Grammar:
    """JSON that a schema allows. Raises GrammarError for one whose keywords no grammar can hold."""
    return Grammar(embedded(schema))


def regex(pattern: str) -> Grammar:
    """Text that a regular expression matches as a whole, in the syntax of Rust's crate `regex`."""
    return Grammar(f"/{regex_to_lark(pattern, use_ascii='')}/")


def choice(texts: Iterable[str]) -> Grammar:
    """One of some texts."""
    return Grammar(" | ".join(map(quoted, texts)))


def lark(source: str) -> Grammar:
    """A grammar in llguidance's form of Lark, whose first rule is `start`."""
    return Grammar(None, source)


def quoted(text: str) -> str:
    """A text as a literal of a grammar."""
    return json.dumps(text)


def embedded(schema: Mapping[str, Any]) -> str:
    """A schema as a part of a rule."""
    _check_counts(schema)
    return f"%json {json.dumps({**schema, 'x-guidance': FORM})}"


class Grammars:
    """Compiles grammars for the tokens of one model, and keeps the newest."""

    def __init__(self, vocabulary: Sequence[bytes], special: Iterable[int], eos: Iterable[int]):
        """`vocabulary` contains the bytes of each token that the model has a logit for; `special`
        tokens are no text, and those of `eos` end one."""
        self._eos = frozenset(token for token in eos if token < len(vocabulary))
        self._tokenizer: LLTokenizer | None = None
        if self._eos:
            no_text = sorted(self._eos.union(token for token in special if token < len(vocabulary)))
            tokens = _Tokens(vocabulary, no_text, min(self._eos))
            self._tokenizer = LLTokenizer(tokens, eos_token=sorted(self._eos))  # type: ignore[arg-type]
        self._kept: OrderedDict[str, CompiledGrammar] = OrderedDict()
        self._lock = Lock()

    def compiled(self, grammar: Grammar) -> CompiledGrammar:
        """A grammar for these tokens. Raises GrammarError for one that is none, that is too large,
        that takes too long, or that no text of the model's tokens can begin to fulfil."""
        if self._tokenizer is None:
            raise GrammarError("the model has no token that ends a text")
        with self._lock:
            if known := self._kept.get(grammar.source):
                self._kept.move_to_end(grammar.source)
                return known
        if len(grammar.source) > LONGEST:
            raise GrammarError(
                f"it has {len(grammar.source)} characters; at most {LONGEST} are compiled"
            )
        try:
            grammar.source.encode()
        except UnicodeEncodeError as error:
            raise GrammarError(f"it is no Unicode text: {error.reason}") from None
        task = COMPILING.submit(self._compile, self._tokenizer, grammar.source)
        try:
            compiled = task.result(PATIENCE)
        except Late:
            task.cancel()
            raise GrammarError(f"it was not compiled within {PATIENCE:g} seconds") from None
        with self._lock:
            self._kept[grammar.source] = compiled
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return compiled

    def _compile(self, tokenizer: LLTokenizer, source: str) -> CompiledGrammar:
        matcher = LLMatcher(tokenizer, source + FOOTER, log_level=0, limits=LIMITS)
        check(matcher)
        mask = matcher.compute_bitmask()
        check(matcher)
        return CompiledGrammar(matcher, mask, self._eos)


def check(matcher: LLMatcher) -> None:
    """Raise GrammarError for a matcher that failed."""
    if matcher.is_error():
        reason = CONTEXT.split(matcher.get_error(), maxsplit=1)[0].strip()
        if reason == "NoExtensionBias":
            reason = "none of the model's tokens goes on as it wants the text to"
        raise GrammarError(reason)


@dataclass(frozen=True)
class _Tokens:
    """A vocabulary in the form that llguidance takes."""

    tokens: Sequence[bytes]
    special_token_ids: Sequence[int]
    eos_token_id: int
    bos_token_id: None = None
    is_tokenizer_wrapper: bool = True

    def __call__(self, text: bytes) -> Sequence[int]:
        raise GrammarError("it asks for the tokens of a text, which is not supported")


def _check_counts(schema: Any) -> None:
    """Refuse what llguidance counts otherwise than JSON does: it takes a key that is there twice
    for two properties."""
    if isinstance(schema, list):
        for each in schema:
            _check_counts(each)
    if not isinstance(schema, Mapping):
        return
    least, required = schema.get("minProperties"), schema.get("required")
    named = len(set(map(str, required))) if isinstance(required, list) else 0
    if isinstance(least, int) and least > max(1, named):
        raise GrammarError("minProperties beyond the number of required properties")
    for name, each in schema.items():
        if name not in VALUES:
            _check_counts(each)
