"""Errors that a user can do something about: one line each and an exit status, never a traceback."""


class UserError(Exception):
    """What happened, where, and what to do, in one line for a person."""

    exit_status = 2

    @property
    def lines(self) -> tuple[str, ...]:
        """What to print: one line for each problem."""
        return (str(self),)


class ConfigError(UserError):
    """A configuration that cannot be used: each problem as `FILE:LINE: [section] key: what; what to do`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)

    @property
    def lines(self) -> tuple[str, ...]:
        """All problems, in the order of the file."""
        return self.problems


class HostError(UserError):
    """The host cannot do what the configuration asks: an interface, a port, a privilege."""


class ControlError(UserError):
    """A command to a running proxy that cannot be given, or came to nothing."""


class Unreachable(ControlError):
    """No proxy answers at the control socket."""

    exit_status = 5


class Refused(ControlError):
    """The proxy answered with an error."""

    exit_status = 6
