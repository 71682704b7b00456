"""What goes wrong with annotations in a way the user can do something about."""


class AnnotationError(ValueError):
    """An annotation that cannot be used as asked; the message says what, why and what to do."""
