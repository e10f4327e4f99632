"""Problems of a configuration, in words for a person."""

import difflib

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
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"


def shown(value: object) -> str:
    """A value as it might stand in the file, cut to what fits a line."""
    kinds = {dict: "a table", list: "an array", bool: "true" if value else "false"}
    if type(value) in kinds:
        return kinds[type(value)]
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
