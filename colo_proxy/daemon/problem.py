"""One thing that stands in the way of a configuration on this host."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where (a key, an interface, a path), and what to do about it."""

    level: Literal["error", "warning"]
    what: str
    where: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.what}; {self.remedy}"
