"""What can go wrong, each as an exception that says what was asked and what exists."""


class AbandonedError(BaseException):
    """Raised at a checkpoint of work that nobody waits for any more, to unwind it: no failure."""


PROCESS_EXITS = (SystemExit, KeyboardInterrupt, GeneratorExit, AbandonedError)
"""What ends a process, a generator or a job, and is no failure. Everything else that is raised is
one, a panic in Rust too, which is no Exception."""


class EngineError(Exception):
    """Base of all errors that the engine raises on purpose; the message is for the user."""


class UnknownLayerError(EngineError):
    """A layer name that the model has no layer for."""


class UnknownComponentError(EngineError):
    """A component that is not one of `ComponentType`, or that this layer does not have."""


class UnknownHeadError(EngineError):
    """A head index outside the model's heads, or heads on a component without a head axis."""


class UnknownNeuronError(EngineError):
    """A neuron index outside an MLP's neurons, or a neuron of a component without a neuron axis."""


class UnknownPositionError(EngineError):
    """A position outside the sequence."""


class DuplicateHookError(EngineError):
    """Two hooks with one id."""


class UnknownHookError(EngineError):
    """A hook id that is not registered."""


class InvalidRequestError(EngineError):
    """A parameter with a value that cannot be used; names the parameter and what is allowed."""


class ContextLengthError(InvalidRequestError):
    """More positions than the model has embeddings for; says how many it has."""


class UnequalPromptsError(InvalidRequestError):
    """Two prompts that need the same number of tokens, and have different ones."""


class ChatTemplateError(EngineError):
    """Messages that the model's chat template does not render; says what the template says."""


class GrammarError(EngineError):
    """A grammar that cannot be compiled, or that no text can go on to fulfil; says why."""


class ModelNotFoundError(EngineError):
    """No loadable model at the path or id given; says what is missing."""


class UnsupportedModelError(EngineError):
    """A model that is there but cannot be loaded; says why."""


class UnsupportedOperationError(EngineError):
    """What MLX cannot compute on this device, or of a model; says which, and what helps."""


class NotFiniteError(EngineError):
    """Logits or gradients that are NaN or infinite; says which layer's output is the first."""


class NotEnoughMemoryError(EngineError):
    """A run that would need more memory than there is; says both sizes, and what helps."""


class CaptureTooLargeError(EngineError):
    """A capture that would pass the memory budget; says both sizes in bytes."""


class InterventionError(EngineError):
    """An intervention that cannot act where it was asked to."""


class UnknownWeightError(EngineError):
    """A weight that the model, or the layer, does not have; says why and which there are."""


class WeightTooLargeError(EngineError):
    """A weight larger than what may be sent at once; says both sizes in bytes."""


class FeatureSetError(EngineError):
    """A feature set that cannot be read or used exactly; says what is wrong with it."""


class UnknownFeatureSetError(EngineError):
    """An id that no loaded feature set has; names those that are."""


class UnknownFeatureError(EngineError):
    """A feature index outside a set; says how many features it has."""
