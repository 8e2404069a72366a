"""What one Omie app (a company with its key) holds, with its indexes; and the clockwork all apps share."""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from simulators.omie.answers import Json, dumps
from simulators.omie.book import Book
from simulators.omie.dates import day_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from datetime import date

    from simulators.omie.switches import Switches
    from simulators.omie.webhooks import Outbox


@dataclass(slots=True)
class Contract:
    """A service contract. Its contratoCadastro is kept as JSON text (100,000 dicts would not fit a laptop), without
    its observacoes, which lists leave out unless asked.
    """

    nCodCtr: int
    cCodIntCtr: str
    cNumCtr: str
    cCodSit: str
    nCodCli: int
    nDiaFat: int
    months: int
    start: date | None
    end: date | None
    total: int
    text: str
    notes: str
    included: float
    altered: float
    billed_month: int = 0
    by_api: bool = True
    """Made through the API; a person made the others on the screen."""
    before: Contract | None = None
    """As reads still show it until `shown_at`; None: lists do not show it yet."""
    shown_at: float = 0.0

    def seen(self, now: float) -> Contract | None:
        """What a list shows of it at that moment."""
        return self if now >= self.shown_at else self.before

    def cadastro(self) -> Json:
        """A fresh copy of the contratoCadastro, without infoCadastro."""
        cadastro: Json = json.loads(self.text)
        cadastro["observacoes"] = {"cObsContrato": self.notes}
        return cadastro


class Line(NamedTuple):
    """A line of a service order; amounts in centavos, `unit` and `quantity` as Omie shows them."""

    nIdItem: int
    nCodServico: int
    description: str
    quantity: float
    unit: float
    discount: int
    addition: int
    total: int
    reimbursement: bool
    no_receivable: bool
    lc116: str
    municipal: str
    aliqISS: float
    category: str


@dataclass(slots=True)
class Order:
    """A service order (OS), with its RPS and NFS-e once it is billed."""

    nCodOS: int
    cNumOS: str
    cCodIntOS: str
    nCodCli: int
    nCodCtr: int
    cNumCtr: str
    cEtapa: str
    cOrigem: str
    lines: tuple[Line, ...]
    total: int
    due: tuple[tuple[date, int], ...]
    account: int
    category: str
    city: str
    email: Json
    included: float
    altered: float
    forecast: date
    installments: Json = field(default_factory=dict)
    sent: Json | None = None
    billed_at: float = 0.0
    cancelled_at: float = 0.0
    listed_at: float = 0.0
    """When ListarOS begins to show it billed, or cancelled."""
    rps: int = 0
    rps_lot: int = 0
    rps_status: str = ""
    rps_sent_at: float = 0.0
    rejection: tuple[tuple[str, str, float], ...] = ()
    nCodNF: int = 0
    nfse: int = 0
    verification: str = ""
    nfse_at: float = 0.0

    @property
    def billed(self) -> bool:
        return self.billed_at > 0

    @property
    def cancelled(self) -> bool:
        return self.cancelled_at > 0


@dataclass(slots=True)
class Receipt:
    """A baixa: money received for a title; centavos."""

    codigo_baixa: int
    codigo_baixa_integracao: str
    day: date
    paid: int
    interest: int
    fine: int
    discount: int
    account: int
    note: str
    reconciled: bool = False


@dataclass(slots=True)
class Boleto:
    number: str
    bank_number: str
    barcode: str
    issued: date


@dataclass(slots=True)
class Title:
    """A conta a receber; amounts in centavos. `extra` holds fields that were sent and mean nothing here."""

    nCodTitulo: int
    code: str
    nCodCli: int
    due: date
    forecast: date
    issued: date
    amount: int
    category: str
    account: int
    origin: str
    document: str
    fiscal_document: str
    installment: str
    included: float
    altered: float
    nCodOS: int = 0
    cNumOS: str = ""
    nCodCtr: int = 0
    cNumCtr: str = ""
    nCodNF: int = 0
    receipts: list[Receipt] = field(default_factory=list)
    boleto: Boleto | None = None
    cancelled: bool = False
    extra: Json = field(default_factory=dict)

    @property
    def settled(self) -> int:
        """What the receipts took off the title's amount."""
        return sum(receipt.paid + receipt.discount for receipt in self.receipts)

    @property
    def open(self) -> int:
        return 0 if self.cancelled else max(0, self.amount - self.settled)


@dataclass(slots=True)
class Lot:
    """A bulk billing (FaturarLoteContrato or FaturarLoteOS) and what came of each of its members."""

    nIdLoteFat: int
    of_contracts: bool
    members: list[int]
    started: float
    updated: float
    done: int = 0
    details: list[Json] = field(default_factory=list)
    origin: str = "API"
    """MAN: a person in Omie's screen, SCH: Omie's own schedule, API."""

    @property
    def status(self) -> str:
        return "DONE" if self.done >= len(self.members) else "RUNNING"


class Sim:
    """What all apps share: switches, chance, the book, the outbox and an agenda of things yet to happen."""

    def __init__(self, switches: Switches, outbox: Outbox, *, seed: int) -> None:
        self.switches = switches
        self.outbox = outbox
        self.random = Random(f"omie-{seed}")
        self.book = Book()
        self._lags = Random(f"lag-{seed}")
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()

    def record_lag(self) -> float:
        """Seconds for which a contract just written is shown as it was."""
        longest = self.switches.read_lag
        return self._lags.uniform(0, longest) if longest else 0.0

    def list_lags(self) -> tuple[float, float]:
        """Seconds for which a billing just made is missing from the stages, and from the list of orders."""
        least, longest = self.switches.list_lag_least, self.switches.list_lag
        if not longest:
            return 0.0, 0.0
        stages = self._lags.uniform(least, longest)
        return stages, stages if self.switches.lists_lag == "alike" else self._lags.uniform(least, longest)

    def later(self, when: float, action: Callable[[float], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._order), action))

    def advance(self, now: float) -> None:
        """Let everything happen that was due by now, in order, each at its own time."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= now:
            when, _, action = heapq.heappop(agenda)
            action(when)

    def next_at(self) -> float | None:
        return self._agenda[0][0] if self._agenda else None


class App:
    """One company's Omie."""

    def __init__(self, company: str, app_key: str, app_secret: str, *, document: str = "", first_id: int = 1) -> None:
        self.company = company
        self.app_key = app_key
        self.app_secret = app_secret
        self.document = document
        self.last_id = first_id
        self.version = 0
        self.lagging_until = 0.0
        """Until then some contract is shown as it was: searches are not remembered."""
        self.contracts: dict[int, Contract] = {}
        self.contract_list: list[Contract] = []
        self.contract_codes: dict[str, int] = {}
        self.billed_in: dict[int, dict[int, float]] = {}
        """Month -> nCodCtr -> since when the stages show it billed."""
        self.customers: dict[int, str] = {}
        self.customer_list: list[int] = []
        self.customer_codes: dict[str, int] = {}
        self.customer_documents: dict[str, int] = {}
        self.services: dict[int, Json] = {}
        self.accounts: dict[int, Json] = {}
        self.categories: dict[str, Json] = {}
        self.orders: dict[int, Order] = {}
        self.order_list: list[Order] = []
        self.order_codes: dict[str, int] = {}
        self.order_numbers: dict[str, int] = {}
        self.invoices: dict[int, Order] = {}
        self.titles: dict[int, Title] = {}
        self.title_codes: dict[str, int] = {}
        self.titles_of_order: dict[int, list[int]] = {}
        self.receipts: dict[int, Title] = {}
        self.receipt_codes: dict[str, int] = {}
        self.lots: dict[int, Lot] = {}
        self.last_order_number = 0
        self.last_rps = 0
        self.last_contract_number = 0
        self._found: dict[Hashable, tuple[int, list[Any]]] = {}

    def new_id(self) -> int:
        self.last_id += 3
        return self.last_id

    def changed(self) -> None:
        """Forget remembered searches."""
        self.version += 1

    def found(self, question: Hashable, search: Callable[[], list[Any]]) -> list[Any]:
        """The answer to a filtered search, remembered while nothing changes: paging through it stays cheap."""
        known = self._found.get(question)
        if known is not None and known[0] == self.version:
            return known[1]
        if len(self._found) > 32:
            self._found.clear()
        answer = search()
        self._found[question] = (self.version, answer)
        return answer

    def add_customer(self, cadastro: Json) -> None:
        """Put a clientes_cadastro in (or over the one with its id)."""
        number = int(cadastro["codigo_cliente_omie"])
        if number not in self.customers:
            self.customer_list.append(number)
        self.last_id = max(self.last_id, number)
        self.customers[number] = dumps(cadastro)
        if code := str(cadastro.get("codigo_cliente_integracao") or "").strip():
            self.customer_codes[code] = number
        if document := digits(cadastro.get("cnpj_cpf")):
            self.customer_documents[document] = number

    def customer(self, number: int) -> Json:
        cadastro: Json = json.loads(self.customers[number])
        return cadastro


def digits(document: object) -> str:
    """A CNPJ/CPF without its punctuation (letters stay: the CNPJ of 2026 has some)."""
    return "".join(sign for sign in str(document or "") if sign.isalnum()).upper()


class Call(NamedTuple):
    """Who asks what, when: the first argument of every method."""

    sim: Sim
    app: App
    now: float
    method: str

    @property
    def today(self) -> date:
        return day_of(self.now)

    @property
    def switches(self) -> Switches:
        return self.sim.switches


class Handler(NamedTuple):
    """A method's function, and whether it changes anything."""

    run: Callable[[Call, Json], Any]
    write: bool
