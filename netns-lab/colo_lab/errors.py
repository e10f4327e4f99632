"""What the lab says to a person when it cannot go on."""


class LabError(Exception):
    """The lab could not do what was asked; the text says what happened and what to do."""


class Missing(LabError):
    """The machine lacks something that the lab needs; one line says what."""
