"""Planning one contract: bill it, skip it or park it, the amount to the cent, and why. Pure.

`plan_contract` reads three sources that may disagree: Jestor (what the customer agreed to), Omie (what would
be billed if someone pressed the button now) and the ledger (what this system has already done). The first of
these that applies decides:

| Found                                                        | Line                              |
|--------------------------------------------------------------|-----------------------------------|
| ledger BILLED; ledger SENDING or UNKNOWN                     | skip: billed, or will be settled  |
| a person billed it in Omie: a live order of the month        | skip: will be adopted             |
| a Jestor row that cannot be read                             | park                              |
| draft, suspended, churned, other status, not started, ended  | skip                              |
| held                                                         | skip                              |
| ledger PARKED                                                | park, with its reason             |
| a person cancelled its order of the month, no live one       | park                              |
| no amount, unknown service, no due day                       | park, all problems at once        |
| the link between the two is missing, doubtful or contested   | park, or create                   |
| suspended, cancelled or in preparation in Omie; not monthly  | park                              |
| the month is over                                            | park                              |
| texts that no message can carry                              | park                              |
| anything else                                                | bill, altering Omie where needed  |

Reasons are Portuguese, for the billing team: what is wrong, where (Jestor or Omie), what to do.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from typing import Any, Literal, NamedTuple, Self, TypeVar

from billing.domain.addition import NAMES as ADDITION_NAMES
from billing.domain.addition import Addition, How, Kind, charged_kind
from billing.domain.addition import total as total_of_additions
from billing.domain.charge import MONTHLY, Charge, ParkClass, State
from billing.domain.composition import Composition
from billing.domain.contract import ITEM_PREFIX, BadRow, Contract, ContractStatus, Customer, Price
from billing.domain.fiscal_limits import ABROAD, customer_warnings, description_warnings, missing_address
from billing.domain.money import format_brl
from billing.domain.month import BillingMonth, first_charge
from billing.domain.sizes import LINE_BYTES, shortened, weight
from billing.domain.text import addresses, fold, prose, writable

OPEN_ENDED_YEARS = 5
"""Omie wants an end of vigência: a contract without one in Jestor runs to 31 December this many years on."""

MONTHLY_BILLING = "01"
"""cTipoFat of a contract that Omie bills every month."""
BILLING_TYPES = {"01": "mensal", "02": "bimestral", "03": "trimestral", "06": "semestral", "12": "anual"}

CANCELLED_REASON = (
    "A OS deste mês foi cancelada no Omie (OS {}). Se deve ser cobrado, fature-o por ordem de serviço avulsa; "
    "se não, não há o que fazer."
)

JUMP_WARNING = "Mudança grande"
"""Begins the warning about a change beyond the guardrail's limits."""

JUMPS_REASON = "Mudança de valor acima do limite"
"""Begins the reason that tells the largest of those changes."""

T = TypeVar("T")
Work = Literal["none", "alter", "create"]


class Action(StrEnum):
    BILL = "bill"
    SKIP = "skip"
    PARK = "park"


class Reason(StrEnum):
    """Reason codes of skip and park lines."""

    ALREADY_BILLED = "already_billed"
    IN_DOUBT = "in_doubt"
    BILLED_IN_OMIE = "billed_in_omie"
    DRAFT = "draft"
    SUSPENDED = "suspended"
    CHURNED = "churned"
    OTHER_STATUS = "other_status"
    NOT_STARTED = "not_started"
    ENDED = "ended"
    HELD = "held"

    BAD_ROW = "bad_row"
    UNREADABLE_ROW = "unreadable_row"
    PARKED_BEFORE = "parked_before"
    ORDER_CANCELLED = "order_cancelled"
    NO_AMOUNT = "no_amount"
    UNKNOWN_SERVICE = "unknown_service"
    NO_DUE_DAY = "no_due_day"
    SHARED_LINK = "shared_link"
    LINKED_ELSEWHERE = "linked_elsewhere"
    LINK_CONFLICT = "link_conflict"
    LINK_NOT_FOUND = "link_not_found"
    POSSIBLE_DUPLICATE = "possible_duplicate"
    UNKNOWN_IN_OMIE = "unknown_in_omie"
    SUSPENDED_IN_OMIE = "suspended_in_omie"
    CANCELLED_IN_OMIE = "cancelled_in_omie"
    DRAFT_IN_OMIE = "draft_in_omie"
    NO_OWN_ITEM = "no_own_item"
    DIFFERS = "differs"
    NOT_MONTHLY = "not_monthly"
    SEVERAL_REGISTERS = "several_registers"
    UNREADABLE_IN_OMIE = "unreadable_in_omie"
    MISSED_MONTH = "missed_month"
    TOO_LARGE = "too_large"


_CLASS_OF = {Reason.UNKNOWN_SERVICE: ParkClass.FISCAL, Reason.MISSED_MONTH: ParkClass.MISSED_MONTH}


def park_class(reason_code: str) -> ParkClass:
    """The class of a code this module gives to park lines; UNKNOWN for any other."""
    try:
        return _CLASS_OF.get(Reason(reason_code), ParkClass.DATA)
    except ValueError:
        return ParkClass.UNKNOWN


class Brought(NamedTuple):
    """An addition of ours as it stands on an Omie contract: what `Addition` becomes there. Centavos."""

    marker: str
    amount: int
    how: How


class OmieContract(NamedTuple):
    """What planning needs of one Omie contract, small enough to hold 100,000 of them. Totals in centavos.

    `own_total`, `own_items`: the items whose codIntItem carries `ITEM_PREFIX`; `additions`: what a plan of ours
    brought for one billing, sorted, and no part of either total; `foreign_total`: all others.
    `fingerprint`: from `fingerprint()`, over the first own item and the contract's due rule and e-mail.
    `unreadable`: the class of the error that reading it raised: then only its numbers and its situation count, so that
    it is neither billed nor taken for absent.
    """

    nCodCtr: int
    cCodIntCtr: str
    cNumCtr: str
    cCodSit: str
    nCodCli: int
    nDiaFat: int
    own_total: int
    foreign_total: int
    own_items: int
    dVigInicial: date | None
    dVigFinal: date | None
    fingerprint: str
    additions: tuple[Brought, ...] = ()
    cTipoFat: str = MONTHLY_BILLING
    unreadable: str = ""

    @property
    def label(self) -> str:
        """As a person finds it in Omie: the number on the screen, and the code the link command takes."""
        return f"nº {self.cNumCtr} (código {self.nCodCtr})" if self.cNumCtr else f"código {self.nCodCtr}"


class Service(NamedTuple):
    """What a service label of Jestor stands for in Omie. `description` serves contracts that have none."""

    key: str  # from `service_key`
    description: str = ""


@dataclass(frozen=True, slots=True)
class CompanyPolicy:
    """A company's rules, filled from the settings.

    `services` by Jestor's label. `billing_day` 1-28 becomes nDiaFat. `default_due_day` serves contracts that
    have none. `jump_percent`, `jump_amount` (centavos): a change against the last charge beyond either is
    pointed out.
    """

    company: str
    services: Mapping[str, Service]
    billing_day: int = 1
    due_month: Literal["same", "next"] = "same"
    min_days_to_due: int = 0
    default_due_day: int | None = None
    jump_percent: int | None = None
    jump_amount: int | None = None
    create_unknown: bool = True
    alter_differences: bool = True

    def service_label(self, label: str) -> str | None:
        """The settings' own label of a service, however Jestor writes it; None for a service that is not sold."""
        if label in self.services:
            return label
        folded = fold(label)
        return next((known for known in self.services if fold(known) == folded), None)


class Previous(NamedTuple):
    """The contract's last charge: centavos, the month as text ("2026-11"), and how much of it were additions."""

    amount: int
    month: str
    additions: int = 0


class LedgerView(NamedTuple):
    """What the ledger says about this month's charge."""

    state: State
    nCodOS: int | None = None
    reason: str = ""
    reason_code: str = ""


def service_key(cod_servico: int, cod_lc116: str) -> str:
    """One word for an item's service: Omie's own register (codServico) where used, else the LC 116 code."""
    return str(cod_servico) if cod_servico else cod_lc116.strip()


_PARTS = ("descrição", "serviço", "vencimento", "e-mail")


def fingerprint(*, description: str, service_key: str, cTpVenc: str, nDiaFixo: int, cProxMes: str, email: str) -> str:
    """Four short hashes, joined by dots, of what we write into a contract beside its amount.

    Spacing, line breaks, HTML entities, the order and case of e-mail addresses, and an empty cProxMes (Omie's "N") make
    no difference. The e-mail's hash is empty when there is none.
    """
    due = f"{cTpVenc}/{nDiaFixo}/{cProxMes or 'N'}"
    parts = map(writable, (prose(description), service_key, due, ",".join(addresses(email))))
    return ".".join(hashlib.sha256(part.encode()).hexdigest()[:8] if part else "" for part in parts)


@dataclass(frozen=True, slots=True)
class Desired:
    """What the Omie contract must be before it is billed. `amount` is our own item's; amounts in centavos.

    The due rule (vencTextos: cTpVenc "002", a fixed day) is written for this month: nDiaFixo is the day of
    the due date, already clamped to its month, and cProxMes "S" puts it in the month after the billing. So
    Omie's due date is the planned one, whatever Omie makes of day 31 in February. No e-mail leaves Omie's as
    it is; so does a vigência (ISO dates) of None.
    """

    nDiaFat: int
    nDiaFixo: int
    cProxMes: Literal["S", "N"]
    description: str
    service: str
    service_key: str
    amount: int
    quantity: int
    unit_amount: int
    discount: int
    email: str | None = None
    dVigInicial: str | None = None
    dVigFinal: str | None = None
    cTpVenc: str = "002"

    def fingerprint(self) -> str:
        """Comparable with `OmieContract.fingerprint`, part by part."""
        return fingerprint(
            description=self.description,
            service_key=self.service_key,
            cTpVenc=self.cTpVenc,
            nDiaFixo=self.nDiaFixo,
            cProxMes=self.cProxMes,
            email=self.email or "",
        )

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _DESIRED_FIELDS}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(**data)


_DESIRED_FIELDS = tuple(known.name for known in fields(Desired))
_CUSTOMER_FIELDS = tuple(known.name for known in fields(Customer))


def differences(desired: Desired, omie: OmieContract) -> tuple[str, ...]:
    """What must change in Omie, in Portuguese; empty when the contract already is as it must be."""
    found = []
    if desired.amount != omie.own_total:
        found.append(f"valor {format_brl(omie.own_total)} → {format_brl(desired.amount)}")
    if desired.nDiaFat != omie.nDiaFat:
        found.append(f"dia de faturamento {omie.nDiaFat} → {desired.nDiaFat}")
    if omie.own_items != 1:
        found.append(f"itens nossos {omie.own_items} → 1")
    ours, theirs = desired.fingerprint().split("."), omie.fingerprint.split(".")
    found += [part for part, mine, seen in zip(_PARTS, ours, theirs, strict=True) if mine and mine != seen]
    wanted_days = ((desired.dVigInicial, omie.dVigInicial), (desired.dVigFinal, omie.dVigFinal))
    if any(wanted and (seen is None or wanted != seen.isoformat()) for wanted, seen in wanted_days):
        found.append("vigência")
    return tuple(found)


def brought(additions: Iterable[Addition]) -> tuple[Brought, ...]:
    """How these stand on the Omie contract once they are there; comparable with `OmieContract.additions`."""
    return tuple(sorted(Brought(each.marker, each.amount, each.how) for each in additions))


def due_date(month: BillingMonth, today: date, due_day: int, policy: CompanyPolicy) -> date:
    """The due day in the billing month, or in the next one where policy or `min_days_to_due` asks for it.

    Each month clamps the contract's own day (31 -> 28 February -> 31 March), never a clamped one. Omie's rule
    can name only this month or the next, so it never goes further than that.
    """
    due = month.day(due_day)
    if policy.due_month == "next" or due < today + timedelta(days=policy.min_days_to_due):
        return month.next().day(due_day)
    return due


class _Case(NamedTuple):
    month: BillingMonth
    today: date
    policy: CompanyPolicy
    omie: OmieContract | None
    previous: Previous | None
    additions: tuple[Addition, ...] = ()
    warnings: tuple[str, ...] = ()


def _desired(contract: Contract, due: date, case: _Case) -> Desired:
    month, today, policy, omie = case[:4]
    label = policy.service_label(contract.service) or contract.service
    service = policy.services[label]
    day = max(today, month.first_day)
    started = omie is not None and (omie.dVigInicial is None or omie.dVigInicial <= day)
    lasting = omie is not None and (omie.dVigFinal is None or omie.dVigFinal >= day)
    end = contract.end or date(month.year + OPEN_ENDED_YEARS, 12, 31)
    return Desired(
        nDiaFat=policy.billing_day,
        nDiaFixo=due.day,
        cProxMes="N" if BillingMonth.containing(due) == month else "S",
        description=contract.description or service.description or label,
        service=label,
        service_key=service.key,
        amount=contract.amount,
        quantity=contract.quantity,
        unit_amount=contract.unit_amount,
        discount=contract.discount,
        email=contract.customer.email,
        dVigInicial=None if started else (contract.start or month.first_day).isoformat(),
        dVigFinal=None if lasting else end.isoformat(),
    )


def find_omie(
    row: Contract | BadRow, by_code: Mapping[str, OmieContract], by_id: Mapping[int, OmieContract]
) -> OmieContract | None:
    """The row's Omie contract: the one carrying its code, else the one whose nCodCtr the row names."""
    linked = by_code.get(row.code)
    if linked is None and isinstance(row, Contract) and row.omie_id is not None:
        return by_id.get(row.omie_id)
    return linked


def shared_links(rows: Iterable[Contract | BadRow]) -> dict[int, tuple[str, ...]]:
    """Codes of the active rows that name the same Omie contract, by its nCodCtr."""
    named: dict[int, list[str]] = {}
    for row in rows:
        if isinstance(row, Contract) and row.omie_id is not None and row.status is ContractStatus.ACTIVE:
            named.setdefault(row.omie_id, []).append(row.code)
    return {omie_id: tuple(codes) for omie_id, codes in named.items() if len(codes) > 1}


def unlinked(contracts: Iterable[OmieContract], taken: Container[int]) -> list[OmieContract]:
    """Active contracts that are no row's: neither by code nor in `taken` (every nCodCtr a row names)."""
    return [
        found
        for found in contracts
        if found.cCodSit == "10" and not found.cCodIntCtr.startswith(ITEM_PREFIX) and found.nCodCtr not in taken
    ]


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One contract of a plan. Amounts in centavos; reason, cause and warnings in Portuguese.

    `amount` is what Omie must show and bill: ours plus `foreign_total` (items people added in Omie) plus
    `additions` (see `Addition`; those of a line that is not billed are owed, and no part of its amount).
    `work` says what must happen in Omie first. `desired` (see `Desired`) comes with every bill line but one
    kind: without it the contract is billed exactly as it stands in Omie, or not at all. `customer` comes with
    "create". `quantity`, `unit_amount` and `discount` are Jestor's. `amount_unknown`: Jestor's price cannot be read,
    and `amount` says nothing.
    """

    contract: str
    jestor_id: int
    name: str
    company: str
    month: str
    kind: str
    action: Action
    reason_code: str
    reason: str
    amount: int
    due_date: str | None
    previous_amount: int | None
    difference: int | None
    cause: str
    nCodCtr: int | None
    nCodCli: int | None = None
    work: Work = "none"
    desired: dict[str, Any] | None = None
    customer: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    foreign_total: int = 0
    additions: tuple[dict[str, Any], ...] = ()
    previous_additions: int = 0
    previous_month: str = ""
    quantity: int = 0
    unit_amount: int = 0
    discount: int = 0
    amount_unknown: bool = False

    @property
    def additions_total(self) -> int:
        """Centavos of the additions that are part of `amount`."""
        return total_of_additions(self.additions) if self.action is Action.BILL else 0

    @classmethod
    def of_charge(cls, charge: Charge) -> Self:
        """The line of a billed charge whose contract no plan knows any more."""
        return cls(
            contract=charge.key.contract,
            jestor_id=0,
            name="",
            company=charge.company,
            month=str(charge.key.month),
            kind=charge.key.kind,
            action=Action.SKIP,
            reason_code=str(Reason.ALREADY_BILLED),
            reason="",
            amount=charge.amount,
            due_date=None,
            previous_amount=None,
            difference=None,
            cause="",
            nCodCtr=charge.nCodCtr,
        )

    def composition(self, plan: str = "") -> Composition:
        """What a charge by this line is made of; `plan`: where the plan lies that this line is of."""
        own = self.amount - self.additions_total - self.foreign_total
        multiplied = bool(self.quantity) and self.quantity * self.unit_amount - self.discount == own
        return Composition(
            own=own,
            quantity=self.quantity if multiplied else 0,
            unit_amount=self.unit_amount if multiplied else own,
            discount=self.discount if multiplied else 0,
            foreign_total=self.foreign_total,
            cause=self.cause,
            previous_amount=self.previous_amount,
            previous_month=self.previous_month,
            due_date=self.due_date,
            plan=plan,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        lists = {"warnings": list(self.warnings), "additions": [dict(each) for each in self.additions]}
        return {name: getattr(self, name) for name in _LINE_FIELDS} | lists

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        tuples = {name: tuple(data.get(name, ())) for name in ("warnings", "additions")}
        return cls(**{**data, **tuples, "action": Action(data["action"])})

    def to_json(self) -> str:
        """Canonical: sorted keys, no spaces, UTF-8. The plan's hash is taken over these lines."""
        return json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls.from_dict(json.loads(text))


_LINE_FIELDS = tuple(known.name for known in fields(PlanLine))


class _Verdict(NamedTuple):
    action: Literal[Action.SKIP, Action.PARK]
    code: str
    reason: str


def _skip(code: Reason, reason: str) -> _Verdict:
    return _Verdict(Action.SKIP, code, reason)


def _park(code: str, reason: str) -> _Verdict:
    return _Verdict(Action.PARK, code, shortened(reason))


def plan_contract(
    row: Contract | BadRow,
    *,
    month: BillingMonth,
    today: date,
    policy: CompanyPolicy,
    omie: OmieContract | None,
    lookalikes: Sequence[OmieContract] = (),
    registers: Sequence[int] = (),
    billed: bool = False,
    cancelled: int | None = None,
    ledger: LedgerView | None = None,
    previous: Previous | None = None,
    held: bool = False,
    rivals: Sequence[str] = (),
    additions: Sequence[Addition] = (),
    warnings: Sequence[str] = (),
) -> PlanLine:
    """The line of one contract.

    Args:
        row: the contract as Jestor has it.
        month: the month to bill.
        today: São Paulo's date.
        policy: the company's rules.
        omie: its contract in Omie, from `find_omie`.
        lookalikes: what its customer has in Omie, under any register of the document, that might be this one, from
            `unlinked`; unread with `omie`.
        registers: codigo_cliente_omie of each register of the customer's document that could be meant.
        billed: whether Omie shows a live order of the month; in a month to come there is none, whatever is said here.
        cancelled: nCodOS of the month's order that a person cancelled, where no live one stands beside it.
        ledger: this month's charge.
        previous: the last charge before this month.
        held: whether a hold (churn) is on it.
        rivals: codes of other rows that name the same Omie contract, from `shared_links`.
        additions: what comes on top of this month's charge.
        warnings: what else a person should know of the contract, whatever becomes of it.
    """
    case = _Case(month, today, policy, omie, previous, tuple(additions), tuple(warnings))
    verdict = _already_billed(month, ledger, omie, billed=billed and month <= BillingMonth.containing(today))
    if isinstance(row, BadRow):
        verdict = verdict or _unread(row)
        return _line(row, case, verdict)
    verdict = (
        verdict
        or _not_to_bill(row, month, policy, held=held, ledger=ledger)
        or _parked_before(ledger)
        or (_park(Reason.ORDER_CANCELLED, CANCELLED_REASON.format(cancelled)) if cancelled is not None else None)
        or _wrong_data(row, policy)
        or (_wrong_in_omie(row, omie, rivals) if omie else _wrong_outside_omie(row, lookalikes, registers, policy))
        or _missed_month(month, today)
    )
    if verdict:
        return _line(row, case, verdict)
    return _parked_if_too_large(_bill(row, case))


def _line(row: Contract | BadRow, case: _Case, verdict: _Verdict) -> PlanLine:
    month, _, policy, omie, previous = case[:5]
    amount, foreign_total = _amounts(row, omie)
    warnings = case.warnings
    billed = verdict.code == Reason.BILLED_IN_OMIE
    if omie and omie.cCodSit == "10" and verdict.code in _INACTIVE:
        warnings += (f"O contrato {omie.label} continua ativo no Omie: confira se deve ser suspenso lá.",)
    return PlanLine(
        contract=row.code,
        jestor_id=row.jestor_id,
        name=row.name,
        company=row.company or policy.company,
        month=str(month),
        kind=MONTHLY,
        action=verdict.action,
        reason_code=str(verdict.code),
        reason=verdict.reason,
        amount=amount,
        due_date=None,
        previous_amount=previous.amount if previous else None,
        difference=None,
        cause=_cause(amount, foreign_total, (), previous, month) if billed else "",
        nCodCtr=omie.nCodCtr if omie else None,
        nCodCli=omie.nCodCli if omie else None,
        warnings=warnings,
        foreign_total=foreign_total,
        additions=tuple(each.to_dict() for each in case.additions),
        amount_unknown=isinstance(row, BadRow) and row.price is None,
        **_told_of(row, previous),
    )


def _told_of(row: Contract | BadRow, previous: Previous | None) -> dict[str, Any]:
    """The parts of a line that say what its amount is made of, and against which charge it is compared."""
    price = row.price if isinstance(row, BadRow) else Price(row.quantity, row.unit_amount, row.discount)
    return {
        **(price or Price(0, 0, 0))._asdict(),
        "previous_additions": previous.additions if previous else 0,
        "previous_month": previous.month if previous else "",
    }


def as_charged(line: PlanLine, charge: Charge) -> PlanLine:
    """The line of a contract whose charge is billed, parked or held: the amount is the charge's, whatever Jestor says.

    A billed one has its charge's cause too; that of a charge which keeps none is reckoned from the amounts.
    """
    if charge.state is not State.BILLED:
        return replace(line, amount=charge.amount, amount_unknown=False) if charge.amount else line
    if (made := charge.composition) is not None:
        return replace(
            line,
            amount=charge.amount,
            foreign_total=made.foreign_total,
            cause=made.cause,
            previous_amount=made.previous_amount,
            previous_month=made.previous_month,
            due_date=made.due_date,
        )
    before = line.previous_amount
    previous = None if before is None else Previous(before, line.previous_month, line.previous_additions)
    carried = [each for each in charge.additions if not each.get("doubtful")]
    monthly = charge.amount - total_of_additions(carried)
    once = [(charged_kind(each), each["amount"]) for each in carried]
    return replace(
        line,
        amount=charge.amount,
        cause=_cause(monthly, line.foreign_total, once, previous, BillingMonth.parse(line.month)),
    )


def _bill(contract: Contract, case: _Case) -> PlanLine:
    month, today, policy, omie, previous = case[:5]
    due = due_date(month, today, _due_day(contract, policy), policy)
    desired = _desired(contract, due, case)
    as_it_stands = False
    amount, foreign_total = _amounts(contract, omie)
    work: Work = "none"
    reason = ""
    warnings = [*_warnings(contract, today, due, policy, creates=omie is None), *case.warnings]
    additions = case.additions
    if omie is None:
        work, reason = "create", "Criar o contrato no Omie antes de faturar."
    elif _made_by_hand(omie):
        # The only items are a person's. Worth exactly our amount, they are the charge, not an addition to it.
        as_ours = omie._replace(own_total=omie.foreign_total, own_items=1)
        if changes := tuple(found for found in differences(desired, as_ours) if found not in _COSMETIC):
            return _line(contract, case, _no_own_item(contract, omie, changes))
        as_it_stands = True
        warnings.append("Item feito à mão no Omie, com o mesmo valor: faturado como está lá.")
    elif (changes := differences(desired, omie)) and not_yet(contract, month.day(policy.billing_day)):
        # The row already says what will hold later: until then Omie keeps what was agreed before.
        as_it_stands = True
        amount, foreign_total = omie.own_total + omie.foreign_total, omie.foreign_total
        warnings.append(f"Mudança marcada para {contract.change_from:%d/%m/%Y}: faturado como está no Omie.")
    elif changes:
        if not policy.alter_differences:
            return _line(contract, case, _differs(omie, changes))
        work, reason = "alter", f"Corrigir no Omie antes de faturar: {'; '.join(changes)}."
    if omie is not None and brought(additions) != omie.additions:
        if policy.alter_differences:
            work = "alter"
            reason = " ".join(filter(None, (reason, _bring(omie, additions))))
        elif omie.additions:  # ours, of a plan that was never billed: they would be billed now
            return _line(contract, case, _differs(omie, ("acréscimos de um plano anterior",)))
        else:
            owed = format_brl(sum(each.amount for each in additions))
            warnings.append(f"Acréscimos de {owed} ficam para depois: a configuração não deixa alterar o Omie.")
            additions = ()
    if not as_it_stands:
        warnings += description_warnings(desired.description, [each.text for each in additions if each.how == "item"])
    before = previous.amount - previous.additions if previous else 0
    if previous and is_jump(amount, before, policy.jump_percent, policy.jump_amount):
        warnings.append(f"{JUMP_WARNING}: {format_brl(before)} → {format_brl(amount)}.")
    once = [(each.kind, each.amount) for each in additions]
    cause = _cause(amount, foreign_total, once, previous, month)
    amount += sum(each.amount for each in additions)
    return PlanLine(
        contract=contract.code,
        jestor_id=contract.jestor_id,
        name=contract.name,
        company=contract.company,
        month=str(month),
        kind=MONTHLY,
        action=Action.BILL,
        reason_code="",
        reason=reason,
        amount=amount,
        due_date=due.isoformat(),
        previous_amount=previous.amount if previous else None,
        difference=amount - previous.amount if previous else None,
        cause=cause,
        nCodCtr=omie.nCodCtr if omie else None,
        nCodCli=omie.nCodCli if omie else None,
        work=work,
        desired=None if as_it_stands else desired.to_dict(),
        customer={name: getattr(contract.customer, name) for name in _CUSTOMER_FIELDS} if work == "create" else None,
        warnings=tuple(warnings),
        foreign_total=foreign_total,
        additions=tuple(each.to_dict() for each in additions),
        **_told_of(contract, previous),
    )


def _bring(omie: OmieContract, additions: Sequence[Addition]) -> str:
    before, after = (format_brl(sum(each.amount for each in some)) for some in (omie.additions, brought(additions)))
    return f"Acréscimos desta cobrança no Omie: {before} → {after}."


def not_yet(contract: Contract, day: date) -> bool:
    """Whether what the row says holds only after that day."""
    return contract.change_from is not None and contract.change_from > day


_INACTIVE = frozenset({Reason.SUSPENDED, Reason.CHURNED, Reason.ENDED})
_STATUS = {
    ContractStatus.DRAFT: (Reason.DRAFT, "Rascunho no Jestor: só é faturado depois de publicado."),
    ContractStatus.SUSPENDED: (Reason.SUSPENDED, 'Suspenso no Jestor (status "{}").'),
    ContractStatus.CHURNED: (Reason.CHURNED, 'Cancelado no Jestor (status "{}").'),
    ContractStatus.OTHER: (Reason.OTHER_STATUS, 'O status "{}" do Jestor não é faturado.'),
}


def _unread(row: BadRow) -> _Verdict:
    if row.unreadable:
        reason = "; ".join(row.problems)
        return _park(Reason.UNREADABLE_ROW, f"{reason[:1].upper()}{reason[1:]}.")
    return _park(Reason.BAD_ROW, "Corrija no Jestor: " + "; ".join(row.problems))


def _already_billed(
    month: BillingMonth, ledger: LedgerView | None, omie: OmieContract | None, *, billed: bool
) -> _Verdict | None:
    if ledger and ledger.state is State.BILLED:
        order = f" (OS {ledger.nCodOS})" if ledger.nCodOS else ""
        return _skip(Reason.ALREADY_BILLED, f"Já faturado em {month}{order}.")
    if ledger and ledger.state in {State.SENDING, State.UNKNOWN}:
        return _skip(Reason.IN_DOUBT, "Envio em dúvida: será resolvido lendo o Omie. Não fature à mão enquanto isso.")
    if billed:
        where = f" {omie.label}" if omie else ""
        return _skip(Reason.BILLED_IN_OMIE, f"O contrato{where} já foi faturado no Omie em {month}: será registrado.")
    return None


def _not_to_bill(
    contract: Contract, month: BillingMonth, policy: CompanyPolicy, *, held: bool, ledger: LedgerView | None
) -> _Verdict | None:
    billed_on = month.day(policy.billing_day)
    if contract.status is not ContractStatus.ACTIVE:
        code, reason = _STATUS[contract.status]
        return _skip(code, reason.format(contract.status_label))
    if contract.start and contract.start > billed_on:
        first = BillingMonth.containing(first_charge(contract.start, policy.billing_day))
        return _skip(Reason.NOT_STARTED, f"Começa em {contract.start:%d/%m/%Y}: o primeiro faturamento é o de {first}.")
    if contract.end and contract.end < billed_on:
        return _skip(Reason.ENDED, f"Terminou em {contract.end:%d/%m/%Y} (data de fim no Jestor).")
    if held or (ledger and ledger.state is State.HELD):
        return _skip(
            Reason.HELD,
            "Retido por pedido de cancelamento (churn). Se o cliente continua, reative o contrato no Jestor.",
        )
    return None


def _parked_before(ledger: LedgerView | None) -> _Verdict | None:
    if ledger is None or ledger.state is not State.PARKED:
        return None
    reason = ledger.reason or "Parado nesta rodada, sem motivo registrado."
    return _park(ledger.reason_code or Reason.PARKED_BEFORE, reason)


def _wrong_data(contract: Contract, policy: CompanyPolicy) -> _Verdict | None:
    problems: list[tuple[Reason, str]] = []
    if contract.amount <= 0:
        shown = format_brl(contract.amount)
        problems.append(
            (Reason.NO_AMOUNT, f"O valor mensal dá {shown}: corrija quantidade, valor ou desconto no Jestor.")
        )
    if policy.service_label(contract.service) is None:
        text = (
            f'O serviço "{contract.service}" não tem dados fiscais na configuração de {policy.company}: '
            "escolha outro serviço no Jestor ou peça que ele seja incluído na configuração."
        )
        problems.append((Reason.UNKNOWN_SERVICE, text))
    if not 1 <= _due_day(contract, policy) <= 31:
        problems.append((Reason.NO_DUE_DAY, "Informe no Jestor o dia de vencimento, de 1 a 31."))
    return _park(problems[0][0], " ".join(text for _, text in problems)) if problems else None


def wrong_link(contract: Contract, omie: OmieContract, rivals: Sequence[str] = ()) -> tuple[Reason, str] | None:
    """Why this Omie contract cannot be taken for the row's: code and Portuguese reason. None: it is the row's.

    `rivals`: as in `plan_contract`.
    """
    others = ", ".join(code for code in rivals if code != contract.code)
    if others and omie.cCodIntCtr != contract.code:
        return (
            Reason.SHARED_LINK,
            f"O contrato {omie.label} do Omie também está em {others}: deixe-o em um só contrato do Jestor.",
        )
    if omie.cCodIntCtr.startswith(ITEM_PREFIX) and omie.cCodIntCtr != contract.code:
        return (
            Reason.LINKED_ELSEWHERE,
            f"O contrato {omie.label} do Omie já é de {omie.cCodIntCtr}: corrija no Jestor o número do Omie.",
        )
    if contract.omie_id is not None and contract.omie_id != omie.nCodCtr:
        return (
            Reason.LINK_CONFLICT,
            (
                f"O Jestor aponta o código {contract.omie_id} do Omie, mas quem traz {contract.code} no Omie é "
                f"o contrato {omie.label}: corrija no Jestor o número do Omie."
            ),
        )
    return None


def unreadable_in_omie(omie: OmieContract) -> str:
    """What a person is told of an Omie contract that could not be read, Portuguese."""
    return (
        f"Não foi possível ler o contrato {omie.label} do Omie ({omie.unreadable}): confira lá os itens e as datas; se "
        "nada estiver errado, avise quem cuida do sistema."
    )


def _wrong_in_omie(contract: Contract, omie: OmieContract, rivals: Sequence[str]) -> _Verdict | None:
    if wrong := wrong_link(contract, omie, rivals):
        return _park(*wrong)
    if omie.unreadable:
        return _park(Reason.UNREADABLE_IN_OMIE, unreadable_in_omie(omie))
    if omie.cCodSit == "90":
        return _park(
            Reason.SUSPENDED_IN_OMIE,
            f"Ativo no Jestor, mas suspenso no Omie: {omie.label}. Se deve ser faturado, reative-o no Omie; "
            "se não, suspenda-o no Jestor.",
        )
    if omie.cCodSit == "99":
        return _park(
            Reason.CANCELLED_IN_OMIE,
            f"Ativo no Jestor, mas cancelado no Omie: {omie.label}. Se deve ser faturado, reative-o no "
            "Omie; se não, encerre-o no Jestor.",
        )
    if omie.cCodSit != "10":
        return _park(
            Reason.DRAFT_IN_OMIE,
            f"Ativo no Jestor, mas ainda em elaboração no Omie: {omie.label}. Confira-o e ative-o no Omie.",
        )
    if omie.cTipoFat != MONTHLY_BILLING:
        return _park(Reason.NOT_MONTHLY, not_monthly(omie))
    return None


def not_monthly(omie: OmieContract) -> str:
    """What to do with a contract that Omie does not bill every month."""
    known = BILLING_TYPES.get(omie.cTipoFat)
    kind = f"tem faturamento {known}" if known else f'tem o tipo de faturamento "{omie.cTipoFat}"'
    return (
        f"O contrato {omie.label} {kind} no Omie, e este sistema só fatura contratos mensais: fature-o no Omie nos "
        "meses dele, ou mude o tipo de faturamento para mensal no Omie, se é o combinado com o cliente."
    )


def _wrong_outside_omie(
    contract: Contract, lookalikes: Sequence[OmieContract], registers: Sequence[int], policy: CompanyPolicy
) -> _Verdict | None:
    if contract.omie_id is not None:
        return _park(
            Reason.LINK_NOT_FOUND,
            f"O Jestor aponta o código {contract.omie_id} do Omie, que não existe na empresa "
            f"{contract.company}: confira no Jestor o número do Omie e a empresa.",
        )
    if contract.document_problem:
        return _park(
            Reason.BAD_ROW,
            f"Corrija no Jestor: {contract.document_problem}. Sem ele o contrato não pode ser criado no Omie; um "
            f"cliente do exterior é cadastrado lá, e vinculado: billing-ops link --contract {contract.code} "
            "--omie CÓDIGO.",
        )
    if lookalikes:
        links = " ou ".join(f"billing-ops link --contract {contract.code} --omie {x.nCodCtr}" for x in lookalikes)
        return _park(
            Reason.POSSIBLE_DUPLICATE,
            f"O cliente já tem contrato ativo no Omie sem vínculo com o Jestor: "
            f"{', '.join(x.label for x in lookalikes)}. Se for este, vincule: {links}. "
            "Se for outro, crie este contrato no Omie e vincule-o do mesmo modo.",
        )
    if not policy.create_unknown:
        return _park(
            Reason.UNKNOWN_IN_OMIE,
            "Não existe no Omie, e a configuração não deixa criar: crie-o no Omie e vincule com "
            f"billing-ops link --contract {contract.code} --omie CÓDIGO.",
        )
    if len(registers) > 1:
        return _park(
            Reason.SEVERAL_REGISTERS,
            f"O cliente tem {len(registers)} cadastros com este CNPJ/CPF no Omie (códigos "
            f"{', '.join(map(str, registers))}), e não se sabe em qual criar o contrato: inative os que não se usam, "
            "ou crie o contrato no cadastro certo e vincule: "
            f"billing-ops link --contract {contract.code} --omie CÓDIGO.",
        )
    return None


def _missed_month(month: BillingMonth, today: date) -> _Verdict | None:
    if month >= BillingMonth.containing(today):
        return None
    return _park(
        Reason.MISSED_MONTH,
        f"O mês {month} já passou, e o Omie só fatura o contrato no mês corrente: cobre este mês por uma "
        "ordem de serviço avulsa.",
    )


def _no_own_item(contract: Contract, omie: OmieContract, changes: Sequence[str]) -> _Verdict:
    return _park(
        Reason.NO_OWN_ITEM,
        f"Os itens do contrato {omie.label} foram feitos à mão no Omie e não conferem com o Jestor "
        f"({'; '.join(changes)}). Corrija no Omie ou no Jestor, ou entregue o item a este sistema: "
        f"billing-ops link --contract {contract.code} --omie {omie.nCodCtr}",
    )


def _differs(omie: OmieContract, changes: Sequence[str]) -> _Verdict:
    return _park(
        Reason.DIFFERS,
        f"O contrato {omie.label} do Omie difere do Jestor ({'; '.join(changes)}), e a configuração não "
        "deixa corrigir: acerte-o no Omie.",
    )


_COSMETIC = frozenset({"descrição", "serviço", "e-mail"})


def _made_by_hand(omie: OmieContract) -> bool:
    return omie.own_items == 0 and omie.foreign_total != 0


def _amounts(row: Contract | BadRow, omie: OmieContract | None) -> tuple[int, int]:
    """What will be billed in all, and what of it are additions people made in Omie."""
    if isinstance(row, BadRow) and row.price is None:
        return 0, 0
    foreign_total = omie.foreign_total if omie and not _made_by_hand(omie) else 0
    return row.amount + foreign_total, foreign_total


def _due_day(contract: Contract, policy: CompanyPolicy) -> int:
    return contract.due_day or policy.default_due_day or 0


def _warnings(contract: Contract, today: date, due: date, policy: CompanyPolicy, *, creates: bool) -> list[str]:
    """What a person should know before it is billed. What is not written now counts too: it is refused one day."""
    found = list(contract.unread)
    if not contract.customer.email and not any("e-mail" in line for line in found):
        found.append("Sem e-mail no Jestor: o cliente só recebe se o cadastro dele no Omie tiver um.")
    if due < today + timedelta(days=policy.min_days_to_due):
        found.append(f"Vence em {due:%d/%m/%Y}, com menos de {policy.min_days_to_due} dias de prazo.")
    if creates:
        found += missing_address(contract.customer)
    elif contract.document_problem and contract.customer.estado != ABROAD:
        found.append(f"{contract.document_problem}. Faturado pelo contrato que já existe no Omie.")
    return found + customer_warnings(contract.customer, writes=creates)


def is_jump(amount: int, before: int, percent: int | None, centavos: int | None) -> bool:
    """Whether the change against the last charge exceeds either limit; a limit of None is none."""
    change = abs(amount - before)
    return (centavos is not None and change > centavos) or (
        percent is not None and change * 100 > percent * abs(before)
    )


def _cause(
    monthly: int, foreign_total: int, once: Iterable[tuple[Kind, int]], previous: Previous | None, month: BillingMonth
) -> str:
    """Why it is billed what it is billed; `once`: its additions, by kind and centavos.

    Additions come and go each month: they are no upsell and no downgrade.
    """
    foreign = f"Itens adicionados no Omie: {format_brl(foreign_total)}" if foreign_total else ""
    sums = Counter[str]()
    for kind, amount in once:
        sums[ADDITION_NAMES[kind]] += amount
    added = [f"{name}: {format_brl(amount)}" for name, amount in sums.items()]
    if previous is None:
        return "; ".join(filter(None, ("Primeiro faturamento", foreign, *added)))
    before = previous.amount - previous.additions
    change = monthly - before
    if change == 0:
        cause = "" if added or previous.additions else "Sem mudança"
    elif change == foreign_total:
        cause = ""
    else:
        word = "Upsell" if change > 0 else "Downgrade"
        cause = f"{word}: {format_brl(before)} → {format_brl(monthly)}"
    gone = f"Acréscimos do mês anterior: {format_brl(previous.additions)}" if previous.additions else ""
    gap = "" if previous.month == str(month.previous()) else f"último faturamento em {previous.month}"
    return "; ".join(filter(None, (cause, foreign, *added, gone, gap)))


def plan_hash(lines: Iterable[str]) -> str:
    """SHA-256 (hex) over canonical lines in order of jestor_id: what was approved is what is billed."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _parked_if_too_large(line: PlanLine) -> PlanLine:
    """The line itself, or parked where somebody pasted a text that no invoice can carry."""
    if line.action is not Action.BILL or (size := weight(line.to_dict())) <= LINE_BYTES:
        return line
    reason = (
        f"Os textos deste contrato somam {-(-size // 1000)} KB e cabem {LINE_BYTES // 1000} KB: encurte no Jestor a "
        "descrição ou o nome (a NFS-e aceita até 2.000 caracteres de descrição)."
    )
    return replace(
        line,
        action=Action.PARK,
        reason_code=str(Reason.TOO_LARGE),
        reason=reason,
        amount=line.amount - line.additions_total,
        due_date=None,
        difference=None,
        cause="",
        work="none",
        desired=None,
        customer=None,
    )


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """In order, in lists of `size` (the last may be shorter)."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


@dataclass(frozen=True, slots=True)
class Guardrail:
    """Limits beyond which a plan waits for a person. Amounts in centavos; None is no limit.

    A jump is a contract whose change against its last charge exceeds either of the two jump limits.
    """

    max_total: int | None = None
    max_count: int | None = None
    max_jump_percent: int | None = None
    max_jump_amount: int | None = None
    approval_required: bool = False


class Jump(NamedTuple):
    """A change against the last charge that is beyond the guardrail, additions left out. Centavos."""

    contract: str
    name: str
    before: int
    now: int

    @property
    def text(self) -> str:
        """Without the customer's name: it goes into mails and the run's history."""
        change = f"{format_brl(self.before)} → {format_brl(self.now)}"
        return f"{self.contract} {change} ({percent_of(self.before, self.now)})"


def percent_of(before: int, now: int) -> str:
    """The change as in "+9.900 %" or "−50 %", rounded to a whole percent; a dash where there was nothing before."""
    if not before:
        return "–"
    percent = round(Decimal(100 * (now - before)) / abs(before))
    return f"{'+' if percent > 0 else '−' if percent < 0 else ''}{abs(percent):,} %".replace(",", ".")


@dataclass(slots=True)
class PlanSummary:
    """Counts and sums of a plan, line by line; memory does not grow with it. Sums in centavos."""

    guardrail: Guardrail = field(default_factory=Guardrail)
    counts: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    work: Counter[str] = field(default_factory=Counter)
    previous_total: int = 0
    warnings: int = 0
    jumps: int = 0
    largest_jumps: list[Jump] = field(default_factory=list)

    def add(self, line: PlanLine) -> None:
        self.counts[line.action] += 1
        self.sums[line.action] += line.amount
        self.warnings += len(line.warnings)
        if line.action is not Action.BILL:
            self.reasons[f"{line.action}/{line.reason_code}"] += 1
            return
        self.work[line.work] += 1
        self.previous_total += line.previous_amount or 0
        if line.previous_amount is None:
            return
        before, now = line.previous_amount - line.previous_additions, line.amount - line.additions_total
        if is_jump(now, before, self.guardrail.max_jump_percent, self.guardrail.max_jump_amount):
            self.jumps += 1
            ranked = [*self.largest_jumps, Jump(line.contract, line.name, before, now)]
            ranked.sort(key=lambda jump: -abs(jump.now - jump.before))
            self.largest_jumps = ranked[:_JUMPS_SHOWN]

    @property
    def count(self) -> int:
        """How many contracts would be billed."""
        return self.counts[Action.BILL]

    @property
    def total(self) -> int:
        """What would be billed, in centavos."""
        return self.sums[Action.BILL]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, keys sorted within each group. Without customers' names: it stands in the run's history."""
        return {
            "counts": {str(action): self.counts[action] for action in Action},
            "sums": {str(action): self.sums[action] for action in Action},
            "reasons": dict(sorted(self.reasons.items())),
            "work": dict(sorted(self.work.items())),
            "previous_total": self.previous_total,
            "warnings": self.warnings,
            "jumps": self.jumps,
            "largest_jumps": [
                {"contract": jump.contract, "before": jump.before, "now": jump.now} for jump in self.largest_jumps
            ],
        }


_JUMPS_SHOWN = 10


def check_guardrail(summary: PlanSummary, guardrail: Guardrail) -> tuple[str, ...]:
    """Why this plan needs a person's approval, in Portuguese; empty when it may go.

    The jumps are those `summary` counted by its own guardrail.
    """
    reasons = []
    if guardrail.approval_required:
        reasons.append("A configuração pede aprovação em toda rodada.")
    if guardrail.max_total is not None and summary.total > guardrail.max_total:
        reasons.append(f"O total de {format_brl(summary.total)} passa do limite de {format_brl(guardrail.max_total)}.")
    if guardrail.max_count is not None and summary.count > guardrail.max_count:
        are = "É 1 contrato" if summary.count == 1 else f"São {summary.count} contratos"
        reasons.append(f"{are}, mais que o limite de {guardrail.max_count}.")
    if summary.jumps:
        left = summary.jumps - len(summary.largest_jumps)
        shown = "; ".join(jump.text for jump in summary.largest_jumps) + (f"; e mais {left}" if left else "")
        ones = "1 contrato" if summary.jumps == 1 else f"{summary.jumps} contratos"
        reasons.append(f"{JUMPS_REASON} em {ones}: {shown}.")
    return tuple(reasons)
