"""How the simulator behaves as a whole: what an account of a kind does, by one name.

`demo` is quick and answers every call; what was written it shows up to 8 s later, which is the switches' default.
`live` is what integrations measured on real accounts: a call takes 1.4 s, 2.9 % of the calls get no answer, a contract
is shown as it was for up to 8 s, and a billing is missing from the stages and from ListarOS for up to two minutes, from
each for a time of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Profile:
    """`faults` as `read_faults` takes them; `latency_ms` is the mean time of a call."""

    latency_ms: float = 60.0
    faults: str = ""
    switches: Mapping[str, Any] = field(default_factory=dict)


PROFILES: Final[Mapping[str, Profile]] = {
    "demo": Profile(),
    "live": Profile(
        latency_ms=1400.0,
        faults="lost_reply:share=0.0145;lost_request:share=0.0145",
        switches={"read_lag": 8.0, "list_lag": 120.0, "lists_lag": "apart"},
    ),
}
