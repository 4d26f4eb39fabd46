"""The Flask application: every operation of the contract, bound to the function that does it."""

from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from engine.contract.openapi import openapi_document
from engine.contract.operations import OPERATIONS, Operation
from engine.server.http import guard, logs, measures, page_files
from engine.server.http.requests import body_of, query_of
from engine.server.http.responses import answer, error_response
from engine.server.http.routes import (
    attribution,
    captures,
    circuits,
    debugging,
    edges,
    embeddings,
    feature_examples,
    features,
    forward,
    generation,
    gradients,
    hooks,
    jobs,
    lens,
    models,
    neurons,
    responses,
    sessions,
    status,
    steering,
    tokens,
    weights,
)
from engine.server.http.smalltalk_files import smalltalk_files
from engine.server.lm_studio.routes import lm_studio
from engine.server.panics import panics_as_errors
from engine.server.service import Service

HANDLERS: dict[str, Callable[..., Any]] = {
    "health": status.health,
    "metrics": status.metrics,
    "openapi": lambda service: openapi_document(),
    "listModels": models.list_models,
    "retrieveModel": models.retrieve_model,
    "listWeights": weights.list_weights,
    "readWeight": weights.read_weight,
    "loadModel": models.load_model,
    "unloadModel": models.unload_model,
    "tokenize": tokens.tokenize,
    "detokenize": tokens.detokenize,
    "createCompletion": generation.complete,
    "createChatCompletion": generation.chat,
    "createCompletionWithActivations": generation.complete,
    "createChatCompletionWithActivations": generation.chat,
    "forward": forward.forward,
    "createResponse": responses.respond,
    "createEmbeddings": embeddings.embed,
    "logitLens": lens.logit_lens,
    "promotedTokens": neurons.promoted_tokens,
    "logitAttribution": attribution.attribute,
    "headTokens": attribution.head_tokens,
    "loadFeatures": features.load,
    "listFeatures": features.list_sets,
    "unloadFeatures": features.unload,
    "measureFeatures": features.metrics,
    "featureExamples": feature_examples.examples,
    "featureTokens": feature_examples.tokens,
    "gradients": gradients.gradients,
    "patchCircuit": circuits.patch,
    "verifyCircuit": circuits.verify,
    "scoreEdges": edges.edges,
    "edgeFaithfulness": edges.edge_faithfulness,
    "pruneCircuit": edges.prune_circuit,
    "patchPaths": edges.paths,
    "scoreNodes": edges.nodes,
    "beginForwardSession": sessions.begin_forward,
    "beginCompletionSession": sessions.begin_completion,
    "continueSession": sessions.continue_session,
    "keepSession": sessions.keep,
    "cancelSession": sessions.cancel,
    "beginDebugSession": debugging.begin,
    "describeDebugSession": debugging.describe,
    "stepDebugSession": debugging.step,
    "restartDebugSession": debugging.restart,
    "readDebugSession": debugging.read,
    "changeDebugSession": debugging.change,
    "debugLogitLens": debugging.logit_lens,
    "forkDebugSession": debugging.fork,
    "endDebugSession": debugging.end,
    "listJobs": jobs.list_jobs,
    "cancelJob": jobs.cancel,
    "registerHooks": hooks.register,
    "listHooks": hooks.list_hooks,
    "deleteHooks": hooks.remove_all,
    "deleteHook": hooks.remove,
    "clearHooks": hooks.remove_all,
    "computeSteeringVector": steering.compute,
    "importSteeringVector": steering.import_vector,
    "listSteeringVectors": steering.list_vectors,
    "describeSteeringVector": steering.describe,
    "readSteeringVector": steering.read_file,
    "deleteSteeringVector": steering.forget,
    "registerSteering": steering.register,
    "listSteering": steering.list_steering,
    "deleteSteering": steering.remove,
    "deleteAllSteering": steering.remove_all,
    "listCaptures": captures.list_captures,
    "getCapture": captures.describe,
    "deleteCapture": captures.forget,
    "getTensors": captures.read_tensors,
}


class Application(Flask):
    """One whose routes may panic, and their clients get a reply."""

    def dispatch_request(self) -> ResponseReturnValue:
        with panics_as_errors():
            return super().dispatch_request()


def create_app(service: Service) -> Flask:
    """The WSGI application of one server."""
    app = Application("neuroscope", static_folder=None)
    app.url_map.merge_slashes = False
    logs.install(app)
    measures.install(app, service.metrics)
    guard.install(app, service.settings, open_to_all=page_files.ENDPOINTS)
    app.after_request(_named_version(service.settings.version))
    app.before_request(_check_path)
    app.register_error_handler(Exception, error_response)
    for operation in OPERATIONS:
        app.add_url_rule(
            _rule(operation.path),
            operation.id,
            _view(service, operation),
            methods=[operation.method.upper()],
            provide_automatic_options=False,
        )
    app.register_blueprint(lm_studio(service))
    app.register_blueprint(page_files.page_files(service.settings))
    if service.settings.smalltalk_folder is not None:
        app.register_blueprint(smalltalk_files(service.settings.smalltalk_folder))
    return app


def _check_path() -> None:
    """Refuse slashes that Flask would drop from the beginning of a path."""
    if request.environ["PATH_INFO"].startswith("//"):
        raise NotFound


def _named_version(version: str) -> Callable[[Response], Response]:
    """Tells every client of which version this server is."""

    def name(response: Response) -> Response:
        response.headers["X-NeuroScope-Version"] = version
        return response

    return name


def _rule(path: str) -> str:
    """Flask's spelling of a contract path; ids that clients choose may contain slashes."""
    for name in ("hook_id", "model_id"):
        path = path.replace(f"{{{name}}}", f"<path:{name}>")
    return path.replace("{", "<").replace("}", ">")


def _view(service: Service, operation: Operation) -> Callable[..., Response]:
    handler = HANDLERS[operation.id]

    def view(**path: str) -> Response:
        arguments = path | query_of(operation)
        if operation.request:
            arguments["request"] = body_of(operation.request, service.settings)
        return answer(handler(service, **arguments))

    return view
