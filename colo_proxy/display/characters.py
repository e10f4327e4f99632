"""Text from elsewhere, for a terminal."""


def printable(text: str) -> str:
    """What others said, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
