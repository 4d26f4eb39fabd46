"""Chat messages to token ids, within the limits."""

from engine.contract.schemas import ChatMessage, Templated
from engine.errors import ChatTemplateError, InvalidRequestError
from engine.runs.chat import ChatOptions
from engine.runs.kit import tokenize
from engine.server.errors import ImpossibleError
from engine.server.http.prompts import check_length, tokenizing
from engine.server.state.models import LoadedModel
from engine.server.state.settings import Settings


def chat_tokens(
    model: LoadedModel,
    messages: list[ChatMessage],
    request: Templated,
    settings: Settings,
    *,
    special: bool,
    param: str = "messages",
) -> list[int]:
    """The token ids of messages under the chat template, as a request wants it rendered.

    Raises ImpossibleError, on the field that has the messages, with what the template says if it
    refuses them.
    """
    check_length(sum(map(_length, messages)), settings, param)
    options = ChatOptions(
        request.add_generation_prompt,
        request.continue_final_message,
        request.enable_thinking,
        request.chat_template_kwargs,
    )
    plain = [message.model_dump(exclude_none=True) for message in messages]
    try:
        with tokenizing(model):
            return tokenize(model.kit, plain, add_special_tokens=special, chat=options)
    except ChatTemplateError as reason:
        raise ImpossibleError(f"{param}: {reason}", param) from reason
    except InvalidRequestError as reason:  # which begins with the field's name
        raise ImpossibleError(str(reason), str(reason).partition(":")[0]) from reason


def _length(message: ChatMessage) -> int:
    content = message.content
    return len(content) if isinstance(content, str) else sum(len(part.text) for part in content)
