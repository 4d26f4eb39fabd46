"""Text to token ids and back."""

from collections.abc import Iterable

from engine.contract import schemas as s
from engine.runs.encoding import decode
from engine.server.errors import ImpossibleError
from engine.server.http.chat import chat_tokens
from engine.server.http.prompts import check_vocabulary, single_token, text_tokens, tokenizing
from engine.server.service import Service
from engine.server.state.models import LoadedModel


def tokenize(service: Service, request: s.TokenizeRequest) -> s.TokenizeResponse:
    model = service.models.get(request.model)
    if request.messages is not None:
        tokens = _messages(service, model, request, request.messages)
    else:
        tokens = _text(service, model, request, request.text or "")
    return s.TokenizeResponse(tokens=tokens, texts=model.token_texts(tokens))


def detokenize(service: Service, request: s.DetokenizeRequest) -> s.DetokenizeResponse:
    model = service.models.get(request.model)
    check_vocabulary(model, request.tokens, "tokens")
    with tokenizing(model):
        text = decode(model.kit.tokenizer, request.tokens)
    return s.DetokenizeResponse(text=text, texts=model.token_texts(request.tokens))


def _text(service: Service, model: LoadedModel, request: s.TokenizeRequest, text: str) -> list[int]:
    _refuse(request, s.Templated.model_fields, "goes with messages")
    special = request.add_special_tokens is not False
    if request.single:
        _refuse(request, ["add_special_tokens"], "is not for a single token")
        return [single_token(model, text, "text")]
    return text_tokens(model, text, service.settings, "text", special).tokens


def _messages(
    service: Service, model: LoadedModel, request: s.TokenizeRequest, messages: list[s.ChatMessage]
) -> list[int]:
    _refuse(request, ["single"], "goes with text")
    special = request.add_special_tokens is True
    return chat_tokens(model, messages, request, service.settings, special=special)


def _refuse(request: s.TokenizeRequest, names: Iterable[str], reason: str) -> None:
    for name in names:
        if getattr(request, name) not in (None, False, {}):
            raise ImpossibleError(f"{name} {reason}.", name)
