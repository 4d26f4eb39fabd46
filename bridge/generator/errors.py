"""What can go wrong while generating, each as an exception that says where and what."""


class GeneratorError(Exception):
    """Base of the generator's errors; the message is for the user."""


class DocumentError(GeneratorError):
    """The OpenAPI document cannot be read, or contains something that is not supported."""

    def __init__(self, pointer: str, problem: str) -> None:
        super().__init__(f"{pointer}: {problem}")
        self.pointer = pointer
        self.problem = problem


class TemplateError(GeneratorError):
    """A template is missing, or what it rendered to is not a class."""


class DriftError(GeneratorError):
    """The files on disk are not what would be rendered, or were changed by hand."""
