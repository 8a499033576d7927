"""Flags of the commands that search for outputs."""

from dataclasses import dataclass
from typing import Any

from experiments.cli.parsing import given


@dataclass(frozen=True)
class Search:
    """How outputs are found; what is left out is as in the run's configuration."""

    beam: int | None = None
    """Hypotheses kept; 1 is greedy."""
    length_penalty: float | None = None
    """GNMT's alpha."""
    max_length: int | None = None
    """Tokens at most in an output."""

    def over(self, settings: Any) -> Any:
        """The run's settings, changed where this says so."""
        return given(
            settings,
            beam=self.beam,
            length_penalty=self.length_penalty,
            max_length=self.max_length,
        )
