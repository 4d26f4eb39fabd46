"""A model's weights by the field's names: what there is, and the numbers."""

import numpy as np
from flask import Response

from engine.contract import schemas as s
from engine.server.http.requests import client
from engine.server.http.responses import binary_response
from engine.server.service import Service
from engine.server.wire import safetensors_body
from engine.weights.catalogue import Tensors


def list_weights(service: Service, model_id: str) -> s.WeightList:
    model = service.models.get(model_id)
    listed = service.worker.call(lambda job: list(model.kit.weights.listed()), client())
    return s.WeightList(
        model=model.id,
        data=[
            s.WeightEntry(
                name=each.name,
                layers=each.layers,
                axes=list(each.axes),
                shape=list(each.shape),
                modules=list(each.modules),
                notes=list(each.notes),
                reason=each.reason or None,
            )
            for each in listed
        ],
    )


def read_weight(
    service: Service, model_id: str, name: str, tokens: str | None, **chosen: int | None
) -> Response:
    model = service.models.get(model_id)
    ids = None if tokens is None else list(map(int, tokens.split(",")))

    def work(job: object) -> Tensors:
        most = service.settings.capture_bytes
        return model.kit.weights.read(name, tokens=ids, most_bytes=most, **chosen)

    read = service.worker.call(work, client())
    tensors = [
        safetensors_body.Tensor(each, "float32", np.ascontiguousarray(array))
        for each, array in read.arrays.items()
    ]
    size, pieces = safetensors_body.body(tensors, {"model": model.id, **read.described})
    return binary_response(size, pieces)
