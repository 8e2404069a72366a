"""How large a message and a text may become. Pure.

SQS and Step Functions refuse anything above 262,144 bytes, and what is refused stops a company's lane or its run. A
message is measured as JSON with every other character escaped (six bytes each): no transport writes more than that.
"""

import json
from typing import Any, Final

LETTER_BYTES: Final = 250_000
"""Of a message as a whole."""
LINE_BYTES: Final = 150_000
"""Of one contract in a plan. More than that is a text that somebody pasted."""
REASON_LENGTH: Final = 1_500
"""Characters of a reason that a person reads."""

_LEFT_OUT: Final = " […] "


def weight(content: Any) -> int:
    """Bytes of the content in a message, at most."""
    return len(json.dumps(content, separators=(",", ":")))


def shortened(text: str, length: int = REASON_LENGTH) -> str:
    """The text, its middle left out when it is longer: what is wrong stands first, what to do last."""
    if len(text) <= length:
        return text
    head = (length - len(_LEFT_OUT)) // 2
    return text[:head] + _LEFT_OUT + text[head + len(_LEFT_OUT) - length :]


def fitting(message: dict[str, Any], limit: int = LETTER_BYTES) -> dict[str, Any]:
    """The message with its longest texts shortened until it weighs at most `limit`."""
    found = dict(message)
    while weight(found) > limit:
        texts = [name for name, value in found.items() if isinstance(value, str)]
        longest = max(texts, key=lambda name: len(found[name]), default="")
        if not longest or len(found[longest]) <= REASON_LENGTH:
            return found
        found[longest] = shortened(found[longest])
    return found
