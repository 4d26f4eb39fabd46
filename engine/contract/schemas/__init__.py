"""Every request and response of the endpoint, declared once.

Requests forbid unknown fields: a misspelt parameter is an error that names it, never ignored.
What breaks a schema is refused with 400; what fits it and cannot be done on this model, with 422.
"""

from engine.contract.schemas.activations import *
from engine.contract.schemas.attribution import *
from engine.contract.schemas.base import *
from engine.contract.schemas.circuits import *
from engine.contract.schemas.debugging import *
from engine.contract.schemas.edges import *
from engine.contract.schemas.embeddings import *
from engine.contract.schemas.feature_examples import *
from engine.contract.schemas.features import *
from engine.contract.schemas.forward import *
from engine.contract.schemas.generation import *
from engine.contract.schemas.gradients import *
from engine.contract.schemas.health import *
from engine.contract.schemas.jobs import *
from engine.contract.schemas.lens import *
from engine.contract.schemas.models import *
from engine.contract.schemas.neurons import *
from engine.contract.schemas.openai import *
from engine.contract.schemas.responses import *
from engine.contract.schemas.sessions import *
from engine.contract.schemas.steering import *
from engine.contract.schemas.structured import *
from engine.contract.schemas.tokens import *
from engine.contract.schemas.tools import *
