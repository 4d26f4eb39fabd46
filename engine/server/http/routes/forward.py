"""One forward pass: logits, the likeliest next tokens, activations. Nothing is sampled."""

from typing import Any

from engine.contract import schemas as s
from engine.server.http.forward_pass import ForwardPass
from engine.server.http.requests import client
from engine.server.service import Service


def forward(service: Service, request: s.ForwardRequest) -> dict[str, Any]:
    asked = ForwardPass.of(service, request)
    return asked.reply(service.worker.call(asked.run, client()))
