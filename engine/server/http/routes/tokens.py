"""Text to token ids and back."""

from engine.contract import schemas as s
from engine.server.http.prompts import chat_tokens, check_vocabulary, text_tokens
from engine.server.service import Service


def tokenize(service: Service, request: s.TokenizeRequest) -> s.TokenizeResponse:
    model = service.models.get(request.model)
    if request.messages is not None:
        tokens = chat_tokens(model, request.messages, service.settings)
    else:
        tokens = text_tokens(model, request.text or "", service.settings, "text")
    return s.TokenizeResponse(tokens=tokens, texts=model.token_texts(tokens))


def detokenize(service: Service, request: s.DetokenizeRequest) -> s.DetokenizeResponse:
    model = service.models.get(request.model)
    check_vocabulary(model, request.tokens, "tokens")
    texts = model.token_texts(request.tokens)
    with model.lock:
        return s.DetokenizeResponse(text=model.kit.tokenizer.decode(request.tokens), texts=texts)
