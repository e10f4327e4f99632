"""Problems of a configuration, in words for a person."""

import difflib
from datetime import date, time

from pydantic_core import ErrorDetails


def explain(problem: ErrorDetails, known: tuple[str, ...]) -> str:
    """One of pydantic's problems in our words."""
    value = shown(problem["input"])
    context = problem.get("ctx", {})
    match problem["type"]:
        case "extra_forbidden":
            text = f"unknown key{meant(str(problem['loc'][-1]), known)}"
        case "missing":
            text = "missing; add it"
        case "int_type":
            text = f"must be a whole number, not {value}"
        case "greater_than_equal":
            text = f"must be at least {context['ge']}, not {value}"
        case "less_than_equal":
            text = f"must be at most {context['le']}, not {value}"
        case "literal_error":
            text = f"must be one of {context['expected']}, not {value}"
        case "value_error":
            text = str(context["error"])
        case _:
            text = f"{problem['msg']}, not {value}"
    return text


def meant(word: str, known: tuple[str, ...]) -> str:
    """What to put behind `unknown …`: the nearest of the known words, or all of them."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; valid are {', '.join(known)}"


def shown(value: object) -> str:  # noqa: PLR0911
    """A value as it might stand in the file, cut to what fits a line."""
    match value:
        case dict():
            return "a table"
        case list():
            return "an array"
        case bool():
            return "true" if value else "false"
        case None:
            return "null"  # on the control socket; TOML has none
        case date() | time():  # a datetime is a date
            return str(value)
    try:
        return _cut(repr(value))
    except ValueError:  # sys.set_int_max_str_digits
        return "a number of thousands of digits"


def printable(text: str) -> str:
    """A key as it stands in the file, in one line that no terminal obeys, cut to what fits it."""
    return _cut("".join(letter if letter.isprintable() else "?" for letter in text))


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
