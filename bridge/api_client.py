"""The operations of the endpoint as methods, blocking and asynchronous.

Generated from openapi.json by `make regenerate`; not to be edited.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from bridge import api_types as api
from bridge.transport import AsyncTransport, Transport


class Operations(Transport):
    """Each operation of the API document as a method that blocks until its reply is there."""

    def health(self) -> api.Health:
        """Say whether the server and its generation thread answer."""
        return self._json("GET", "/health")

    def metrics(self) -> str:
        """Answer what the server has done and is doing, in Prometheus' text format."""
        return self._text("GET", "/metrics")

    def openapi(self) -> dict[str, Any]:
        """Answer this document."""
        return self._json("GET", "/openapi.json")

    def list_models(self) -> api.ModelList:
        """List the models that the server has loaded."""
        return self._json("GET", "/v1/models")

    def retrieve_model(self, model_id: str) -> api.ModelEntry:
        """Describe one model that the server has loaded."""
        return self._json(
            "GET",
            "/v1/models/{model_id}",
            path={
                "model_id": model_id,
            },
        )

    def list_weights(self, model_id: str) -> api.WeightList:
        """List a model's weights by the field's names with their shapes, and why others are
        absent."""
        return self._json(
            "GET",
            "/v1/models/{model_id}/weights",
            path={
                "model_id": model_id,
            },
        )

    def read_weight(
        self,
        name: str,
        model_id: str,
        *,
        layer: int | None = None,
        head: int | None = None,
        expert: int | None = None,
        neuron: int | None = None,
        tokens: str | None = None,
    ) -> dict[str, np.ndarray]:
        """Read a weight, dequantised to float32, as one safetensors body: under its own name, or
        A and B, the factors of the circuits OV and QK of a head."""
        return self._arrays(
            "GET",
            "/v1/models/{model_id}/weights/{name}",
            path={
                "name": name,
                "model_id": model_id,
            },
            query={
                "layer": layer,
                "head": head,
                "expert": expert,
                "neuron": neuron,
                "tokens": tokens,
            },
        )

    def load_model(
        self,
        model_path: str,
        *,
        adapter_path: str | None = None,
        model_id: str | None = None,
        max_kv_size: int | None = None,
        kv_bits: Literal[2, 3, 4, 6, 8] | None = None,
        kv_group_size: Literal[32, 64, 128] | None = None,
        quantized_kv_start: int | None = None,
        context_length: int | None = None,
        prefill_step_size: int | None = None,
        dtype: Literal["float32", "float16", "bfloat16"] | None = None,
        corrections: bool | None = None,
    ) -> api.ModelEntry:
        """Load a model from a folder or a hub id."""
        return self._json(
            "POST",
            "/v1/models/load",
            body={
                "model_path": model_path,
                "adapter_path": adapter_path,
                "model_id": model_id,
                "max_kv_size": max_kv_size,
                "kv_bits": kv_bits,
                "kv_group_size": kv_group_size,
                "quantized_kv_start": quantized_kv_start,
                "context_length": context_length,
                "prefill_step_size": prefill_step_size,
                "dtype": dtype,
                "corrections": corrections,
            },
        )

    def unload_model(self, model: str) -> api.UnloadModelResponse:
        """Unload a model and free its memory."""
        return self._json(
            "POST",
            "/v1/models/unload",
            body={
                "model": model,
            },
        )

    def tokenize(
        self,
        text: str | None = None,
        *,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool | None = None,
        enable_thinking: bool | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        messages: Sequence[api.ChatMessage] | None = None,
        add_special_tokens: bool | None = None,
        single: bool | None = None,
        model: str | None = None,
    ) -> api.TokenizeResponse:
        """Turn text or chat messages into token ids."""
        return self._json(
            "POST",
            "/v1/tokenize",
            body={
                "text": text,
                "add_generation_prompt": add_generation_prompt,
                "continue_final_message": continue_final_message,
                "enable_thinking": enable_thinking,
                "chat_template_kwargs": chat_template_kwargs,
                "messages": messages,
                "add_special_tokens": add_special_tokens,
                "single": single,
                "model": model,
            },
        )

    def detokenize(
        self, tokens: Sequence[api.TokenId], *, model: str | None = None
    ) -> api.DetokenizeResponse:
        """Turn token ids into text."""
        return self._json(
            "POST",
            "/v1/detokenize",
            body={
                "tokens": tokens,
                "model": model,
            },
        )

    def create_completion(
        self,
        prompt: str | api.TokenIds | Sequence[str] | Sequence[api.TokenIds],
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        parallel_tool_calls: bool | None = None,
        tools: Sequence[Any] | None = None,
        tool_choice: Literal["none", "auto"] | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        echo: bool | None = None,
        logprobs: int | None = None,
    ) -> api.Completion:
        """Continue a prompt."""
        return self._json(
            "POST",
            "/v1/completions",
            body={
                "prompt": prompt,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "parallel_tool_calls": parallel_tool_calls,
                "tools": tools,
                "tool_choice": tool_choice,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "echo": echo,
                "logprobs": logprobs,
            },
        )

    def stream_create_completion(
        self,
        prompt: str | api.TokenIds | Sequence[str] | Sequence[api.TokenIds],
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        parallel_tool_calls: bool | None = None,
        tools: Sequence[Any] | None = None,
        tool_choice: Literal["none", "auto"] | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        echo: bool | None = None,
        logprobs: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Continue a prompt. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/completions",
            body={
                "prompt": prompt,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "parallel_tool_calls": parallel_tool_calls,
                "tools": tools,
                "tool_choice": tool_choice,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "echo": echo,
                "logprobs": logprobs,
            },
        )

    def create_chat_completion(
        self,
        messages: Sequence[api.ChatMessage],
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool | None = None,
        enable_thinking: bool | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        tools: Sequence[api.ToolSpec] | None = None,
        tool_choice: Literal["none", "auto", "required"] | api.NamedTool | None = None,
        parallel_tool_calls: bool | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        max_completion_tokens: int | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        echo: Literal[False] | None = None,
    ) -> api.ChatCompletion:
        """Answer chat messages."""
        return self._json(
            "POST",
            "/v1/chat/completions",
            body={
                "messages": messages,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "add_generation_prompt": add_generation_prompt,
                "continue_final_message": continue_final_message,
                "enable_thinking": enable_thinking,
                "chat_template_kwargs": chat_template_kwargs,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "tools": tools,
                "tool_choice": tool_choice,
                "parallel_tool_calls": parallel_tool_calls,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "max_completion_tokens": max_completion_tokens,
                "logprobs": logprobs,
                "top_logprobs": top_logprobs,
                "echo": echo,
            },
        )

    def stream_create_chat_completion(
        self,
        messages: Sequence[api.ChatMessage],
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool | None = None,
        enable_thinking: bool | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        tools: Sequence[api.ToolSpec] | None = None,
        tool_choice: Literal["none", "auto", "required"] | api.NamedTool | None = None,
        parallel_tool_calls: bool | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        max_completion_tokens: int | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        echo: Literal[False] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Answer chat messages. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/chat/completions",
            body={
                "messages": messages,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "add_generation_prompt": add_generation_prompt,
                "continue_final_message": continue_final_message,
                "enable_thinking": enable_thinking,
                "chat_template_kwargs": chat_template_kwargs,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "tools": tools,
                "tool_choice": tool_choice,
                "parallel_tool_calls": parallel_tool_calls,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "max_completion_tokens": max_completion_tokens,
                "logprobs": logprobs,
                "top_logprobs": top_logprobs,
                "echo": echo,
            },
        )

    def create_completion_with_activations(
        self,
        prompt: str | api.TokenIds,
        activation_hooks: Sequence[api.HookSpec] | None = None,
        *,
        interventions: Sequence[api.InterventionSpec] | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        parallel_tool_calls: bool | None = None,
        tools: Sequence[Any] | None = None,
        tool_choice: Literal["none", "auto"] | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        echo: bool | None = None,
        logprobs: int | None = None,
    ) -> api.CompletionWithActivations:
        """Continue a prompt and capture activations at each forward pass."""
        return self._json(
            "POST",
            "/v1/completions/with_activations",
            body={
                "prompt": prompt,
                "activation_hooks": activation_hooks,
                "interventions": interventions,
                "activation_format": activation_format,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "parallel_tool_calls": parallel_tool_calls,
                "tools": tools,
                "tool_choice": tool_choice,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "echo": echo,
                "logprobs": logprobs,
            },
        )

    def stream_create_completion_with_activations(
        self,
        prompt: str | api.TokenIds,
        activation_hooks: Sequence[api.HookSpec] | None = None,
        *,
        interventions: Sequence[api.InterventionSpec] | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        parallel_tool_calls: bool | None = None,
        tools: Sequence[Any] | None = None,
        tool_choice: Literal["none", "auto"] | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        echo: bool | None = None,
        logprobs: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Continue a prompt and capture activations at each forward pass. Yields the events of
        the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/completions/with_activations",
            body={
                "prompt": prompt,
                "activation_hooks": activation_hooks,
                "interventions": interventions,
                "activation_format": activation_format,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "parallel_tool_calls": parallel_tool_calls,
                "tools": tools,
                "tool_choice": tool_choice,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "echo": echo,
                "logprobs": logprobs,
            },
        )

    def create_chat_completion_with_activations(
        self,
        messages: Sequence[api.ChatMessage],
        activation_hooks: Sequence[api.HookSpec] | None = None,
        *,
        interventions: Sequence[api.InterventionSpec] | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool | None = None,
        enable_thinking: bool | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        tools: Sequence[api.ToolSpec] | None = None,
        tool_choice: Literal["none", "auto", "required"] | api.NamedTool | None = None,
        parallel_tool_calls: bool | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        max_completion_tokens: int | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        echo: Literal[False] | None = None,
    ) -> api.ChatCompletionWithActivations:
        """Answer chat messages and capture activations at each forward pass."""
        return self._json(
            "POST",
            "/v1/chat/completions/with_activations",
            body={
                "messages": messages,
                "activation_hooks": activation_hooks,
                "interventions": interventions,
                "activation_format": activation_format,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "add_generation_prompt": add_generation_prompt,
                "continue_final_message": continue_final_message,
                "enable_thinking": enable_thinking,
                "chat_template_kwargs": chat_template_kwargs,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "tools": tools,
                "tool_choice": tool_choice,
                "parallel_tool_calls": parallel_tool_calls,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "max_completion_tokens": max_completion_tokens,
                "logprobs": logprobs,
                "top_logprobs": top_logprobs,
                "echo": echo,
            },
        )

    def stream_create_chat_completion_with_activations(
        self,
        messages: Sequence[api.ChatMessage],
        activation_hooks: Sequence[api.HookSpec] | None = None,
        *,
        interventions: Sequence[api.InterventionSpec] | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool | None = None,
        enable_thinking: bool | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        tools: Sequence[api.ToolSpec] | None = None,
        tool_choice: Literal["none", "auto", "required"] | api.NamedTool | None = None,
        parallel_tool_calls: bool | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        max_completion_tokens: int | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        echo: Literal[False] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Answer chat messages and capture activations at each forward pass. Yields the events
        of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/chat/completions/with_activations",
            body={
                "messages": messages,
                "activation_hooks": activation_hooks,
                "interventions": interventions,
                "activation_format": activation_format,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "add_generation_prompt": add_generation_prompt,
                "continue_final_message": continue_final_message,
                "enable_thinking": enable_thinking,
                "chat_template_kwargs": chat_template_kwargs,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "tools": tools,
                "tool_choice": tool_choice,
                "parallel_tool_calls": parallel_tool_calls,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "max_completion_tokens": max_completion_tokens,
                "logprobs": logprobs,
                "top_logprobs": top_logprobs,
                "echo": echo,
            },
        )

    def forward(
        self,
        prompt: str | api.TokenIds | Sequence[api.TokenIds] | None = None,
        activation_hooks: Sequence[api.HookSpec] | None = None,
        *,
        interventions: Sequence[api.InterventionSpec] | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        tokens: api.TokenIds | Sequence[api.TokenIds] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        logits: Literal["last", "all", "none"] | None = None,
        top_k: int | None = None,
    ) -> api.Forward:
        """Run one forward pass and capture activations; nothing is sampled."""
        return self._json(
            "POST",
            "/v1/forward",
            body={
                "prompt": prompt,
                "activation_hooks": activation_hooks,
                "interventions": interventions,
                "activation_format": activation_format,
                "tokens": tokens,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "logits": logits,
                "top_k": top_k,
            },
        )

    def create_response(
        self,
        input: str
        | Sequence[api.InputMessage | api.InputCall | api.InputCallOutput | api.InputReasoning],
        *,
        model: str | None = None,
        instructions: str | None = None,
        previous_response_id: str | None = None,
        store: bool | None = None,
        max_output_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        text: api.TextOptions | None = None,
        tools: Sequence[api.FunctionTool] | None = None,
        tool_choice: Literal["none", "auto", "required"] | api.FunctionChoice | None = None,
        parallel_tool_calls: bool | None = None,
        truncation: Literal["disabled"] | None = None,
        metadata: Mapping[str, Any] | None = None,
        user: str | None = None,
    ) -> api.ModelResponse:
        """Answer a user, or messages, in a conversation that the server keeps."""
        return self._json(
            "POST",
            "/v1/responses",
            body={
                "input": input,
                "model": model,
                "instructions": instructions,
                "previous_response_id": previous_response_id,
                "store": store,
                "max_output_tokens": max_output_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "text": text,
                "tools": tools,
                "tool_choice": tool_choice,
                "parallel_tool_calls": parallel_tool_calls,
                "truncation": truncation,
                "metadata": metadata,
                "user": user,
            },
        )

    def stream_create_response(
        self,
        input: str
        | Sequence[api.InputMessage | api.InputCall | api.InputCallOutput | api.InputReasoning],
        *,
        model: str | None = None,
        instructions: str | None = None,
        previous_response_id: str | None = None,
        store: bool | None = None,
        max_output_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        text: api.TextOptions | None = None,
        tools: Sequence[api.FunctionTool] | None = None,
        tool_choice: Literal["none", "auto", "required"] | api.FunctionChoice | None = None,
        parallel_tool_calls: bool | None = None,
        truncation: Literal["disabled"] | None = None,
        metadata: Mapping[str, Any] | None = None,
        user: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Answer a user, or messages, in a conversation that the server keeps. Yields the events
        of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/responses",
            body={
                "input": input,
                "model": model,
                "instructions": instructions,
                "previous_response_id": previous_response_id,
                "store": store,
                "max_output_tokens": max_output_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "text": text,
                "tools": tools,
                "tool_choice": tool_choice,
                "parallel_tool_calls": parallel_tool_calls,
                "truncation": truncation,
                "metadata": metadata,
                "user": user,
            },
        )

    def create_embeddings(
        self,
        input: str | api.TokenIds | Sequence[str] | Sequence[api.TokenIds],
        *,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        layer: int | None = None,
        pooling: Literal["mean", "last"] | None = None,
        encoding_format: Literal["float", "base64"] | None = None,
        dimensions: int | None = None,
        user: str | None = None,
    ) -> api.Embeddings:
        """Answer a vector for each text: a layer's residual stream, pooled over its positions."""
        return self._json(
            "POST",
            "/v1/embeddings",
            body={
                "input": input,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "layer": layer,
                "pooling": pooling,
                "encoding_format": encoding_format,
                "dimensions": dimensions,
                "user": user,
            },
        )

    def logit_lens(
        self,
        prompt: str | api.TokenIds,
        *,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        lens: api.LensFile | None = None,
        top_k: int | None = None,
    ) -> api.LogitLens:
        """Answer what each layer's residual stream would predict at each position."""
        return self._json(
            "POST",
            "/v1/logit_lens",
            body={
                "prompt": prompt,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "lens": lens,
                "top_k": top_k,
            },
        )

    def promoted_tokens(
        self,
        neuron: int,
        layer: int,
        *,
        expert: int | None = None,
        top_k: int | None = None,
        model: str | None = None,
    ) -> api.PromotedTokens:
        """Answer which tokens a neuron promotes and suppresses, by its output weights."""
        return self._json(
            "POST",
            "/v1/neurons/tokens",
            body={
                "neuron": neuron,
                "layer": layer,
                "expert": expert,
                "top_k": top_k,
                "model": model,
            },
        )

    def nearest_tokens(
        self, token: str | api.TokenId, *, top_k: int | None = None, model: str | None = None
    ) -> api.NearestTokens:
        """Answer which tokens have the embeddings nearest to a token's."""
        return self._json(
            "POST",
            "/v1/tokens/nearest",
            body={
                "token": token,
                "top_k": top_k,
                "model": model,
            },
        )

    def logit_attribution(
        self,
        prompt: str | api.TokenIds,
        answer: str | api.TokenId,
        *,
        distractor: str | api.TokenId | None = None,
        position: api.Position | None = None,
        by: Literal["layer", "component", "head", "neuron", "feature"] | None = None,
        feature_sets: Sequence[str] | None = None,
        top_k: int | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
    ) -> api.LogitAttribution:
        """Answer how much each layer, component, head or neuron adds to a token's logit by
        itself."""
        return self._json(
            "POST",
            "/v1/logit_attribution",
            body={
                "prompt": prompt,
                "answer": answer,
                "distractor": distractor,
                "position": position,
                "by": by,
                "feature_sets": feature_sets,
                "top_k": top_k,
                "add_special_tokens": add_special_tokens,
                "model": model,
            },
        )

    def head_tokens(
        self,
        head: int,
        layer: int,
        circuit: Literal["OV", "QK"],
        *,
        tokens: Sequence[str | api.TokenId] | None = None,
        top_k: int | None = None,
        model: str | None = None,
    ) -> api.HeadTokens:
        """Answer which tokens a head copies, or attends to, by its weights."""
        return self._json(
            "POST",
            "/v1/heads/tokens",
            body={
                "head": head,
                "layer": layer,
                "circuit": circuit,
                "tokens": tokens,
                "top_k": top_k,
                "model": model,
            },
        )

    def load_features(
        self,
        features_path: str,
        *,
        subfolder: str | None = None,
        feature_set: str | None = None,
        hook_name: str | None = None,
        hook_name_out: str | None = None,
        model: str | None = None,
    ) -> api.FeatureSetList:
        """Load feature sets beside a model: sparse autoencoders, transcoders."""
        return self._json(
            "POST",
            "/v1/features/load",
            body={
                "features_path": features_path,
                "subfolder": subfolder,
                "feature_set": feature_set,
                "hook_name": hook_name,
                "hook_name_out": hook_name_out,
                "model": model,
            },
        )

    def list_features(self, *, model: str | None = None) -> api.FeatureSetList:
        """List the feature sets that are loaded."""
        return self._json(
            "GET",
            "/v1/features",
            query={
                "model": model,
            },
        )

    def unload_features(
        self, feature_set: str, *, model: str | None = None
    ) -> api.UnloadedFeatures:
        """Unload a feature set and free its memory."""
        return self._json(
            "POST",
            "/v1/features/unload",
            body={
                "feature_set": feature_set,
                "model": model,
            },
        )

    def measure_features(
        self,
        feature_set: str,
        prompts: Sequence[str | api.TokenIds],
        *,
        add_special_tokens: bool | None = None,
        exclude_special_tokens: bool | None = None,
        model: str | None = None,
    ) -> api.FeatureMetrics:
        """Measure how well a feature set reconstructs the model's values, and what the model
        loses by it."""
        return self._result(
            "POST",
            "/v1/features/metrics",
            body={
                "feature_set": feature_set,
                "prompts": prompts,
                "add_special_tokens": add_special_tokens,
                "exclude_special_tokens": exclude_special_tokens,
                "model": model,
            },
        )

    def stream_measure_features(
        self,
        feature_set: str,
        prompts: Sequence[str | api.TokenIds],
        *,
        add_special_tokens: bool | None = None,
        exclude_special_tokens: bool | None = None,
        model: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Measure how well a feature set reconstructs the model's values, and what the model
        loses by it. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/features/metrics",
            body={
                "feature_set": feature_set,
                "prompts": prompts,
                "add_special_tokens": add_special_tokens,
                "exclude_special_tokens": exclude_special_tokens,
                "model": model,
            },
        )

    def feature_examples(
        self,
        feature_set: str,
        features: Sequence[int],
        texts: Sequence[str] | None = None,
        *,
        layer: int | None = None,
        texts_path: str | None = None,
        top_k: int | None = None,
        before: int | None = None,
        after: int | None = None,
        context: int | None = None,
        skipped: int | None = None,
        tokens: int | None = None,
        effects: int | None = None,
        resume: bool | None = None,
        model: str | None = None,
    ) -> api.FeatureExamples:
        """Find the texts in which features are on most, how often they are on, and what they
        promote."""
        return self._result(
            "POST",
            "/v1/features/examples",
            body={
                "feature_set": feature_set,
                "features": features,
                "texts": texts,
                "layer": layer,
                "texts_path": texts_path,
                "top_k": top_k,
                "before": before,
                "after": after,
                "context": context,
                "skipped": skipped,
                "tokens": tokens,
                "effects": effects,
                "resume": resume,
                "model": model,
            },
        )

    def stream_feature_examples(
        self,
        feature_set: str,
        features: Sequence[int],
        texts: Sequence[str] | None = None,
        *,
        layer: int | None = None,
        texts_path: str | None = None,
        top_k: int | None = None,
        before: int | None = None,
        after: int | None = None,
        context: int | None = None,
        skipped: int | None = None,
        tokens: int | None = None,
        effects: int | None = None,
        resume: bool | None = None,
        model: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Find the texts in which features are on most, how often they are on, and what they
        promote. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/features/examples",
            body={
                "feature_set": feature_set,
                "features": features,
                "texts": texts,
                "layer": layer,
                "texts_path": texts_path,
                "top_k": top_k,
                "before": before,
                "after": after,
                "context": context,
                "skipped": skipped,
                "tokens": tokens,
                "effects": effects,
                "resume": resume,
                "model": model,
            },
        )

    def feature_tokens(
        self,
        feature_set: str,
        feature: int,
        *,
        layer: int | None = None,
        top_k: int | None = None,
        model: str | None = None,
    ) -> api.FeatureTokens:
        """Answer which tokens a feature promotes and suppresses, by its decoder weights."""
        return self._json(
            "POST",
            "/v1/features/tokens",
            body={
                "feature_set": feature_set,
                "feature": feature,
                "layer": layer,
                "top_k": top_k,
                "model": model,
            },
        )

    def gradients(
        self,
        target: api.GradientTarget,
        prompt: str | api.TokenIds,
        hooks: Sequence[api.HookSpec] | None = None,
        *,
        integrated: api.IntegratedGradients | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
    ) -> api.Gradients:
        """Differentiate a logit, a difference, a probability or a loss by any activation, and by
        the tokens of the prompt."""
        return self._result(
            "POST",
            "/v1/gradients",
            body={
                "target": target,
                "prompt": prompt,
                "hooks": hooks,
                "integrated": integrated,
                "activation_format": activation_format,
                "add_special_tokens": add_special_tokens,
                "model": model,
            },
        )

    def stream_gradients(
        self,
        target: api.GradientTarget,
        prompt: str | api.TokenIds,
        hooks: Sequence[api.HookSpec] | None = None,
        *,
        integrated: api.IntegratedGradients | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Differentiate a logit, a difference, a probability or a loss by any activation, and by
        the tokens of the prompt. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/gradients",
            body={
                "target": target,
                "prompt": prompt,
                "hooks": hooks,
                "integrated": integrated,
                "activation_format": activation_format,
                "add_special_tokens": add_special_tokens,
                "model": model,
            },
        )

    def patch_circuit(
        self,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        *,
        examples: Sequence[api.CircuitExample] | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        component: Literal[
            "residual",
            "attention",
            "mlp",
            "mlp_hidden",
            "head_output",
            "hook_resid_post",
            "hook_out",
            "hook_attn_out",
            "attn.hook_out",
            "hook_mlp_out",
            "mlp.hook_out",
            "mlp.hook_post",
            "attn.hook_z",
        ]
        | None = None,
        method: Literal["activation_patching", "attribution_patching", "ablation"] | None = None,
        direction: Literal["denoising", "noising"] | None = None,
        ablation: api.CircuitAblation | None = None,
        layers: Sequence[int] | None = None,
        heads: Sequence[api.Head] | None = None,
        neurons: Sequence[int] | None = None,
        positions: Literal["all", "each"] | Sequence[api.Position] | None = None,
        sets: Sequence[Sequence[api.CircuitPart]] | None = None,
    ) -> api.CircuitEffects:
        """Measure how much each head, each neuron, or each layer at each position, or each set
        of such parts, matters to an answer."""
        return self._result(
            "POST",
            "/v1/circuits/patch",
            body={
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "examples": examples,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "component": component,
                "method": method,
                "direction": direction,
                "ablation": ablation,
                "layers": layers,
                "heads": heads,
                "neurons": neurons,
                "positions": positions,
                "sets": sets,
            },
        )

    def stream_patch_circuit(
        self,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        *,
        examples: Sequence[api.CircuitExample] | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        component: Literal[
            "residual",
            "attention",
            "mlp",
            "mlp_hidden",
            "head_output",
            "hook_resid_post",
            "hook_out",
            "hook_attn_out",
            "attn.hook_out",
            "hook_mlp_out",
            "mlp.hook_out",
            "mlp.hook_post",
            "attn.hook_z",
        ]
        | None = None,
        method: Literal["activation_patching", "attribution_patching", "ablation"] | None = None,
        direction: Literal["denoising", "noising"] | None = None,
        ablation: api.CircuitAblation | None = None,
        layers: Sequence[int] | None = None,
        heads: Sequence[api.Head] | None = None,
        neurons: Sequence[int] | None = None,
        positions: Literal["all", "each"] | Sequence[api.Position] | None = None,
        sets: Sequence[Sequence[api.CircuitPart]] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Measure how much each head, each neuron, or each layer at each position, or each set
        of such parts, matters to an answer. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/circuits/patch",
            body={
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "examples": examples,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "component": component,
                "method": method,
                "direction": direction,
                "ablation": ablation,
                "layers": layers,
                "heads": heads,
                "neurons": neurons,
                "positions": positions,
                "sets": sets,
            },
        )

    def verify_circuit(
        self,
        circuit: Sequence[api.CircuitPart],
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        ablation: api.CircuitAblation | None = None,
        subsets: int | None = None,
        seed: int | None = None,
    ) -> api.CircuitVerification:
        """Measure whether a circuit does what the whole model does, and needs all of its parts."""
        return self._result(
            "POST",
            "/v1/circuits/verify",
            body={
                "circuit": circuit,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "ablation": ablation,
                "subsets": subsets,
                "seed": seed,
            },
        )

    def stream_verify_circuit(
        self,
        circuit: Sequence[api.CircuitPart],
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        ablation: api.CircuitAblation | None = None,
        subsets: int | None = None,
        seed: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Measure whether a circuit does what the whole model does, and needs all of its parts.
        Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/circuits/verify",
            body={
                "circuit": circuit,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "ablation": ablation,
                "subsets": subsets,
                "seed": seed,
            },
        )

    def attribution_graph(
        self,
        prompt: str | api.TokenIds,
        *,
        feature_sets: Sequence[str] | None = None,
        skipped_positions: Sequence[int] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        max_logits: int | None = None,
        logit_mass: float | None = None,
        max_feature_nodes: int | None = None,
        node_threshold: float | None = None,
        edge_threshold: float | None = None,
        slug: str | None = None,
    ) -> api.AttributionGraph:
        """Measure which features, tokens and errors made the likeliest next tokens, and which
        made these, with transcoders in the place of MLPs."""
        return self._result(
            "POST",
            "/v1/attribution_graphs",
            body={
                "prompt": prompt,
                "feature_sets": feature_sets,
                "skipped_positions": skipped_positions,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "max_logits": max_logits,
                "logit_mass": logit_mass,
                "max_feature_nodes": max_feature_nodes,
                "node_threshold": node_threshold,
                "edge_threshold": edge_threshold,
                "slug": slug,
            },
        )

    def stream_attribution_graph(
        self,
        prompt: str | api.TokenIds,
        *,
        feature_sets: Sequence[str] | None = None,
        skipped_positions: Sequence[int] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        max_logits: int | None = None,
        logit_mass: float | None = None,
        max_feature_nodes: int | None = None,
        node_threshold: float | None = None,
        edge_threshold: float | None = None,
        slug: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Measure which features, tokens and errors made the likeliest next tokens, and which
        made these, with transcoders in the place of MLPs. Yields the events of the reply as
        they arrive."""
        return self._events(
            "POST",
            "/v1/attribution_graphs",
            body={
                "prompt": prompt,
                "feature_sets": feature_sets,
                "skipped_positions": skipped_positions,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "max_logits": max_logits,
                "logit_mass": logit_mass,
                "max_feature_nodes": max_feature_nodes,
                "node_threshold": node_threshold,
                "edge_threshold": edge_threshold,
                "slug": slug,
            },
        )

    def change_graph_features(
        self,
        changes: Sequence[api.FeatureActivation],
        prompt: str | api.TokenIds,
        *,
        feature_sets: Sequence[str] | None = None,
        skipped_positions: Sequence[int] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        features: Sequence[api.FeaturePlace] | None = None,
        tokens: Sequence[str | api.TokenId] | None = None,
    ) -> api.GraphInterventionOutcomes:
        """Measure what becomes of features and logits when features of a prompt are set to other
        activations, beside what the attribution graph predicts."""
        return self._json(
            "POST",
            "/v1/attribution_graphs/interventions",
            body={
                "changes": changes,
                "prompt": prompt,
                "feature_sets": feature_sets,
                "skipped_positions": skipped_positions,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "features": features,
                "tokens": tokens,
            },
        )

    def score_edges(
        self,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        method: Literal["eap", "eap_ig"] | None = None,
        steps: int | None = None,
        top_n: int | None = None,
        sources: Sequence[str] | None = None,
        destinations: Sequence[str] | None = None,
        scores: Literal["none", "array", "safetensors"] | None = None,
    ) -> api.CircuitEdges:
        """Estimate how much each edge between the parts of a model matters to an answer, all of
        them in a few passes."""
        return self._result(
            "POST",
            "/v1/circuits/edges",
            body={
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "method": method,
                "steps": steps,
                "top_n": top_n,
                "sources": sources,
                "destinations": destinations,
                "scores": scores,
            },
        )

    def stream_score_edges(
        self,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        method: Literal["eap", "eap_ig"] | None = None,
        steps: int | None = None,
        top_n: int | None = None,
        sources: Sequence[str] | None = None,
        destinations: Sequence[str] | None = None,
        scores: Literal["none", "array", "safetensors"] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Estimate how much each edge between the parts of a model matters to an answer, all of
        them in a few passes. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/circuits/edges",
            body={
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "method": method,
                "steps": steps,
                "top_n": top_n,
                "sources": sources,
                "destinations": destinations,
                "scores": scores,
            },
        )

    def edge_faithfulness(
        self,
        edges: Sequence[api.EdgeSpec] | None = None,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        sizes: Sequence[int] | None = None,
        random: int | None = None,
        seed: int | None = None,
    ) -> api.EdgeFaithfulness:
        """Measure how much of a behaviour circuits of the first edges of a ranking do, with what
        all others carry patched."""
        return self._result(
            "POST",
            "/v1/circuits/edges/faithfulness",
            body={
                "edges": edges,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "sizes": sizes,
                "random": random,
                "seed": seed,
            },
        )

    def stream_edge_faithfulness(
        self,
        edges: Sequence[api.EdgeSpec] | None = None,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        sizes: Sequence[int] | None = None,
        random: int | None = None,
        seed: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Measure how much of a behaviour circuits of the first edges of a ranking do, with what
        all others carry patched. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/circuits/edges/faithfulness",
            body={
                "edges": edges,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "sizes": sizes,
                "random": random,
                "seed": seed,
            },
        )

    def prune_circuit(
        self,
        threshold: float,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        edges: Sequence[api.EdgeSpec] | None = None,
        distance: Literal["kl", "score"] | None = None,
    ) -> api.PrunedCircuit:
        """Prune a circuit edge by edge, as ACDC does."""
        return self._result(
            "POST",
            "/v1/circuits/edges/prune",
            body={
                "threshold": threshold,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "edges": edges,
                "distance": distance,
            },
        )

    def stream_prune_circuit(
        self,
        threshold: float,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        edges: Sequence[api.EdgeSpec] | None = None,
        distance: Literal["kl", "score"] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Prune a circuit edge by edge, as ACDC does. Yields the events of the reply as they
        arrive."""
        return self._events(
            "POST",
            "/v1/circuits/edges/prune",
            body={
                "threshold": threshold,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "edges": edges,
                "distance": distance,
            },
        )

    def patch_paths(
        self,
        senders: Sequence[Sequence[str]],
        receivers: Sequence[str],
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        held: Literal["heads", "heads_and_mlps"] | None = None,
    ) -> api.CircuitPaths:
        """Measure what senders send to receivers directly, by path patching."""
        return self._result(
            "POST",
            "/v1/circuits/paths",
            body={
                "senders": senders,
                "receivers": receivers,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "held": held,
            },
        )

    def stream_patch_paths(
        self,
        senders: Sequence[Sequence[str]],
        receivers: Sequence[str],
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        held: Literal["heads", "heads_and_mlps"] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Measure what senders send to receivers directly, by path patching. Yields the events
        of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/circuits/paths",
            body={
                "senders": senders,
                "receivers": receivers,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "held": held,
            },
        )

    def score_nodes(
        self,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        qk_fix: bool | None = None,
        grad_drop: bool | None = None,
    ) -> api.CircuitNodes:
        """Estimate how much each node matters to an answer, by attribution patching with the
        corrections of AtP*."""
        return self._result(
            "POST",
            "/v1/circuits/nodes",
            body={
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "qk_fix": qk_fix,
                "grad_drop": grad_drop,
            },
        )

    def stream_score_nodes(
        self,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        qk_fix: bool | None = None,
        grad_drop: bool | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Estimate how much each node matters to an answer, by attribution patching with the
        corrections of AtP*. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/circuits/nodes",
            body={
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "qk_fix": qk_fix,
                "grad_drop": grad_drop,
            },
        )

    def begin_forward_session(
        self,
        prompt: str | api.TokenIds | Sequence[api.TokenIds] | None = None,
        breakpoints: Sequence[api.BreakpointSpec] | None = None,
        *,
        breakpoint_format: Literal["array", "base64"] | None = None,
        activation_hooks: Sequence[api.HookSpec] | None = None,
        interventions: Sequence[api.InterventionSpec] | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        tokens: api.TokenIds | Sequence[api.TokenIds] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        logits: Literal["last", "all", "none"] | None = None,
        top_k: int | None = None,
    ) -> api.SessionState:
        """Run a forward pass to its first breakpoint, whose value may be changed before it
        continues. One session at a time; a breakpoint is given up, and its pass, after a
        minute."""
        return self._json(
            "POST",
            "/v1/sessions",
            body={
                "prompt": prompt,
                "breakpoints": breakpoints,
                "breakpoint_format": breakpoint_format,
                "activation_hooks": activation_hooks,
                "interventions": interventions,
                "activation_format": activation_format,
                "tokens": tokens,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "logits": logits,
                "top_k": top_k,
            },
        )

    def begin_completion_session(
        self,
        prompt: str | api.TokenIds,
        breakpoints: Sequence[api.BreakpointSpec],
        *,
        breakpoint_format: Literal["array", "base64"] | None = None,
        activation_hooks: Sequence[api.HookSpec] | None = None,
        interventions: Sequence[api.InterventionSpec] | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        parallel_tool_calls: bool | None = None,
        tools: Sequence[Any] | None = None,
        tool_choice: Literal["none", "auto"] | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        echo: Literal[False] | None = None,
        logprobs: int | None = None,
    ) -> api.SessionState:
        """Continue a prompt in a session, which pauses in each of its forward passes."""
        return self._json(
            "POST",
            "/v1/completions/with_breakpoints",
            body={
                "prompt": prompt,
                "breakpoints": breakpoints,
                "breakpoint_format": breakpoint_format,
                "activation_hooks": activation_hooks,
                "interventions": interventions,
                "activation_format": activation_format,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "parallel_tool_calls": parallel_tool_calls,
                "tools": tools,
                "tool_choice": tool_choice,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "echo": echo,
                "logprobs": logprobs,
            },
        )

    def continue_session(
        self, session_id: str, value: api.TensorValue | None = None
    ) -> api.SessionState:
        """Go on, with another value or as it is, to the next breakpoint or the end."""
        return self._json(
            "POST",
            "/v1/sessions/{session_id}",
            path={
                "session_id": session_id,
            },
            body={
                "value": value,
            },
        )

    def cancel_session(self, session_id: str) -> api.CancelledSession:
        """Give up a session that is paused."""
        return self._json(
            "DELETE",
            "/v1/sessions/{session_id}",
            path={
                "session_id": session_id,
            },
        )

    def keep_session(self, session_id: str) -> api.KeptSession:
        """Let a session that is paused wait from now on for as long as it does at first: a
        client that is still at work, or whose user is, says so."""
        return self._json(
            "POST",
            "/v1/sessions/{session_id}/keep",
            path={
                "session_id": session_id,
            },
        )

    def begin_debug_session(
        self,
        prompt: str | api.TokenIds,
        *,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        interventions: Sequence[api.InterventionSpec] | None = None,
    ) -> api.DebugState:
        """Begin a forward pass in steps, stopped before its first layer."""
        return self._json(
            "POST",
            "/v1/debug_sessions",
            body={
                "prompt": prompt,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "interventions": interventions,
            },
        )

    def describe_debug_session(self, session_id: str) -> api.DebugState:
        """Say where a pass in steps is, and keep it."""
        return self._json(
            "GET",
            "/v1/debug_sessions/{session_id}",
            path={
                "session_id": session_id,
            },
        )

    def end_debug_session(self, session_id: str) -> api.EndedDebugSession:
        """End a debug session, and free what is kept for it."""
        return self._json(
            "DELETE",
            "/v1/debug_sessions/{session_id}",
            path={
                "session_id": session_id,
            },
        )

    def step_debug_session(
        self,
        session_id: str,
        to: Literal["layer", "point", "end"] | None = None,
        *,
        layer_name: str | None = None,
        component: api.ComponentName | None = None,
    ) -> api.DebugState:
        """Go on with a pass: to the next layer, the next value, a place ahead, or the end."""
        return self._json(
            "POST",
            "/v1/debug_sessions/{session_id}/step",
            path={
                "session_id": session_id,
            },
            body={
                "to": to,
                "layer_name": layer_name,
                "component": component,
            },
        )

    def restart_debug_session(self, session_id: str, layer: int) -> api.DebugState:
        """Go back to where a layer begins: the residual stream that enters it was kept, and what
        was changed behind it is forgotten."""
        return self._json(
            "POST",
            "/v1/debug_sessions/{session_id}/restart",
            path={
                "session_id": session_id,
            },
            body={
                "layer": layer,
            },
        )

    def read_debug_session(
        self, session_id: str, *, position: int | None = None
    ) -> api.ActivationRecord:
        """Read the value where a pass is stopped; at its end the logits of the last position."""
        return self._json(
            "GET",
            "/v1/debug_sessions/{session_id}/value",
            path={
                "session_id": session_id,
            },
            query={
                "position": position,
            },
        )

    def change_debug_session(
        self, session_id: str, value: api.TensorValue | None = None
    ) -> api.DebugState:
        """Replace the value where a pass is stopped, or without a value put the model's own
        back."""
        return self._json(
            "POST",
            "/v1/debug_sessions/{session_id}/value",
            path={
                "session_id": session_id,
            },
            body={
                "value": value,
            },
        )

    def debug_logit_lens(
        self, session_id: str, *, position: int | None = None, top_k: int | None = None
    ) -> api.DebugLens:
        """Read the likeliest next tokens from the residual stream where a pass is stopped."""
        return self._json(
            "GET",
            "/v1/debug_sessions/{session_id}/logit_lens",
            path={
                "session_id": session_id,
            },
            query={
                "position": position,
                "top_k": top_k,
            },
        )

    def fork_debug_session(
        self, session_id: str, value: api.TensorValue | None = None, *, top_k: int | None = None
    ) -> api.DebugFork:
        """Compare two continuations of a pass, layer by layer and at the end."""
        return self._json(
            "POST",
            "/v1/debug_sessions/{session_id}/fork",
            path={
                "session_id": session_id,
            },
            body={
                "value": value,
                "top_k": top_k,
            },
        )

    def list_jobs(self) -> api.JobList:
        """List what is being worked on, and what waits."""
        return self._json("GET", "/v1/jobs")

    def cancel_job(self, job_id: str) -> api.CancelledJob:
        """Cancel a job; its own client is told."""
        return self._json(
            "DELETE",
            "/v1/jobs/{job_id}",
            path={
                "job_id": job_id,
            },
        )

    def register_hooks(
        self, hooks: Sequence[api.HookSpec], *, model: str | None = None
    ) -> api.RegisteredHooks:
        """Register hooks that capture on every later generation of a model."""
        return self._json(
            "POST",
            "/v1/activations/hooks",
            body={
                "hooks": hooks,
                "model": model,
            },
        )

    def list_hooks(self, *, model: str | None = None) -> api.HookList:
        """List the registered hooks."""
        return self._json(
            "GET",
            "/v1/activations/hooks",
            query={
                "model": model,
            },
        )

    def delete_hooks(self, *, model: str | None = None) -> api.RemovedHooks:
        """Remove all registered hooks."""
        return self._json(
            "DELETE",
            "/v1/activations/hooks",
            query={
                "model": model,
            },
        )

    def delete_hook(self, hook_id: str, *, model: str | None = None) -> api.RemovedHooks:
        """Remove one registered hook."""
        return self._json(
            "DELETE",
            "/v1/activations/hooks/{hook_id}",
            path={
                "hook_id": hook_id,
            },
            query={
                "model": model,
            },
        )

    def clear_hooks(self, *, model: str | None = None) -> api.RemovedHooks:
        """Remove all registered hooks, for clients that cannot send DELETE."""
        return self._json(
            "POST",
            "/v1/activations/hooks/clear",
            query={
                "model": model,
            },
        )

    def compute_steering_vector(
        self,
        pairs: Sequence[api.ContrastPair],
        *,
        name: str | None = None,
        model: str | None = None,
        method: Literal["mean_difference", "pca", "pca_center"] | None = None,
        layers: Sequence[int] | None = None,
        position: api.Position | Literal["mean"] | None = None,
        add_special_tokens: bool | None = None,
    ) -> api.SteeringVectorEntry:
        """Find the directions in which a model's residual streams differ between pairs of texts."""
        return self._json(
            "POST",
            "/v1/steering_vectors",
            body={
                "pairs": pairs,
                "name": name,
                "model": model,
                "method": method,
                "layers": layers,
                "position": position,
                "add_special_tokens": add_special_tokens,
            },
        )

    def list_steering_vectors(self) -> api.SteeringVectorList:
        """List the steering vectors that are kept."""
        return self._json("GET", "/v1/steering_vectors")

    def import_steering_vector(
        self, data_base64: str, *, name: str | None = None
    ) -> api.SteeringVectorEntry:
        """Take a steering vector from a file: safetensors, or a control vector in GGUF."""
        return self._json(
            "POST",
            "/v1/steering_vectors/import",
            body={
                "data_base64": data_base64,
                "name": name,
            },
        )

    def describe_steering_vector(self, vector: str) -> api.SteeringVectorEntry:
        """Describe one steering vector."""
        return self._json(
            "GET",
            "/v1/steering_vectors/{vector}",
            path={
                "vector": vector,
            },
        )

    def delete_steering_vector(self, vector: str) -> api.DeletedSteeringVector:
        """Forget one steering vector; where it is registered it goes on acting."""
        return self._json(
            "DELETE",
            "/v1/steering_vectors/{vector}",
            path={
                "vector": vector,
            },
        )

    def read_steering_vector(
        self, vector: str, *, format: str | None = None
    ) -> api.SteeringVectorFile:
        """Answer a steering vector as a file, in base64."""
        return self._json(
            "GET",
            "/v1/steering_vectors/{vector}/file",
            path={
                "vector": vector,
            },
            query={
                "format": format,
            },
        )

    def register_steering(
        self,
        vector: str,
        *,
        model: str | None = None,
        steering_id: str | None = None,
        operation: Literal["addition", "ablation"] | None = None,
        strength: float | None = None,
        strengths: Sequence[api.LayerStrength] | None = None,
        of_layer: int | None = None,
        positions: Literal["all", "prompt", "generated"] | None = None,
        scope: Literal["server", "session"] | None = None,
    ) -> api.SteeringEntry:
        """Steer a model from now on: every completion, chat, response and forward pass."""
        return self._json(
            "POST",
            "/v1/steering",
            body={
                "vector": vector,
                "model": model,
                "steering_id": steering_id,
                "operation": operation,
                "strength": strength,
                "strengths": strengths,
                "of_layer": of_layer,
                "positions": positions,
                "scope": scope,
            },
        )

    def list_steering(self, *, model: str | None = None) -> api.SteeringList:
        """List what steers: for all clients, and in the session that asks."""
        return self._json(
            "GET",
            "/v1/steering",
            query={
                "model": model,
            },
        )

    def delete_all_steering(self, *, model: str | None = None) -> api.RemovedSteering:
        """Steer no longer: with what is for all clients, and with that of the session that asks."""
        return self._json(
            "DELETE",
            "/v1/steering",
            query={
                "model": model,
            },
        )

    def delete_steering(self, steering_id: str) -> api.RemovedSteering:
        """Steer no longer with one of them."""
        return self._json(
            "DELETE",
            "/v1/steering/{steering_id}",
            path={
                "steering_id": steering_id,
            },
        )

    def list_captures(self) -> api.CaptureList:
        """List the captures that are kept."""
        return self._json("GET", "/v1/activations")

    def get_capture(self, capture_id: str) -> api.CaptureManifest:
        """Describe one capture that is kept."""
        return self._json(
            "GET",
            "/v1/activations/{capture_id}",
            path={
                "capture_id": capture_id,
            },
        )

    def delete_capture(self, capture_id: str) -> api.ForgottenCapture:
        """Forget one capture."""
        return self._json(
            "DELETE",
            "/v1/activations/{capture_id}",
            path={
                "capture_id": capture_id,
            },
        )

    def get_tensors(
        self, capture_id: str, *, hook_id: str | None = None, step: int | None = None
    ) -> dict[str, np.ndarray]:
        """Answer a capture's tensors as one safetensors body."""
        return self._arrays(
            "GET",
            "/v1/activations/{capture_id}/tensors",
            path={
                "capture_id": capture_id,
            },
            query={
                "hook_id": hook_id,
                "step": step,
            },
        )


class AsyncOperations(AsyncTransport):
    """Each operation of the API document as a coroutine."""

    async def health(self) -> api.Health:
        """Say whether the server and its generation thread answer."""
        return await self._json("GET", "/health")

    async def metrics(self) -> str:
        """Answer what the server has done and is doing, in Prometheus' text format."""
        return await self._text("GET", "/metrics")

    async def openapi(self) -> dict[str, Any]:
        """Answer this document."""
        return await self._json("GET", "/openapi.json")

    async def list_models(self) -> api.ModelList:
        """List the models that the server has loaded."""
        return await self._json("GET", "/v1/models")

    async def retrieve_model(self, model_id: str) -> api.ModelEntry:
        """Describe one model that the server has loaded."""
        return await self._json(
            "GET",
            "/v1/models/{model_id}",
            path={
                "model_id": model_id,
            },
        )

    async def list_weights(self, model_id: str) -> api.WeightList:
        """List a model's weights by the field's names with their shapes, and why others are
        absent."""
        return await self._json(
            "GET",
            "/v1/models/{model_id}/weights",
            path={
                "model_id": model_id,
            },
        )

    async def read_weight(
        self,
        name: str,
        model_id: str,
        *,
        layer: int | None = None,
        head: int | None = None,
        expert: int | None = None,
        neuron: int | None = None,
        tokens: str | None = None,
    ) -> dict[str, np.ndarray]:
        """Read a weight, dequantised to float32, as one safetensors body: under its own name, or
        A and B, the factors of the circuits OV and QK of a head."""
        return await self._arrays(
            "GET",
            "/v1/models/{model_id}/weights/{name}",
            path={
                "name": name,
                "model_id": model_id,
            },
            query={
                "layer": layer,
                "head": head,
                "expert": expert,
                "neuron": neuron,
                "tokens": tokens,
            },
        )

    async def load_model(
        self,
        model_path: str,
        *,
        adapter_path: str | None = None,
        model_id: str | None = None,
        max_kv_size: int | None = None,
        kv_bits: Literal[2, 3, 4, 6, 8] | None = None,
        kv_group_size: Literal[32, 64, 128] | None = None,
        quantized_kv_start: int | None = None,
        context_length: int | None = None,
        prefill_step_size: int | None = None,
        dtype: Literal["float32", "float16", "bfloat16"] | None = None,
        corrections: bool | None = None,
    ) -> api.ModelEntry:
        """Load a model from a folder or a hub id."""
        return await self._json(
            "POST",
            "/v1/models/load",
            body={
                "model_path": model_path,
                "adapter_path": adapter_path,
                "model_id": model_id,
                "max_kv_size": max_kv_size,
                "kv_bits": kv_bits,
                "kv_group_size": kv_group_size,
                "quantized_kv_start": quantized_kv_start,
                "context_length": context_length,
                "prefill_step_size": prefill_step_size,
                "dtype": dtype,
                "corrections": corrections,
            },
        )

    async def unload_model(self, model: str) -> api.UnloadModelResponse:
        """Unload a model and free its memory."""
        return await self._json(
            "POST",
            "/v1/models/unload",
            body={
                "model": model,
            },
        )

    async def tokenize(
        self,
        text: str | None = None,
        *,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool | None = None,
        enable_thinking: bool | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        messages: Sequence[api.ChatMessage] | None = None,
        add_special_tokens: bool | None = None,
        single: bool | None = None,
        model: str | None = None,
    ) -> api.TokenizeResponse:
        """Turn text or chat messages into token ids."""
        return await self._json(
            "POST",
            "/v1/tokenize",
            body={
                "text": text,
                "add_generation_prompt": add_generation_prompt,
                "continue_final_message": continue_final_message,
                "enable_thinking": enable_thinking,
                "chat_template_kwargs": chat_template_kwargs,
                "messages": messages,
                "add_special_tokens": add_special_tokens,
                "single": single,
                "model": model,
            },
        )

    async def detokenize(
        self, tokens: Sequence[api.TokenId], *, model: str | None = None
    ) -> api.DetokenizeResponse:
        """Turn token ids into text."""
        return await self._json(
            "POST",
            "/v1/detokenize",
            body={
                "tokens": tokens,
                "model": model,
            },
        )

    async def create_completion(
        self,
        prompt: str | api.TokenIds | Sequence[str] | Sequence[api.TokenIds],
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        parallel_tool_calls: bool | None = None,
        tools: Sequence[Any] | None = None,
        tool_choice: Literal["none", "auto"] | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        echo: bool | None = None,
        logprobs: int | None = None,
    ) -> api.Completion:
        """Continue a prompt."""
        return await self._json(
            "POST",
            "/v1/completions",
            body={
                "prompt": prompt,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "parallel_tool_calls": parallel_tool_calls,
                "tools": tools,
                "tool_choice": tool_choice,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "echo": echo,
                "logprobs": logprobs,
            },
        )

    def stream_create_completion(
        self,
        prompt: str | api.TokenIds | Sequence[str] | Sequence[api.TokenIds],
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        parallel_tool_calls: bool | None = None,
        tools: Sequence[Any] | None = None,
        tool_choice: Literal["none", "auto"] | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        echo: bool | None = None,
        logprobs: int | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Continue a prompt. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/completions",
            body={
                "prompt": prompt,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "parallel_tool_calls": parallel_tool_calls,
                "tools": tools,
                "tool_choice": tool_choice,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "echo": echo,
                "logprobs": logprobs,
            },
        )

    async def create_chat_completion(
        self,
        messages: Sequence[api.ChatMessage],
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool | None = None,
        enable_thinking: bool | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        tools: Sequence[api.ToolSpec] | None = None,
        tool_choice: Literal["none", "auto", "required"] | api.NamedTool | None = None,
        parallel_tool_calls: bool | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        max_completion_tokens: int | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        echo: Literal[False] | None = None,
    ) -> api.ChatCompletion:
        """Answer chat messages."""
        return await self._json(
            "POST",
            "/v1/chat/completions",
            body={
                "messages": messages,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "add_generation_prompt": add_generation_prompt,
                "continue_final_message": continue_final_message,
                "enable_thinking": enable_thinking,
                "chat_template_kwargs": chat_template_kwargs,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "tools": tools,
                "tool_choice": tool_choice,
                "parallel_tool_calls": parallel_tool_calls,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "max_completion_tokens": max_completion_tokens,
                "logprobs": logprobs,
                "top_logprobs": top_logprobs,
                "echo": echo,
            },
        )

    def stream_create_chat_completion(
        self,
        messages: Sequence[api.ChatMessage],
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool | None = None,
        enable_thinking: bool | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        tools: Sequence[api.ToolSpec] | None = None,
        tool_choice: Literal["none", "auto", "required"] | api.NamedTool | None = None,
        parallel_tool_calls: bool | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        max_completion_tokens: int | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        echo: Literal[False] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Answer chat messages. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/chat/completions",
            body={
                "messages": messages,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "add_generation_prompt": add_generation_prompt,
                "continue_final_message": continue_final_message,
                "enable_thinking": enable_thinking,
                "chat_template_kwargs": chat_template_kwargs,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "tools": tools,
                "tool_choice": tool_choice,
                "parallel_tool_calls": parallel_tool_calls,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "max_completion_tokens": max_completion_tokens,
                "logprobs": logprobs,
                "top_logprobs": top_logprobs,
                "echo": echo,
            },
        )

    async def create_completion_with_activations(
        self,
        prompt: str | api.TokenIds,
        activation_hooks: Sequence[api.HookSpec] | None = None,
        *,
        interventions: Sequence[api.InterventionSpec] | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        parallel_tool_calls: bool | None = None,
        tools: Sequence[Any] | None = None,
        tool_choice: Literal["none", "auto"] | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        echo: bool | None = None,
        logprobs: int | None = None,
    ) -> api.CompletionWithActivations:
        """Continue a prompt and capture activations at each forward pass."""
        return await self._json(
            "POST",
            "/v1/completions/with_activations",
            body={
                "prompt": prompt,
                "activation_hooks": activation_hooks,
                "interventions": interventions,
                "activation_format": activation_format,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "parallel_tool_calls": parallel_tool_calls,
                "tools": tools,
                "tool_choice": tool_choice,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "echo": echo,
                "logprobs": logprobs,
            },
        )

    def stream_create_completion_with_activations(
        self,
        prompt: str | api.TokenIds,
        activation_hooks: Sequence[api.HookSpec] | None = None,
        *,
        interventions: Sequence[api.InterventionSpec] | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        parallel_tool_calls: bool | None = None,
        tools: Sequence[Any] | None = None,
        tool_choice: Literal["none", "auto"] | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        echo: bool | None = None,
        logprobs: int | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Continue a prompt and capture activations at each forward pass. Yields the events of
        the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/completions/with_activations",
            body={
                "prompt": prompt,
                "activation_hooks": activation_hooks,
                "interventions": interventions,
                "activation_format": activation_format,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "parallel_tool_calls": parallel_tool_calls,
                "tools": tools,
                "tool_choice": tool_choice,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "echo": echo,
                "logprobs": logprobs,
            },
        )

    async def create_chat_completion_with_activations(
        self,
        messages: Sequence[api.ChatMessage],
        activation_hooks: Sequence[api.HookSpec] | None = None,
        *,
        interventions: Sequence[api.InterventionSpec] | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool | None = None,
        enable_thinking: bool | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        tools: Sequence[api.ToolSpec] | None = None,
        tool_choice: Literal["none", "auto", "required"] | api.NamedTool | None = None,
        parallel_tool_calls: bool | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        max_completion_tokens: int | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        echo: Literal[False] | None = None,
    ) -> api.ChatCompletionWithActivations:
        """Answer chat messages and capture activations at each forward pass."""
        return await self._json(
            "POST",
            "/v1/chat/completions/with_activations",
            body={
                "messages": messages,
                "activation_hooks": activation_hooks,
                "interventions": interventions,
                "activation_format": activation_format,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "add_generation_prompt": add_generation_prompt,
                "continue_final_message": continue_final_message,
                "enable_thinking": enable_thinking,
                "chat_template_kwargs": chat_template_kwargs,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "tools": tools,
                "tool_choice": tool_choice,
                "parallel_tool_calls": parallel_tool_calls,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "max_completion_tokens": max_completion_tokens,
                "logprobs": logprobs,
                "top_logprobs": top_logprobs,
                "echo": echo,
            },
        )

    def stream_create_chat_completion_with_activations(
        self,
        messages: Sequence[api.ChatMessage],
        activation_hooks: Sequence[api.HookSpec] | None = None,
        *,
        interventions: Sequence[api.InterventionSpec] | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        add_generation_prompt: bool | None = None,
        continue_final_message: bool | None = None,
        enable_thinking: bool | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        tools: Sequence[api.ToolSpec] | None = None,
        tool_choice: Literal["none", "auto", "required"] | api.NamedTool | None = None,
        parallel_tool_calls: bool | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        max_completion_tokens: int | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        echo: Literal[False] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Answer chat messages and capture activations at each forward pass. Yields the events
        of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/chat/completions/with_activations",
            body={
                "messages": messages,
                "activation_hooks": activation_hooks,
                "interventions": interventions,
                "activation_format": activation_format,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "add_generation_prompt": add_generation_prompt,
                "continue_final_message": continue_final_message,
                "enable_thinking": enable_thinking,
                "chat_template_kwargs": chat_template_kwargs,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "tools": tools,
                "tool_choice": tool_choice,
                "parallel_tool_calls": parallel_tool_calls,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "max_completion_tokens": max_completion_tokens,
                "logprobs": logprobs,
                "top_logprobs": top_logprobs,
                "echo": echo,
            },
        )

    async def forward(
        self,
        prompt: str | api.TokenIds | Sequence[api.TokenIds] | None = None,
        activation_hooks: Sequence[api.HookSpec] | None = None,
        *,
        interventions: Sequence[api.InterventionSpec] | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        tokens: api.TokenIds | Sequence[api.TokenIds] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        logits: Literal["last", "all", "none"] | None = None,
        top_k: int | None = None,
    ) -> api.Forward:
        """Run one forward pass and capture activations; nothing is sampled."""
        return await self._json(
            "POST",
            "/v1/forward",
            body={
                "prompt": prompt,
                "activation_hooks": activation_hooks,
                "interventions": interventions,
                "activation_format": activation_format,
                "tokens": tokens,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "logits": logits,
                "top_k": top_k,
            },
        )

    async def create_response(
        self,
        input: str
        | Sequence[api.InputMessage | api.InputCall | api.InputCallOutput | api.InputReasoning],
        *,
        model: str | None = None,
        instructions: str | None = None,
        previous_response_id: str | None = None,
        store: bool | None = None,
        max_output_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        text: api.TextOptions | None = None,
        tools: Sequence[api.FunctionTool] | None = None,
        tool_choice: Literal["none", "auto", "required"] | api.FunctionChoice | None = None,
        parallel_tool_calls: bool | None = None,
        truncation: Literal["disabled"] | None = None,
        metadata: Mapping[str, Any] | None = None,
        user: str | None = None,
    ) -> api.ModelResponse:
        """Answer a user, or messages, in a conversation that the server keeps."""
        return await self._json(
            "POST",
            "/v1/responses",
            body={
                "input": input,
                "model": model,
                "instructions": instructions,
                "previous_response_id": previous_response_id,
                "store": store,
                "max_output_tokens": max_output_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "text": text,
                "tools": tools,
                "tool_choice": tool_choice,
                "parallel_tool_calls": parallel_tool_calls,
                "truncation": truncation,
                "metadata": metadata,
                "user": user,
            },
        )

    def stream_create_response(
        self,
        input: str
        | Sequence[api.InputMessage | api.InputCall | api.InputCallOutput | api.InputReasoning],
        *,
        model: str | None = None,
        instructions: str | None = None,
        previous_response_id: str | None = None,
        store: bool | None = None,
        max_output_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        text: api.TextOptions | None = None,
        tools: Sequence[api.FunctionTool] | None = None,
        tool_choice: Literal["none", "auto", "required"] | api.FunctionChoice | None = None,
        parallel_tool_calls: bool | None = None,
        truncation: Literal["disabled"] | None = None,
        metadata: Mapping[str, Any] | None = None,
        user: str | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Answer a user, or messages, in a conversation that the server keeps. Yields the events
        of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/responses",
            body={
                "input": input,
                "model": model,
                "instructions": instructions,
                "previous_response_id": previous_response_id,
                "store": store,
                "max_output_tokens": max_output_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "text": text,
                "tools": tools,
                "tool_choice": tool_choice,
                "parallel_tool_calls": parallel_tool_calls,
                "truncation": truncation,
                "metadata": metadata,
                "user": user,
            },
        )

    async def create_embeddings(
        self,
        input: str | api.TokenIds | Sequence[str] | Sequence[api.TokenIds],
        *,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        layer: int | None = None,
        pooling: Literal["mean", "last"] | None = None,
        encoding_format: Literal["float", "base64"] | None = None,
        dimensions: int | None = None,
        user: str | None = None,
    ) -> api.Embeddings:
        """Answer a vector for each text: a layer's residual stream, pooled over its positions."""
        return await self._json(
            "POST",
            "/v1/embeddings",
            body={
                "input": input,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "layer": layer,
                "pooling": pooling,
                "encoding_format": encoding_format,
                "dimensions": dimensions,
                "user": user,
            },
        )

    async def logit_lens(
        self,
        prompt: str | api.TokenIds,
        *,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        lens: api.LensFile | None = None,
        top_k: int | None = None,
    ) -> api.LogitLens:
        """Answer what each layer's residual stream would predict at each position."""
        return await self._json(
            "POST",
            "/v1/logit_lens",
            body={
                "prompt": prompt,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "lens": lens,
                "top_k": top_k,
            },
        )

    async def promoted_tokens(
        self,
        neuron: int,
        layer: int,
        *,
        expert: int | None = None,
        top_k: int | None = None,
        model: str | None = None,
    ) -> api.PromotedTokens:
        """Answer which tokens a neuron promotes and suppresses, by its output weights."""
        return await self._json(
            "POST",
            "/v1/neurons/tokens",
            body={
                "neuron": neuron,
                "layer": layer,
                "expert": expert,
                "top_k": top_k,
                "model": model,
            },
        )

    async def nearest_tokens(
        self, token: str | api.TokenId, *, top_k: int | None = None, model: str | None = None
    ) -> api.NearestTokens:
        """Answer which tokens have the embeddings nearest to a token's."""
        return await self._json(
            "POST",
            "/v1/tokens/nearest",
            body={
                "token": token,
                "top_k": top_k,
                "model": model,
            },
        )

    async def logit_attribution(
        self,
        prompt: str | api.TokenIds,
        answer: str | api.TokenId,
        *,
        distractor: str | api.TokenId | None = None,
        position: api.Position | None = None,
        by: Literal["layer", "component", "head", "neuron", "feature"] | None = None,
        feature_sets: Sequence[str] | None = None,
        top_k: int | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
    ) -> api.LogitAttribution:
        """Answer how much each layer, component, head or neuron adds to a token's logit by
        itself."""
        return await self._json(
            "POST",
            "/v1/logit_attribution",
            body={
                "prompt": prompt,
                "answer": answer,
                "distractor": distractor,
                "position": position,
                "by": by,
                "feature_sets": feature_sets,
                "top_k": top_k,
                "add_special_tokens": add_special_tokens,
                "model": model,
            },
        )

    async def head_tokens(
        self,
        head: int,
        layer: int,
        circuit: Literal["OV", "QK"],
        *,
        tokens: Sequence[str | api.TokenId] | None = None,
        top_k: int | None = None,
        model: str | None = None,
    ) -> api.HeadTokens:
        """Answer which tokens a head copies, or attends to, by its weights."""
        return await self._json(
            "POST",
            "/v1/heads/tokens",
            body={
                "head": head,
                "layer": layer,
                "circuit": circuit,
                "tokens": tokens,
                "top_k": top_k,
                "model": model,
            },
        )

    async def load_features(
        self,
        features_path: str,
        *,
        subfolder: str | None = None,
        feature_set: str | None = None,
        hook_name: str | None = None,
        hook_name_out: str | None = None,
        model: str | None = None,
    ) -> api.FeatureSetList:
        """Load feature sets beside a model: sparse autoencoders, transcoders."""
        return await self._json(
            "POST",
            "/v1/features/load",
            body={
                "features_path": features_path,
                "subfolder": subfolder,
                "feature_set": feature_set,
                "hook_name": hook_name,
                "hook_name_out": hook_name_out,
                "model": model,
            },
        )

    async def list_features(self, *, model: str | None = None) -> api.FeatureSetList:
        """List the feature sets that are loaded."""
        return await self._json(
            "GET",
            "/v1/features",
            query={
                "model": model,
            },
        )

    async def unload_features(
        self, feature_set: str, *, model: str | None = None
    ) -> api.UnloadedFeatures:
        """Unload a feature set and free its memory."""
        return await self._json(
            "POST",
            "/v1/features/unload",
            body={
                "feature_set": feature_set,
                "model": model,
            },
        )

    async def measure_features(
        self,
        feature_set: str,
        prompts: Sequence[str | api.TokenIds],
        *,
        add_special_tokens: bool | None = None,
        exclude_special_tokens: bool | None = None,
        model: str | None = None,
    ) -> api.FeatureMetrics:
        """Measure how well a feature set reconstructs the model's values, and what the model
        loses by it."""
        return await self._result(
            "POST",
            "/v1/features/metrics",
            body={
                "feature_set": feature_set,
                "prompts": prompts,
                "add_special_tokens": add_special_tokens,
                "exclude_special_tokens": exclude_special_tokens,
                "model": model,
            },
        )

    def stream_measure_features(
        self,
        feature_set: str,
        prompts: Sequence[str | api.TokenIds],
        *,
        add_special_tokens: bool | None = None,
        exclude_special_tokens: bool | None = None,
        model: str | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Measure how well a feature set reconstructs the model's values, and what the model
        loses by it. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/features/metrics",
            body={
                "feature_set": feature_set,
                "prompts": prompts,
                "add_special_tokens": add_special_tokens,
                "exclude_special_tokens": exclude_special_tokens,
                "model": model,
            },
        )

    async def feature_examples(
        self,
        feature_set: str,
        features: Sequence[int],
        texts: Sequence[str] | None = None,
        *,
        layer: int | None = None,
        texts_path: str | None = None,
        top_k: int | None = None,
        before: int | None = None,
        after: int | None = None,
        context: int | None = None,
        skipped: int | None = None,
        tokens: int | None = None,
        effects: int | None = None,
        resume: bool | None = None,
        model: str | None = None,
    ) -> api.FeatureExamples:
        """Find the texts in which features are on most, how often they are on, and what they
        promote."""
        return await self._result(
            "POST",
            "/v1/features/examples",
            body={
                "feature_set": feature_set,
                "features": features,
                "texts": texts,
                "layer": layer,
                "texts_path": texts_path,
                "top_k": top_k,
                "before": before,
                "after": after,
                "context": context,
                "skipped": skipped,
                "tokens": tokens,
                "effects": effects,
                "resume": resume,
                "model": model,
            },
        )

    def stream_feature_examples(
        self,
        feature_set: str,
        features: Sequence[int],
        texts: Sequence[str] | None = None,
        *,
        layer: int | None = None,
        texts_path: str | None = None,
        top_k: int | None = None,
        before: int | None = None,
        after: int | None = None,
        context: int | None = None,
        skipped: int | None = None,
        tokens: int | None = None,
        effects: int | None = None,
        resume: bool | None = None,
        model: str | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Find the texts in which features are on most, how often they are on, and what they
        promote. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/features/examples",
            body={
                "feature_set": feature_set,
                "features": features,
                "texts": texts,
                "layer": layer,
                "texts_path": texts_path,
                "top_k": top_k,
                "before": before,
                "after": after,
                "context": context,
                "skipped": skipped,
                "tokens": tokens,
                "effects": effects,
                "resume": resume,
                "model": model,
            },
        )

    async def feature_tokens(
        self,
        feature_set: str,
        feature: int,
        *,
        layer: int | None = None,
        top_k: int | None = None,
        model: str | None = None,
    ) -> api.FeatureTokens:
        """Answer which tokens a feature promotes and suppresses, by its decoder weights."""
        return await self._json(
            "POST",
            "/v1/features/tokens",
            body={
                "feature_set": feature_set,
                "feature": feature,
                "layer": layer,
                "top_k": top_k,
                "model": model,
            },
        )

    async def gradients(
        self,
        target: api.GradientTarget,
        prompt: str | api.TokenIds,
        hooks: Sequence[api.HookSpec] | None = None,
        *,
        integrated: api.IntegratedGradients | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
    ) -> api.Gradients:
        """Differentiate a logit, a difference, a probability or a loss by any activation, and by
        the tokens of the prompt."""
        return await self._result(
            "POST",
            "/v1/gradients",
            body={
                "target": target,
                "prompt": prompt,
                "hooks": hooks,
                "integrated": integrated,
                "activation_format": activation_format,
                "add_special_tokens": add_special_tokens,
                "model": model,
            },
        )

    def stream_gradients(
        self,
        target: api.GradientTarget,
        prompt: str | api.TokenIds,
        hooks: Sequence[api.HookSpec] | None = None,
        *,
        integrated: api.IntegratedGradients | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Differentiate a logit, a difference, a probability or a loss by any activation, and by
        the tokens of the prompt. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/gradients",
            body={
                "target": target,
                "prompt": prompt,
                "hooks": hooks,
                "integrated": integrated,
                "activation_format": activation_format,
                "add_special_tokens": add_special_tokens,
                "model": model,
            },
        )

    async def patch_circuit(
        self,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        *,
        examples: Sequence[api.CircuitExample] | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        component: Literal[
            "residual",
            "attention",
            "mlp",
            "mlp_hidden",
            "head_output",
            "hook_resid_post",
            "hook_out",
            "hook_attn_out",
            "attn.hook_out",
            "hook_mlp_out",
            "mlp.hook_out",
            "mlp.hook_post",
            "attn.hook_z",
        ]
        | None = None,
        method: Literal["activation_patching", "attribution_patching", "ablation"] | None = None,
        direction: Literal["denoising", "noising"] | None = None,
        ablation: api.CircuitAblation | None = None,
        layers: Sequence[int] | None = None,
        heads: Sequence[api.Head] | None = None,
        neurons: Sequence[int] | None = None,
        positions: Literal["all", "each"] | Sequence[api.Position] | None = None,
        sets: Sequence[Sequence[api.CircuitPart]] | None = None,
    ) -> api.CircuitEffects:
        """Measure how much each head, each neuron, or each layer at each position, or each set
        of such parts, matters to an answer."""
        return await self._result(
            "POST",
            "/v1/circuits/patch",
            body={
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "examples": examples,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "component": component,
                "method": method,
                "direction": direction,
                "ablation": ablation,
                "layers": layers,
                "heads": heads,
                "neurons": neurons,
                "positions": positions,
                "sets": sets,
            },
        )

    def stream_patch_circuit(
        self,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        *,
        examples: Sequence[api.CircuitExample] | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        component: Literal[
            "residual",
            "attention",
            "mlp",
            "mlp_hidden",
            "head_output",
            "hook_resid_post",
            "hook_out",
            "hook_attn_out",
            "attn.hook_out",
            "hook_mlp_out",
            "mlp.hook_out",
            "mlp.hook_post",
            "attn.hook_z",
        ]
        | None = None,
        method: Literal["activation_patching", "attribution_patching", "ablation"] | None = None,
        direction: Literal["denoising", "noising"] | None = None,
        ablation: api.CircuitAblation | None = None,
        layers: Sequence[int] | None = None,
        heads: Sequence[api.Head] | None = None,
        neurons: Sequence[int] | None = None,
        positions: Literal["all", "each"] | Sequence[api.Position] | None = None,
        sets: Sequence[Sequence[api.CircuitPart]] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Measure how much each head, each neuron, or each layer at each position, or each set
        of such parts, matters to an answer. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/circuits/patch",
            body={
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "examples": examples,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "component": component,
                "method": method,
                "direction": direction,
                "ablation": ablation,
                "layers": layers,
                "heads": heads,
                "neurons": neurons,
                "positions": positions,
                "sets": sets,
            },
        )

    async def verify_circuit(
        self,
        circuit: Sequence[api.CircuitPart],
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        ablation: api.CircuitAblation | None = None,
        subsets: int | None = None,
        seed: int | None = None,
    ) -> api.CircuitVerification:
        """Measure whether a circuit does what the whole model does, and needs all of its parts."""
        return await self._result(
            "POST",
            "/v1/circuits/verify",
            body={
                "circuit": circuit,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "ablation": ablation,
                "subsets": subsets,
                "seed": seed,
            },
        )

    def stream_verify_circuit(
        self,
        circuit: Sequence[api.CircuitPart],
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        ablation: api.CircuitAblation | None = None,
        subsets: int | None = None,
        seed: int | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Measure whether a circuit does what the whole model does, and needs all of its parts.
        Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/circuits/verify",
            body={
                "circuit": circuit,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "ablation": ablation,
                "subsets": subsets,
                "seed": seed,
            },
        )

    async def attribution_graph(
        self,
        prompt: str | api.TokenIds,
        *,
        feature_sets: Sequence[str] | None = None,
        skipped_positions: Sequence[int] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        max_logits: int | None = None,
        logit_mass: float | None = None,
        max_feature_nodes: int | None = None,
        node_threshold: float | None = None,
        edge_threshold: float | None = None,
        slug: str | None = None,
    ) -> api.AttributionGraph:
        """Measure which features, tokens and errors made the likeliest next tokens, and which
        made these, with transcoders in the place of MLPs."""
        return await self._result(
            "POST",
            "/v1/attribution_graphs",
            body={
                "prompt": prompt,
                "feature_sets": feature_sets,
                "skipped_positions": skipped_positions,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "max_logits": max_logits,
                "logit_mass": logit_mass,
                "max_feature_nodes": max_feature_nodes,
                "node_threshold": node_threshold,
                "edge_threshold": edge_threshold,
                "slug": slug,
            },
        )

    def stream_attribution_graph(
        self,
        prompt: str | api.TokenIds,
        *,
        feature_sets: Sequence[str] | None = None,
        skipped_positions: Sequence[int] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        max_logits: int | None = None,
        logit_mass: float | None = None,
        max_feature_nodes: int | None = None,
        node_threshold: float | None = None,
        edge_threshold: float | None = None,
        slug: str | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Measure which features, tokens and errors made the likeliest next tokens, and which
        made these, with transcoders in the place of MLPs. Yields the events of the reply as
        they arrive."""
        return self._events(
            "POST",
            "/v1/attribution_graphs",
            body={
                "prompt": prompt,
                "feature_sets": feature_sets,
                "skipped_positions": skipped_positions,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "max_logits": max_logits,
                "logit_mass": logit_mass,
                "max_feature_nodes": max_feature_nodes,
                "node_threshold": node_threshold,
                "edge_threshold": edge_threshold,
                "slug": slug,
            },
        )

    async def change_graph_features(
        self,
        changes: Sequence[api.FeatureActivation],
        prompt: str | api.TokenIds,
        *,
        feature_sets: Sequence[str] | None = None,
        skipped_positions: Sequence[int] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        features: Sequence[api.FeaturePlace] | None = None,
        tokens: Sequence[str | api.TokenId] | None = None,
    ) -> api.GraphInterventionOutcomes:
        """Measure what becomes of features and logits when features of a prompt are set to other
        activations, beside what the attribution graph predicts."""
        return await self._json(
            "POST",
            "/v1/attribution_graphs/interventions",
            body={
                "changes": changes,
                "prompt": prompt,
                "feature_sets": feature_sets,
                "skipped_positions": skipped_positions,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "features": features,
                "tokens": tokens,
            },
        )

    async def score_edges(
        self,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        method: Literal["eap", "eap_ig"] | None = None,
        steps: int | None = None,
        top_n: int | None = None,
        sources: Sequence[str] | None = None,
        destinations: Sequence[str] | None = None,
        scores: Literal["none", "array", "safetensors"] | None = None,
    ) -> api.CircuitEdges:
        """Estimate how much each edge between the parts of a model matters to an answer, all of
        them in a few passes."""
        return await self._result(
            "POST",
            "/v1/circuits/edges",
            body={
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "method": method,
                "steps": steps,
                "top_n": top_n,
                "sources": sources,
                "destinations": destinations,
                "scores": scores,
            },
        )

    def stream_score_edges(
        self,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        method: Literal["eap", "eap_ig"] | None = None,
        steps: int | None = None,
        top_n: int | None = None,
        sources: Sequence[str] | None = None,
        destinations: Sequence[str] | None = None,
        scores: Literal["none", "array", "safetensors"] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Estimate how much each edge between the parts of a model matters to an answer, all of
        them in a few passes. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/circuits/edges",
            body={
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "method": method,
                "steps": steps,
                "top_n": top_n,
                "sources": sources,
                "destinations": destinations,
                "scores": scores,
            },
        )

    async def edge_faithfulness(
        self,
        edges: Sequence[api.EdgeSpec] | None = None,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        sizes: Sequence[int] | None = None,
        random: int | None = None,
        seed: int | None = None,
    ) -> api.EdgeFaithfulness:
        """Measure how much of a behaviour circuits of the first edges of a ranking do, with what
        all others carry patched."""
        return await self._result(
            "POST",
            "/v1/circuits/edges/faithfulness",
            body={
                "edges": edges,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "sizes": sizes,
                "random": random,
                "seed": seed,
            },
        )

    def stream_edge_faithfulness(
        self,
        edges: Sequence[api.EdgeSpec] | None = None,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        sizes: Sequence[int] | None = None,
        random: int | None = None,
        seed: int | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Measure how much of a behaviour circuits of the first edges of a ranking do, with what
        all others carry patched. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/circuits/edges/faithfulness",
            body={
                "edges": edges,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "sizes": sizes,
                "random": random,
                "seed": seed,
            },
        )

    async def prune_circuit(
        self,
        threshold: float,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        edges: Sequence[api.EdgeSpec] | None = None,
        distance: Literal["kl", "score"] | None = None,
    ) -> api.PrunedCircuit:
        """Prune a circuit edge by edge, as ACDC does."""
        return await self._result(
            "POST",
            "/v1/circuits/edges/prune",
            body={
                "threshold": threshold,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "edges": edges,
                "distance": distance,
            },
        )

    def stream_prune_circuit(
        self,
        threshold: float,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        edges: Sequence[api.EdgeSpec] | None = None,
        distance: Literal["kl", "score"] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Prune a circuit edge by edge, as ACDC does. Yields the events of the reply as they
        arrive."""
        return self._events(
            "POST",
            "/v1/circuits/edges/prune",
            body={
                "threshold": threshold,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "edges": edges,
                "distance": distance,
            },
        )

    async def patch_paths(
        self,
        senders: Sequence[Sequence[str]],
        receivers: Sequence[str],
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        held: Literal["heads", "heads_and_mlps"] | None = None,
    ) -> api.CircuitPaths:
        """Measure what senders send to receivers directly, by path patching."""
        return await self._result(
            "POST",
            "/v1/circuits/paths",
            body={
                "senders": senders,
                "receivers": receivers,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "held": held,
            },
        )

    def stream_patch_paths(
        self,
        senders: Sequence[Sequence[str]],
        receivers: Sequence[str],
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        held: Literal["heads", "heads_and_mlps"] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Measure what senders send to receivers directly, by path patching. Yields the events
        of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/circuits/paths",
            body={
                "senders": senders,
                "receivers": receivers,
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "held": held,
            },
        )

    async def score_nodes(
        self,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        qk_fix: bool | None = None,
        grad_drop: bool | None = None,
    ) -> api.CircuitNodes:
        """Estimate how much each node matters to an answer, by attribution patching with the
        corrections of AtP*."""
        return await self._result(
            "POST",
            "/v1/circuits/nodes",
            body={
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "qk_fix": qk_fix,
                "grad_drop": grad_drop,
            },
        )

    def stream_score_nodes(
        self,
        examples: Sequence[api.CircuitExample] | None = None,
        *,
        clean: str | api.TokenIds | None = None,
        corrupted: str | api.TokenIds | None = None,
        answer: str | api.TokenId | None = None,
        distractor: str | api.TokenId | None = None,
        pooling: Literal["mean", "logsumexp", "probability"] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        qk_fix: bool | None = None,
        grad_drop: bool | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Estimate how much each node matters to an answer, by attribution patching with the
        corrections of AtP*. Yields the events of the reply as they arrive."""
        return self._events(
            "POST",
            "/v1/circuits/nodes",
            body={
                "examples": examples,
                "clean": clean,
                "corrupted": corrupted,
                "answer": answer,
                "distractor": distractor,
                "pooling": pooling,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "qk_fix": qk_fix,
                "grad_drop": grad_drop,
            },
        )

    async def begin_forward_session(
        self,
        prompt: str | api.TokenIds | Sequence[api.TokenIds] | None = None,
        breakpoints: Sequence[api.BreakpointSpec] | None = None,
        *,
        breakpoint_format: Literal["array", "base64"] | None = None,
        activation_hooks: Sequence[api.HookSpec] | None = None,
        interventions: Sequence[api.InterventionSpec] | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        tokens: api.TokenIds | Sequence[api.TokenIds] | None = None,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        logits: Literal["last", "all", "none"] | None = None,
        top_k: int | None = None,
    ) -> api.SessionState:
        """Run a forward pass to its first breakpoint, whose value may be changed before it
        continues. One session at a time; a breakpoint is given up, and its pass, after a
        minute."""
        return await self._json(
            "POST",
            "/v1/sessions",
            body={
                "prompt": prompt,
                "breakpoints": breakpoints,
                "breakpoint_format": breakpoint_format,
                "activation_hooks": activation_hooks,
                "interventions": interventions,
                "activation_format": activation_format,
                "tokens": tokens,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "logits": logits,
                "top_k": top_k,
            },
        )

    async def begin_completion_session(
        self,
        prompt: str | api.TokenIds,
        breakpoints: Sequence[api.BreakpointSpec],
        *,
        breakpoint_format: Literal["array", "base64"] | None = None,
        activation_hooks: Sequence[api.HookSpec] | None = None,
        interventions: Sequence[api.InterventionSpec] | None = None,
        activation_format: Literal["array", "base64", "metadata", "reference"] | None = None,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        stop: api.StopString | Sequence[api.StopString] | None = None,
        presence_penalty: float | None = None,
        frequency_penalty: float | None = None,
        repetition_penalty: float | None = None,
        logit_bias: Mapping[str, Any] | None = None,
        stream_options: api.StreamOptions | None = None,
        draft_model: str | None = None,
        num_draft_tokens: int | None = None,
        n: int | None = None,
        best_of: int | None = None,
        user: str | None = None,
        response_format: api.TextFormat | api.JsonObjectFormat | api.JsonSchemaFormat | None = None,
        structured_outputs: api.StructuredOutputs | None = None,
        parallel_tool_calls: bool | None = None,
        tools: Sequence[Any] | None = None,
        tool_choice: Literal["none", "auto"] | None = None,
        safety_identifier: str | None = None,
        prompt_cache_key: str | None = None,
        prompt_cache_retention: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        service_tier: Literal["auto", "default"] | None = None,
        store: Literal[False] | None = None,
        functions: Sequence[Any] | None = None,
        function_call: Literal["none", "auto"] | None = None,
        modalities: Sequence[Literal["text"]] | None = None,
        audio: None = None,
        prediction: None = None,
        web_search_options: None = None,
        reasoning_effort: None = None,
        verbosity: Literal["medium"] | None = None,
        suffix: Literal[""] | None = None,
        add_special_tokens: bool | None = None,
        echo: Literal[False] | None = None,
        logprobs: int | None = None,
    ) -> api.SessionState:
        """Continue a prompt in a session, which pauses in each of its forward passes."""
        return await self._json(
            "POST",
            "/v1/completions/with_breakpoints",
            body={
                "prompt": prompt,
                "breakpoints": breakpoints,
                "breakpoint_format": breakpoint_format,
                "activation_hooks": activation_hooks,
                "interventions": interventions,
                "activation_format": activation_format,
                "model": model,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "min_p": min_p,
                "seed": seed,
                "stop": stop,
                "presence_penalty": presence_penalty,
                "frequency_penalty": frequency_penalty,
                "repetition_penalty": repetition_penalty,
                "logit_bias": logit_bias,
                "stream_options": stream_options,
                "draft_model": draft_model,
                "num_draft_tokens": num_draft_tokens,
                "n": n,
                "best_of": best_of,
                "user": user,
                "response_format": response_format,
                "structured_outputs": structured_outputs,
                "parallel_tool_calls": parallel_tool_calls,
                "tools": tools,
                "tool_choice": tool_choice,
                "safety_identifier": safety_identifier,
                "prompt_cache_key": prompt_cache_key,
                "prompt_cache_retention": prompt_cache_retention,
                "metadata": metadata,
                "service_tier": service_tier,
                "store": store,
                "functions": functions,
                "function_call": function_call,
                "modalities": modalities,
                "audio": audio,
                "prediction": prediction,
                "web_search_options": web_search_options,
                "reasoning_effort": reasoning_effort,
                "verbosity": verbosity,
                "suffix": suffix,
                "add_special_tokens": add_special_tokens,
                "echo": echo,
                "logprobs": logprobs,
            },
        )

    async def continue_session(
        self, session_id: str, value: api.TensorValue | None = None
    ) -> api.SessionState:
        """Go on, with another value or as it is, to the next breakpoint or the end."""
        return await self._json(
            "POST",
            "/v1/sessions/{session_id}",
            path={
                "session_id": session_id,
            },
            body={
                "value": value,
            },
        )

    async def cancel_session(self, session_id: str) -> api.CancelledSession:
        """Give up a session that is paused."""
        return await self._json(
            "DELETE",
            "/v1/sessions/{session_id}",
            path={
                "session_id": session_id,
            },
        )

    async def keep_session(self, session_id: str) -> api.KeptSession:
        """Let a session that is paused wait from now on for as long as it does at first: a
        client that is still at work, or whose user is, says so."""
        return await self._json(
            "POST",
            "/v1/sessions/{session_id}/keep",
            path={
                "session_id": session_id,
            },
        )

    async def begin_debug_session(
        self,
        prompt: str | api.TokenIds,
        *,
        add_special_tokens: bool | None = None,
        model: str | None = None,
        interventions: Sequence[api.InterventionSpec] | None = None,
    ) -> api.DebugState:
        """Begin a forward pass in steps, stopped before its first layer."""
        return await self._json(
            "POST",
            "/v1/debug_sessions",
            body={
                "prompt": prompt,
                "add_special_tokens": add_special_tokens,
                "model": model,
                "interventions": interventions,
            },
        )

    async def describe_debug_session(self, session_id: str) -> api.DebugState:
        """Say where a pass in steps is, and keep it."""
        return await self._json(
            "GET",
            "/v1/debug_sessions/{session_id}",
            path={
                "session_id": session_id,
            },
        )

    async def end_debug_session(self, session_id: str) -> api.EndedDebugSession:
        """End a debug session, and free what is kept for it."""
        return await self._json(
            "DELETE",
            "/v1/debug_sessions/{session_id}",
            path={
                "session_id": session_id,
            },
        )

    async def step_debug_session(
        self,
        session_id: str,
        to: Literal["layer", "point", "end"] | None = None,
        *,
        layer_name: str | None = None,
        component: api.ComponentName | None = None,
    ) -> api.DebugState:
        """Go on with a pass: to the next layer, the next value, a place ahead, or the end."""
        return await self._json(
            "POST",
            "/v1/debug_sessions/{session_id}/step",
            path={
                "session_id": session_id,
            },
            body={
                "to": to,
                "layer_name": layer_name,
                "component": component,
            },
        )

    async def restart_debug_session(self, session_id: str, layer: int) -> api.DebugState:
        """Go back to where a layer begins: the residual stream that enters it was kept, and what
        was changed behind it is forgotten."""
        return await self._json(
            "POST",
            "/v1/debug_sessions/{session_id}/restart",
            path={
                "session_id": session_id,
            },
            body={
                "layer": layer,
            },
        )

    async def read_debug_session(
        self, session_id: str, *, position: int | None = None
    ) -> api.ActivationRecord:
        """Read the value where a pass is stopped; at its end the logits of the last position."""
        return await self._json(
            "GET",
            "/v1/debug_sessions/{session_id}/value",
            path={
                "session_id": session_id,
            },
            query={
                "position": position,
            },
        )

    async def change_debug_session(
        self, session_id: str, value: api.TensorValue | None = None
    ) -> api.DebugState:
        """Replace the value where a pass is stopped, or without a value put the model's own
        back."""
        return await self._json(
            "POST",
            "/v1/debug_sessions/{session_id}/value",
            path={
                "session_id": session_id,
            },
            body={
                "value": value,
            },
        )

    async def debug_logit_lens(
        self, session_id: str, *, position: int | None = None, top_k: int | None = None
    ) -> api.DebugLens:
        """Read the likeliest next tokens from the residual stream where a pass is stopped."""
        return await self._json(
            "GET",
            "/v1/debug_sessions/{session_id}/logit_lens",
            path={
                "session_id": session_id,
            },
            query={
                "position": position,
                "top_k": top_k,
            },
        )

    async def fork_debug_session(
        self, session_id: str, value: api.TensorValue | None = None, *, top_k: int | None = None
    ) -> api.DebugFork:
        """Compare two continuations of a pass, layer by layer and at the end."""
        return await self._json(
            "POST",
            "/v1/debug_sessions/{session_id}/fork",
            path={
                "session_id": session_id,
            },
            body={
                "value": value,
                "top_k": top_k,
            },
        )

    async def list_jobs(self) -> api.JobList:
        """List what is being worked on, and what waits."""
        return await self._json("GET", "/v1/jobs")

    async def cancel_job(self, job_id: str) -> api.CancelledJob:
        """Cancel a job; its own client is told."""
        return await self._json(
            "DELETE",
            "/v1/jobs/{job_id}",
            path={
                "job_id": job_id,
            },
        )

    async def register_hooks(
        self, hooks: Sequence[api.HookSpec], *, model: str | None = None
    ) -> api.RegisteredHooks:
        """Register hooks that capture on every later generation of a model."""
        return await self._json(
            "POST",
            "/v1/activations/hooks",
            body={
                "hooks": hooks,
                "model": model,
            },
        )

    async def list_hooks(self, *, model: str | None = None) -> api.HookList:
        """List the registered hooks."""
        return await self._json(
            "GET",
            "/v1/activations/hooks",
            query={
                "model": model,
            },
        )

    async def delete_hooks(self, *, model: str | None = None) -> api.RemovedHooks:
        """Remove all registered hooks."""
        return await self._json(
            "DELETE",
            "/v1/activations/hooks",
            query={
                "model": model,
            },
        )

    async def delete_hook(self, hook_id: str, *, model: str | None = None) -> api.RemovedHooks:
        """Remove one registered hook."""
        return await self._json(
            "DELETE",
            "/v1/activations/hooks/{hook_id}",
            path={
                "hook_id": hook_id,
            },
            query={
                "model": model,
            },
        )

    async def clear_hooks(self, *, model: str | None = None) -> api.RemovedHooks:
        """Remove all registered hooks, for clients that cannot send DELETE."""
        return await self._json(
            "POST",
            "/v1/activations/hooks/clear",
            query={
                "model": model,
            },
        )

    async def compute_steering_vector(
        self,
        pairs: Sequence[api.ContrastPair],
        *,
        name: str | None = None,
        model: str | None = None,
        method: Literal["mean_difference", "pca", "pca_center"] | None = None,
        layers: Sequence[int] | None = None,
        position: api.Position | Literal["mean"] | None = None,
        add_special_tokens: bool | None = None,
    ) -> api.SteeringVectorEntry:
        """Find the directions in which a model's residual streams differ between pairs of texts."""
        return await self._json(
            "POST",
            "/v1/steering_vectors",
            body={
                "pairs": pairs,
                "name": name,
                "model": model,
                "method": method,
                "layers": layers,
                "position": position,
                "add_special_tokens": add_special_tokens,
            },
        )

    async def list_steering_vectors(self) -> api.SteeringVectorList:
        """List the steering vectors that are kept."""
        return await self._json("GET", "/v1/steering_vectors")

    async def import_steering_vector(
        self, data_base64: str, *, name: str | None = None
    ) -> api.SteeringVectorEntry:
        """Take a steering vector from a file: safetensors, or a control vector in GGUF."""
        return await self._json(
            "POST",
            "/v1/steering_vectors/import",
            body={
                "data_base64": data_base64,
                "name": name,
            },
        )

    async def describe_steering_vector(self, vector: str) -> api.SteeringVectorEntry:
        """Describe one steering vector."""
        return await self._json(
            "GET",
            "/v1/steering_vectors/{vector}",
            path={
                "vector": vector,
            },
        )

    async def delete_steering_vector(self, vector: str) -> api.DeletedSteeringVector:
        """Forget one steering vector; where it is registered it goes on acting."""
        return await self._json(
            "DELETE",
            "/v1/steering_vectors/{vector}",
            path={
                "vector": vector,
            },
        )

    async def read_steering_vector(
        self, vector: str, *, format: str | None = None
    ) -> api.SteeringVectorFile:
        """Answer a steering vector as a file, in base64."""
        return await self._json(
            "GET",
            "/v1/steering_vectors/{vector}/file",
            path={
                "vector": vector,
            },
            query={
                "format": format,
            },
        )

    async def register_steering(
        self,
        vector: str,
        *,
        model: str | None = None,
        steering_id: str | None = None,
        operation: Literal["addition", "ablation"] | None = None,
        strength: float | None = None,
        strengths: Sequence[api.LayerStrength] | None = None,
        of_layer: int | None = None,
        positions: Literal["all", "prompt", "generated"] | None = None,
        scope: Literal["server", "session"] | None = None,
    ) -> api.SteeringEntry:
        """Steer a model from now on: every completion, chat, response and forward pass."""
        return await self._json(
            "POST",
            "/v1/steering",
            body={
                "vector": vector,
                "model": model,
                "steering_id": steering_id,
                "operation": operation,
                "strength": strength,
                "strengths": strengths,
                "of_layer": of_layer,
                "positions": positions,
                "scope": scope,
            },
        )

    async def list_steering(self, *, model: str | None = None) -> api.SteeringList:
        """List what steers: for all clients, and in the session that asks."""
        return await self._json(
            "GET",
            "/v1/steering",
            query={
                "model": model,
            },
        )

    async def delete_all_steering(self, *, model: str | None = None) -> api.RemovedSteering:
        """Steer no longer: with what is for all clients, and with that of the session that asks."""
        return await self._json(
            "DELETE",
            "/v1/steering",
            query={
                "model": model,
            },
        )

    async def delete_steering(self, steering_id: str) -> api.RemovedSteering:
        """Steer no longer with one of them."""
        return await self._json(
            "DELETE",
            "/v1/steering/{steering_id}",
            path={
                "steering_id": steering_id,
            },
        )

    async def list_captures(self) -> api.CaptureList:
        """List the captures that are kept."""
        return await self._json("GET", "/v1/activations")

    async def get_capture(self, capture_id: str) -> api.CaptureManifest:
        """Describe one capture that is kept."""
        return await self._json(
            "GET",
            "/v1/activations/{capture_id}",
            path={
                "capture_id": capture_id,
            },
        )

    async def delete_capture(self, capture_id: str) -> api.ForgottenCapture:
        """Forget one capture."""
        return await self._json(
            "DELETE",
            "/v1/activations/{capture_id}",
            path={
                "capture_id": capture_id,
            },
        )

    async def get_tensors(
        self, capture_id: str, *, hook_id: str | None = None, step: int | None = None
    ) -> dict[str, np.ndarray]:
        """Answer a capture's tensors as one safetensors body."""
        return await self._arrays(
            "GET",
            "/v1/activations/{capture_id}/tensors",
            path={
                "capture_id": capture_id,
            },
            query={
                "hook_id": hook_id,
                "step": step,
            },
        )
