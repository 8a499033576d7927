"""Values that must not be kept: those of environment variables that are called keys or tokens."""

import os
import re
from collections.abc import Mapping

_NAMES = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|CREDENTIALS)$", re.IGNORECASE)
_SHORTEST = 6
"""Characters; a shorter value hides nothing, and would be found in every other word."""

HIDDEN = "[hidden]"


def redacted(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text without the values of secret variables (`WANDB_API_KEY`, `HF_TOKEN` and such).

    Args:
        text: that may quote them, such as another library's error.
        environment: of the process (None: as it is).
    """
    known = os.environ if environment is None else environment
    values = {value for name, value in known.items() if _NAMES.search(name)}
    # The longest first, for one may hold another.
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST:
            text = text.replace(value, HIDDEN)
    return text
