"""What one probe saw, as `ops.probe.answers` reads it: replies, and when things appeared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ops.probe.lags import Sighting

if TYPE_CHECKING:
    from ops.probe.caller import Measured, Reply
    from ops.probe.lags import Span

Json = dict[str, Any]


@dataclass(slots=True)
class Billed:
    """One billing whose call was answered with an order. `first`: of its contract in this month."""

    code: str
    nCodOS: int
    first: bool
    in_orders: Sighting
    in_stages: Sighting
    note: Sighting
    title: Sighting
    boleto: Sighting
    refused: bool = False
    """The city refused its note."""
    nCodTitulo: int = 0

    @classmethod
    def by(cls, reply: Reply, code: str, nCodOS: int, *, first: bool) -> Billed:
        """A billing by that call, of which nothing was looked for yet."""
        orders, stages, note, title, boleto = (Sighting(reply.sent, reply.answered) for _ in range(5))
        return cls(code, nCodOS, first, orders, stages, note, title, boleto)


@dataclass(slots=True)
class Observations:
    """Attributes:
    measured: what every call told.
    reasons: question -> why its experiment could not be made, in Portuguese.
    tries: question -> the replies to what Omie may accept or refuse.
    control: the billing of a fresh contract after the refusals: it shows that FaturarContrato itself still works.
    repeats: what was asked again within a minute -> the replies in order, one list for each time it was tried.
    before, after: the contract with two items and two expenses, before and after an alteration that named one of each.
    once_only: the contract billed with what was for one billing only, as last read, and how long after its billing.
    plain: the dAlt and hAlt of a contract before and after its billing.
    orders: the customer's orders, as last listed; whole: whether that list was read at the end.
    cancelled: whether stages 20 and 30 showed the contract whose order was cancelled.
    """

    measured: Measured
    reasons: dict[str, str] = field(default_factory=dict)
    tries: dict[str, list[Reply]] = field(default_factory=dict)
    control: Reply | None = None
    repeats: dict[str, list[list[Reply]]] = field(default_factory=dict)
    page: Reply | None = None
    slash: Reply | None = None
    altered: dict[str, Sighting] = field(default_factory=dict)
    created: dict[str, Sighting] = field(default_factory=dict)
    consulted: list[tuple[float, bool]] = field(default_factory=list)
    """Of each ConsultarContrato right after an alteration: how old that was, and whether it was shown."""
    hours: list[Span] = field(default_factory=list)
    before: Json | None = None
    after: Json | None = None
    once_only: tuple[Json, float] | None = None
    plain: list[tuple[str, str]] = field(default_factory=list)
    billed: list[Billed] = field(default_factory=list)
    asked_again: dict[str, str] = field(default_factory=dict)
    """second_billing, bill_outside_stage_20 -> code of the contract that was tried."""
    orders: dict[int, Json] = field(default_factory=dict)
    whole: bool = False
    cancelled: tuple[bool, bool] | None = None
    emptied: Reply | None = None
    boleto_wanted: bool = True
    """Whether the customer's register lets boletos come by themselves."""
    title_age: float = 0.0
    """Seconds for which the oldest title was known at the last look."""
    boletos: list[Json] = field(default_factory=list)
    lots: list[Json] = field(default_factory=list)
    receipt: Reply | None = None
    receipt_title: Reply | None = None


def order_text(order: Json) -> str:
    """All descriptions of an order's lines."""
    lines = order.get("ServicosPrestados")
    return " ".join(str(line.get("cDescServ") or "") for line in lines or [] if isinstance(line, dict))


def is_cancelled(order: Json) -> bool:
    return (order.get("InfoCadastro") or {}).get("cCancelada") == "S"
