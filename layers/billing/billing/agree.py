"""Carries out an order in a company's lane: make this Omie contract agree with its Jestor row.

    order ──▶ lane blocked? ──▶ read Jestor ──▶ read Omie ──▶ decide ──▶ remember the intent ──▶ write ──▶ remember
                  │ yes              │ fails        │ fails                                        │ in doubt
                  └──────────────────┴──────────────┴──── put off: a hint that waits in its own queue, never in the lane

An order says which contract, never what to do: what is done is decided here, from both sides as they are now. So it
may come twice, late, or after a newer one. It stands in the FIFO group of its company, so nothing else writes to that
Omie while it is carried out, and no batch is being billed.

A write that nobody answered is never repeated: until Omie has finished or dropped it, nobody writes to the contract
(`doubt_until`, remembered before the call), and then both sides are read again. An alteration is claimed in the ledger
like those of a batch, in one transaction with the hold check: so a contract on hold is not altered, and no batch bills
one while its alteration is in doubt, or by a read that may be of before it.

A contract that a run has in hand is not altered (`busy`): its change belongs to this month if the plan saw it, else to
the next, and the hint comes back to find out which. Stopping never waits.
"""

import contextlib
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import partial
from typing import Any, Final, NoReturn, TypeGuard

from billing.bill_batch import ALTERATION, CREATION, LOOK_UP, WRITTEN, forgotten
from billing.clock import Clock
from billing.domain import agree as rules
from billing.domain.agree import STOPS, Decision, Step, decide, digest_of, is_ours
from billing.domain.charge import MONTHLY, UNDECIDED, Charge, ChargeKey, Event, State, TransitionRefused
from billing.domain.contract import ITEM_PREFIX, BadRow, Contract, ContractStatus, contract_code
from billing.domain.fiscal_limits import ABROAD
from billing.domain.month import SAO_PAULO, BillingMonth
from billing.domain.number import whole
from billing.domain.plan import OmieContract
from billing.domain.prorate import Cycle, pending
from billing.domain.register import FIELDS, Change, Told, change_of, differing, names
from billing.hints import Hint, Later, pause
from billing.jestor.client import JestorClient, JestorError
from billing.jestor.rows import Labels, read_row, rows_naming
from billing.omie import mapping
from billing.omie.client import OmieClient
from billing.omie.governor import HEAD_START, PAUSE_AFTER_KEY_REFUSED, BlockedUntil, Slots, interval_for, wait_turn
from billing.omie.replies import Blocked, InDoubt, KeyRefused, NotExecuted, OmieError, Rejected
from billing.settings import FUNCTION_TIMEOUT_SECONDS, CompanySettings, Settings
from billing.store.contracts import Place, Remembered
from billing.store.ledger import Claimed, Held
from billing.store.ports import Charges, Contracts, Lanes, Messages, Runs
from billing.store.runs import run_name
from billing.unreadable import DATA_ERRORS, note

ORDERS_PER_MINUTE: Final = 40
"""An order makes up to half a dozen calls; Omie counts 240 a minute of each method, and 960 of all."""
LONGEST_CALL: Final = 50.0
"""Seconds one call may take (bootstrap's time-outs)."""
LOOKED_UP_FOR: Final = 61.0
"""Seconds within which Omie refuses to show one contract again."""
RACES: Final = 5
WHO: Final = "contrato vivo"
"""For the ledger's history."""
IN_DOUBT: Final = "in doubt"
FINAL: Final = frozenset({State.BILLED, State.PARKED})
SITUATIONS: Final[Mapping[str, str]] = {"00": "Em elaboração", "10": "Ativo", "90": "Suspenso", "99": "Cancelado"}
TRIES_BEFORE_STOPPING: Final = 5
"""How often a stop is put off while the contract's billing is in doubt (half an hour): Settle tells what was billed by
the stage in which Omie shows it, and a stopped contract is in none. The hold keeps it from being billed meanwhile."""
BOLETOS_SINCE, BOLETOS_UNTIL = timedelta(days=730), timedelta(days=400)


@dataclass(frozen=True)
class Urls:
    changes: str
    jestor_writes: str


@dataclass(frozen=True)
class AgreeDeps:
    """`omie` and `jestor` must not wait and repeat: the lane waits for nobody. `labels`, `resting` outlive the call."""

    settings: Settings
    ledger: Charges
    lanes: Lanes
    runs: Runs
    contracts: Contracts
    queues: Messages
    omie: Callable[[str], OmieClient]
    jestor: Callable[[], JestorClient]
    clock: Clock
    urls: Urls
    labels: Labels = field(default_factory=dict)
    resting: dict[str, float] = field(default_factory=dict)
    new_attempt: Callable[[], str] = lambda: uuid.uuid4().hex


def take(body: str, deps: AgreeDeps) -> dict[str, Any]:
    """One message {"order": ...} of the lane. Only a store that fails raises, and returns it to the queue."""
    message = json.loads(body)["order"]
    order = Hint.of(message)
    facts = {"contract": order.contract, "company": order.company, "source": order.source, "webhook": order.webhook}
    if order.company not in deps.settings.companies:
        return facts | {"outcome": "unknown company"}
    if message.get("kind") == "link":
        return facts | {"outcome": _LinkOrder(order, deps).link(message)}
    if message.get("kind") == "boleto":
        return facts | {"outcome": _make_boleto(int(message["nCodTitulo"]), order.company, deps)}
    at_work = _Order(order, deps)
    try:
        return facts | {"outcome": at_work.carry_out()}
    except Later as later:
        put_off(order, later.until, deps.queues, deps.urls.changes)
        return facts | {"outcome": later.why, "later": True}
    except DATA_ERRORS as error:  # back in the queue it would keep the whole company waiting, five times over
        return facts | {"outcome": at_work.give_up(note(f"order for {order.contract}", error))}


def _make_boleto(nCodTitulo: int, company: str, deps: AgreeDeps) -> str:
    """Asked for again by who wants it, as long as Omie shows no boleto: so nothing is repeated here."""

    def reserve() -> Slots:
        return reserve_slots(company, deps)

    try:
        wait_turn(reserve(), clock=deps.clock, reserve=reserve)
        deps.omie(company).gerar_boleto(nCodTitulo)
    except Later as later:
        return later.why
    except OmieError as error:
        if isinstance(error, Blocked | KeyRefused) or error.retry_after:
            until = deps.clock.now().timestamp() + (error.retry_after or PAUSE_AFTER_KEY_REFUSED)
            deps.lanes.block(company, until, error.text)
        return f"boleto: {error.rule}"
    return "boleto made"


def reserve_slots(company: str, deps: AgreeDeps) -> Slots:
    """One slot. Raises Later: the lane is stopped."""
    first_call = deps.clock.now().timestamp() + HEAD_START
    answer = deps.lanes.reserve(company, 1, first_call, interval_for(ORDERS_PER_MINUTE))
    if isinstance(answer, BlockedUntil):
        raise Later(answer.until, "lane blocked")
    return answer


def put_off(hint: Hint, until: float, queues: Messages, url: str) -> None:
    """Have the contract looked at again, then."""
    again = replace(hint, company="").again(until)
    queues.send(url, again.message(), again.contract, digest_of(again.contract, int(until), again.tries))


def row_digest(row: Contract) -> str:
    """What of a row Omie's contract depends on. Our own writings to the record are no part of it."""
    return digest_of(
        row.company, row.service, row.description, row.quantity, row.unit_amount, row.discount, row.due_day, row.start,
        row.end, row.status, row.omie_id, row.change_from, row.customer,
    )  # fmt: skip


def customer_digest(row: Contract) -> str:
    """Its document, and what else Omie's register of customers takes from Jestor."""
    return f"{digest_of(row.customer.document)[:8]}.{digest_of(sorted(mapping.cliente_cadastro(row.customer).items()))}"


def customer_told(row: Contract, unseen: frozenset[str] = frozenset()) -> str:
    """What is remembered of a customer whose register was told, or found to agree; `unseen` as in `Told`."""
    filled = frozenset(mapping.cliente_cadastro(row.customer).keys() & FIELDS.keys())
    return str(Told(customer_digest(row), filled, unseen))


def customer_is_news(row: Contract, memory: Remembered) -> bool:
    """Whether Omie's register is to be told something, or to be looked at again."""
    told = Told.parse(memory.customer)
    return bool(told.digest) and (told.digest != customer_digest(row) or bool(told.unseen))


def unreadable_tags(row: Contract) -> list[str]:
    """Tags whose field in Jestor is not empty and says nothing that can be sent."""
    found = []
    if row.customer.phone and not mapping.split_phone(row.customer.phone)[1]:
        found += ["telefone1_ddd", "telefone1_numero"]
    if any("e-mail" in line for line in row.unread):
        found.append("email")
    return found


def customer_changes(change: Change, found: OmieContract) -> list[str]:
    """What was sent of the customer, and what stays as it was, in Portuguese."""
    emptied = f" (vazio: {names(change.emptied)})" if change.emptied else ""
    told = [f"cadastro do cliente enviado ao Omie{emptied}"]
    if "email" in change.emptied and found.fingerprint.split(".")[3]:
        told.append("o contrato no Omie continua com o e-mail que tem: apague-o lá, se for o caso")
    if change.kept:
        told.append(f"sem valor utilizável no Jestor, continua como está no Omie: {names(change.kept)}")
    return told


def both_digest(row: Contract | BadRow | None, omie: OmieContract | None, decision: Decision) -> str:
    """Both sides and what was found: equal to last time's, there is nothing new to do or to say."""
    seen = row_digest(row) if isinstance(row, Contract) else repr(row)
    return digest_of(seen, omie, decision.steps, decision.problem, decision.waits)


def known_number(
    row: Contract | BadRow | None, memory: Remembered, company: str, charges: Iterable[Charge | None]
) -> int | None:
    """The contract's nCodCtr in that company, from whoever knows it."""
    if place := memory.place(company):
        return place.nCodCtr
    named = row.omie_id if isinstance(row, Contract) and row.company in {company, ""} else None
    return named or next((one.nCodCtr for one in charges if one and one.company == company and one.nCodCtr), None)


class Circumstances:
    """What else decides about a contract: this month's charge, and whether a run has it in hand."""

    def __init__(self, code: str, company: str, today: date, ledger: Charges, runs: Runs) -> None:
        self.month = BillingMonth.containing(today)
        self.key = ChargeKey(code, self.month)
        before = ChargeKey(code, self.month.previous())
        guarded = [ChargeKey(code, self.month, kind) for kind in (CREATION, ALTERATION)]
        found = ledger.get_many([self.key, before, *guarded])
        self.charge, self.charge_before = found.get(self.key), found.get(before)
        self.alteration = found.get(ChargeKey(code, self.month, ALTERATION))
        self.undecided = any(
            one is not None and one.state in UNDECIDED for one in (self.charge, *map(found.get, guarded))
        )
        run = runs.get(run_name(self.month, f"{MONTHLY}#{company}"))
        self.run_open = run is not None and run.status == "open"

    @property
    def read_by_a_batch(self) -> float:
        """Before when (epoch seconds) a batch looked the contract up in Omie: it claims what it has read."""
        claims = [one.claimed_at for one in (self.charge, self.alteration) if one and one.run and one.claimed_at]
        return max(claims).timestamp() if claims else 0.0

    @property
    def billed(self) -> bool:
        return self.charge is not None and self.charge.state in FINAL

    @property
    def busy(self) -> bool:
        return self.undecided or (self.run_open and not self.billed)


class _Order:
    def __init__(self, order: Hint, deps: AgreeDeps) -> None:
        self.order = order
        self.deps = deps
        self.company: CompanySettings = deps.settings.companies[order.company]
        self.policy = self.company.policy(order.company)
        self.omie = deps.omie(order.company)
        self.code = contract_code(order.jestor_id)
        self.memory = deps.contracts.get(self.code)
        self.wrote = False
        self.unseen: frozenset[str] = frozenset()
        """The fields of the customer's register that were sent and that Omie has not shown yet."""

    def now(self) -> float:
        return self.deps.clock.now().timestamp()

    def today(self) -> date:
        return self.deps.clock.now().astimezone(SAO_PAULO).date()

    # --- from the order to what was done ---------------------------------------------------------------------------

    def carry_out(self) -> str:
        """One word or two for the log. Raises Later."""
        row, around = self._at_hand()
        number = known_number(row, self.memory, self.order.company, (around.charge, around.charge_before))
        cadastro = self._cadastro(number, around)
        found = mapping.compact(cadastro, self.today()) if cadastro else None
        place = self.memory.place(self.order.company)
        decision = decide(
            row,
            found,
            policy=self.policy,
            today=self.today(),
            churn=self.company.churn.action,
            billed=around.billed,
            busy=around.busy,
            ours=place is not None and place.stopped,
            rivals=self._rivals(row, found),
        )
        if STOPS & set(decision.steps) and around.undecided and self.order.tries < TRIES_BEFORE_STOPPING:
            raise Later(self.now() + pause(self.order.tries), "its billing is in doubt")
        if found is not None and cadastro is not None:
            self._settle_change(found, decision)
            decision = self._with_customer(row, found, decision, busy=around.busy)
            decision = self._do(row, found, cadastro, decision, around)
        self._conclude(row, found, decision, around)
        if decision.waits == "run":
            put_off(self.order, self.now() + pause(self.order.tries + 3), self.deps.queues, self.deps.urls.changes)
        elif self.unseen:
            put_off(self.order, self.now() + LOOKED_UP_FOR, self.deps.queues, self.deps.urls.changes)
        return " ".join(map(str, decision.steps)) or (f"waits for {decision.waits}" if decision.waits else "agrees")

    def _at_hand(self) -> tuple[Contract | BadRow | None, Circumstances]:
        """The row, and what the ledger knows of the contract, once no call of ours to it is under way. Raises Later."""
        self.slots = self._reserve()
        if self.memory.doubt_until > self.now():
            raise Later(self.memory.doubt_until, "a call may still be under way")
        row, around = self._row(), self._circumstances()
        return row, self._circumstances() if self._alteration_rests(around) else around

    def _circumstances(self) -> Circumstances:
        return Circumstances(self.code, self.order.company, self.today(), self.deps.ledger, self.deps.runs)

    def _alteration_rests(self, around: Circumstances) -> bool:
        """Whether an alteration was in doubt until now, and has ended.

        Raises:
            Later: it may still be under way.
        """
        doubted = around.alteration
        if doubted is None or doubted.state not in UNDECIDED:
            return False
        longest = self.company.longest_abandoned_call_seconds + self.company.read_lag_seconds
        wait, now = timedelta(seconds=FUNCTION_TIMEOUT_SECONDS + longest), self.deps.clock.now()
        if forgotten(doubted, wait, self.deps.ledger, now=now, who=WHO):
            return True
        since = doubted.claimed_at or now
        raise Later(max((since + wait).timestamp(), self.now() + 1), "an alteration may still be under way")

    def give_up(self, kind: str) -> str:
        """What is said of a contract of which something could not be computed; the sweep looks at it again daily."""
        text = f"{self.today():%d/%m/%Y}: {unreadable(kind)}"
        if self.deps.settings.jestor.contracts.write_back.omie_note:
            self._write_back({"omie_note": text})
        return f"unreadable: {kind}"

    def _do(
        self, row: Contract | BadRow | None, found: OmieContract, cadastro: dict[str, Any], decision: Decision,
        around: Circumstances,
    ) -> Decision:  # fmt: skip
        n = found.nCodCtr
        try:
            for step in decision.steps:
                match step:
                    case Step.SUSPEND | Step.MOVE | Step.CANCEL:
                        if isinstance(row, Contract) and row.status is ContractStatus.CHURNED:
                            self._open_boletos(found)
                        stop = self.omie.cancelar_contrato if step is Step.CANCEL else self.omie.suspender_contrato
                        self._write(partial(stop, n))
                    case Step.REACTIVATE:
                        self._write(partial(self.omie.reativar_contrato, n))
                        cadastro["cabecalho"]["cCodSit"] = rules.ACTIVE  # an alteration sends the whole contract
                    case Step.ALTER:
                        assert isinstance(row, Contract)  # noqa: S101 - only such a row is altered to
                        self._alter(row, found, cadastro, decision, around)
        except Rejected as refused:
            if not (set(decision.steps) <= {Step.ALTER} or self.order.tries):
                raise Later(self.now() + LOOKED_UP_FOR, "refused: somebody may have been faster") from None
            problem = f"O Omie recusou: {refused.text}"
            return replace(decision, steps=(Step.TELL,), problem=problem, changes=())
        return decision

    def _alter(
        self, row: Contract, found: OmieContract, cadastro: dict[str, Any], decision: Decision, around: Circumstances
    ) -> None:
        desired = decision.desired
        assert desired is not None  # noqa: S101 - every ALTER has one
        if row.prorate and found.own_total != desired.amount:
            self._note_change(row, found.own_total, desired.amount, around)
        writes = [
            partial(self.omie.excluir_item, found.nCodCtr, codItem) for codItem in mapping.own_items_to_remove(cadastro)
        ]
        whole = mapping.contrato_cadastro(
            desired, code=self.code, nCodCli=found.nCodCli, company=self.company, existing=cadastro
        )
        key = ChargeKey(self.code, around.month, ALTERATION)
        self._write_claimed(key, found.nCodCtr, desired.amount, [*writes, partial(self.omie.alterar_contrato, whole)])

    def _write_claimed(self, key: ChargeKey, nCodCtr: int, amount: int, writes: Iterable[Callable[[], Any]]) -> None:
        """These alterations of one contract, under one claim of the ledger."""
        now = self.deps.clock.now()
        claim = self.deps.ledger.claim(
            key, attempt=self.deps.new_attempt(), now=now, company=self.order.company, amount=amount, plan_hash="",
            run="", nCodCtr=nCodCtr, who=WHO,
        )  # fmt: skip
        if not isinstance(claim, Claimed):
            why = "on hold" if isinstance(claim, Held) else "an alteration is under way"
            raise Later(self.now() + pause(self.order.tries), why)
        attempt = claim.charge.attempt
        try:
            for write in writes:
                self._write(write)
        except Later as later:
            self._note(key, Event.IN_DOUBT if later.why == IN_DOUBT else Event.NOT_EXECUTED, later.why, attempt)
            raise
        except Rejected as refused:
            self._note(key, Event.GIVE_UP, refused.text, attempt)
            raise
        self._note(key, Event.GIVE_UP, "o Omie aceitou a alteração", attempt, reason_code=WRITTEN)

    def _note(self, key: ChargeKey, event: Event, why: str, attempt: str | None, **facts: Any) -> None:
        with contextlib.suppress(TransitionRefused):  # somebody found our claim and doubted it
            self.deps.ledger.apply(key, event, now=self.deps.clock.now(), who=WHO, why=why, attempt=attempt, **facts)

    # --- reading -----------------------------------------------------------------------------------------------------

    def _reserve(self) -> Slots:
        return reserve_slots(self.order.company, self.deps)

    def _row(self) -> Contract | BadRow | None:
        """A Jestor that is away is asked once a minute, not once an order: the lane has other things to do."""
        if (until := self.deps.resting.get("jestor", 0.0)) > self.now():
            raise Later(max(until, self.now() + pause(self.order.tries)), "Jestor rests")
        try:
            return read_row(
                self.deps.jestor(), self.deps.settings, self.order.jestor_id, labels=self.deps.labels, now=self.now()
            )
        except JestorError as error:
            self.deps.resting["jestor"] = self.now() + pause(0)
            raise Later(self.now() + pause(self.order.tries), type(error).__name__) from error

    def _cadastro(self, number: int | None, around: Circumstances) -> dict[str, Any] | None:
        """Omie shows one contract once a minute, whoever asks: whoever comes too soon comes again."""
        if (again := around.read_by_a_batch + LOOKED_UP_FOR) > self.now():
            raise Later(again, "looked at a moment ago")
        self._ask_once(f"{LOOK_UP}{number or self.code}")
        try:
            if number is None:
                return self.omie.consultar_contrato_por_codigo(self.code)
            cadastro = self.omie.consultar_contrato(number)
        except (Blocked, KeyRefused) as error:
            self._stop(error)
        except Rejected as refused:
            if refused.rule == "permanent":
                return None
            raise Later(self.now() + pause(self.order.tries), refused.rule) from None
        except OmieError as error:
            raise Later(self.now() + (error.retry_after or pause(self.order.tries)), error.rule) from None
        return cadastro

    def _ask_once(self, question: str) -> None:
        """Take a slot for a question that Omie answers once a minute. Raises Later: it was asked a moment ago."""
        self._once_a_minute(question)
        self._turn()

    def _once_a_minute(self, question: str) -> None:
        """Omie refuses what is asked, or written, in the same words again. Raises Later: it was a moment ago."""
        asked = self.deps.lanes.get(self.order.company).asked.get(question, 0.0)
        if asked + LOOKED_UP_FOR > self.now():
            raise Later(asked + LOOKED_UP_FOR, "looked at a moment ago")
        self.deps.lanes.ask(self.order.company, question, self.now(), LOOKED_UP_FOR)

    def _rivals(self, row: Contract | BadRow | None, found: OmieContract | None) -> tuple[str, ...]:
        """Only a contract that carries no code of ours can be named by two rows."""
        if found is None or not isinstance(row, Contract) or is_ours(found, row.code, None):
            return ()
        return self._named_by(found.nCodCtr)

    def _named_by(self, nCodCtr: int) -> tuple[str, ...]:
        """The codes of the other rows that name this Omie contract. Raises Later."""
        try:
            ids = rows_naming(self.deps.jestor(), self.deps.settings, nCodCtr)
        except JestorError as error:
            raise Later(self.now() + pause(self.order.tries), type(error).__name__) from error
        return tuple(code for code in map(contract_code, ids) if code != self.code)

    # --- writing -----------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self.slots = wait_turn(self.slots, clock=self.deps.clock, reserve=self._reserve)

    def _write(self, call: Callable[[], Any]) -> None:
        """One write, once. Before it, the doubt it may leave is remembered: the process may die in it."""
        in_doubt = self.now() + 2 * LONGEST_CALL + self.company.longest_abandoned_call_seconds
        self._remember(lambda memory: replace(memory, doubt_until=in_doubt, waits="told"))
        try:
            self._turn()
        except Later:
            self._sure()
            raise
        try:
            call()
        except InDoubt as doubt:
            until = self.now() + self.company.longest_abandoned_call_seconds
            self._remember(lambda memory: replace(memory, doubt_until=until))
            raise Later(until, IN_DOUBT) from doubt
        except (Blocked, KeyRefused) as error:
            self._sure()
            self._stop(error)
        except NotExecuted as error:
            self._sure()
            if error.retry_after:
                self.deps.lanes.block(self.order.company, self.now() + error.retry_after, error.text)
            raise Later(self.now() + (error.retry_after or pause(self.order.tries)), error.rule) from None
        except Rejected:
            self._sure()
            raise
        self.wrote = True
        self._sure()

    def _sure(self) -> None:
        self._remember(lambda memory: replace(memory, doubt_until=0.0))

    def _stop(self, error: OmieError) -> NoReturn:
        until = self.now() + (error.retry_after or PAUSE_AFTER_KEY_REFUSED)
        self.deps.lanes.block(self.order.company, until, error.text)
        raise Later(until, error.rule) from None

    def _open_boletos(self, found: OmieContract) -> None:
        """Void the slips of what is still owed. Before the contract is stopped: afterwards nobody would come again."""
        if self.company.churn.open_boletos == "keep":
            return
        today = self.today()
        try:
            open_titles = {
                whole(title["detalhes"]["nCodTitulo"])
                for title in self.omie.iter_movimentos(
                    today - BOLETOS_SINCE, today + BOLETOS_UNTIL, nCodCliente=found.nCodCli, cTpLancamento="CR"
                )
                if _owed(title, found)
            }
        except Rejected:
            return  # an empty list is an error to Omie
        except OmieError as error:
            raise Later(self.now() + (error.retry_after or pause(self.order.tries)), error.rule) from None
        for nCodTitulo in sorted(open_titles):
            try:
                self._write(partial(self.omie.cancelar_boleto, nCodTitulo))
            except Rejected as refused:
                if refused.rule != "soft":  # it has no boleto
                    raise

    # --- the customer's own data -------------------------------------------------------------------------------------

    def _with_customer(
        self, row: Contract | BadRow | None, found: OmieContract, decision: Decision, *, busy: bool
    ) -> Decision:
        """Omie's customer follows Jestor's from the first time it was agreed; what Omie had before is left alone."""
        if not self._has_customer(row) or not self.memory.customer or decision.problem:
            return decision
        told, now = Told.parse(self.memory.customer), customer_digest(row)
        if told.digest == now:
            return self._customer_seen(row, found, told, decision) if told.unseen else decision
        if told.digest.partition(".")[0] != now.partition(".")[0]:
            problem = "O CNPJ/CPF do cliente mudou no Jestor: troque o cliente do contrato no Omie."
            if row.document_problem and row.customer.estado != ABROAD:
                problem = f"Corrija no Jestor: {row.document_problem}."
            return replace(decision, steps=(*decision.steps, Step.TELL), problem=problem)
        if busy:
            return replace(decision, waits="run")
        change = change_of(mapping.cliente_cadastro(row.customer), told, unreadable_tags(row))
        # Each contract of one customer sends the same.
        self._once_a_minute(f"AlterarCliente {found.nCodCli} {digest_of(sorted(change.sent.items()))}")
        try:
            self._write(partial(self.omie.alterar_cliente, found.nCodCli, dict(change.sent)))
        except Rejected as refused:
            return replace(decision, problem=f"O Omie recusou o cadastro do cliente: {refused.text}")
        self.unseen = frozenset(change.sent)
        return replace(decision, changes=(*decision.changes, *customer_changes(change, found)))

    def _has_customer(self, row: Contract | BadRow | None) -> TypeGuard[Contract]:
        """Whether the row says who the customer of this company's contract is."""
        active = isinstance(row, Contract) and row.status is ContractStatus.ACTIVE
        return active and row is not None and row.company == self.order.company

    def _customer_seen(self, row: Contract, found: OmieContract, told: Told, decision: Decision) -> Decision:
        """Whether Omie shows what it was sent, asked a while later: a read right after a write shows what was before.

        What is to be written to the contract goes first, and the question is put off.
        """
        self.unseen = told.unseen
        if decision.writes:
            return decision
        shown = self._customer_in_omie(found.nCodCli)
        self.unseen = frozenset()
        if shown is None:
            return decision
        cadastro = mapping.cliente_cadastro(row.customer)
        others = differing({tag: str(cadastro.get(tag, "")) for tag in told.unseen}, shown)
        if not others:
            return decision
        what = f"o cadastro do cliente no Omie não mostra o que foi enviado ({names(others)}): acerte-o lá"
        return replace(decision, changes=(*decision.changes, what))

    def _customer_in_omie(self, nCodCli: int) -> dict[str, Any] | None:
        """None: Omie does not show it. Raises Later."""
        self._ask_once(f"ConsultarCliente {nCodCli}")
        try:
            return self.omie.consultar_cliente(nCodCli)
        except (Blocked, KeyRefused) as error:
            self._stop(error)
        except Rejected:
            return None
        except OmieError as error:
            raise Later(self.now() + (error.retry_after or pause(self.order.tries)), error.rule) from None

    # --- what a change in mid-cycle costs ----------------------------------------------------------------------------

    def _note_change(self, row: Contract, old: int, new: int, around: Circumstances) -> None:
        """Before the price is altered: afterwards nobody could tell what it was."""
        cycle = Cycle.containing(self.today(), self.policy.billing_day)
        charges = (around.charge, around.charge_before)
        paid = next((c for c in charges if c and c.key.month == BillingMonth.containing(cycle.first)), None)
        if paid is None or paid.state is not State.BILLED:
            return  # nothing of this cycle was charged at the old price
        known = self.memory.change
        if known and not known["done"] and (known["old"], known["new"]) == (old, new):
            return  # noted when it was tried before
        if self.memory.amount and self.memory.amount != old:
            return  # a person changed the price in Omie: that is put right, and is nobody's debt
        day = max(row.change_from or self.today(), cycle.first)
        number = int(known["number"]) + 1 if known else 1
        left = pending(number, old, new, day, cycle)

        def note(memory: Remembered) -> Remembered:
            memory = _without_open_change(memory, kept=False)
            change = {"old": old, "new": new, "day": day.isoformat(), "number": number, "done": False}
            return replace(memory, change=change, pending=(*memory.pending, left) if left else memory.pending)

        self._remember(note)

    def _settle_change(self, found: OmieContract, decision: Decision) -> None:
        """A change that was noted and not confirmed: Omie shows whether it happened."""
        known = self.memory.change
        if not known or known["done"]:
            return
        happened = found.own_total == known["new"]
        wanted = decision.desired is not None and decision.desired.amount == known["new"]
        if not happened and (wanted or decision.waits) and found.own_total == known["old"]:
            return  # still to be made
        self._remember(
            lambda memory: replace(_without_open_change(memory, kept=happened), change={**known, "done": True})
        )

    # --- what is remembered and told ---------------------------------------------------------------------------------

    def _remember(self, change: Callable[[Remembered], Remembered]) -> None:
        for _ in range(RACES):
            kept = self.deps.contracts.put(change(self.memory))
            if kept is not None:
                self.memory = kept
                return
            self.memory = self.deps.contracts.get(self.code)
        raise TimeoutError(f"{self.code}: {RACES} others were faster")

    def _conclude(
        self, row: Contract | BadRow | None, found: OmieContract | None, decision: Decision, around: Circumstances
    ) -> None:
        before = self.memory
        situation = situation_after(found, decision)
        told = self._telling(before, situation, decision, around)

        def conclude(memory: Remembered) -> Remembered:
            if isinstance(row, Contract):
                memory = replace(memory, row=row_digest(row))
                if row.status is ContractStatus.ACTIVE and not decision.problem and decision.waits != "run":
                    memory = replace(memory, customer=customer_told(row, self.unseen))
            if found is not None:
                memory = replace(memory, amount=decision.desired.amount if decision.desired else found.own_total)
                memory = memory.with_place(
                    self.order.company, place_after(row, found, decision, memory, self.order.company, wrote=self.wrote)
                )
            if self.wrote and memory.change and Step.ALTER in decision.steps:
                memory = replace(memory, change={**memory.change, "done": True})
            return replace(memory, waits=decision.waits, doubt_until=0.0, told={**memory.told, **told})

        if told:
            self._write_back(told)
        if conclude(before) != before:
            self._remember(conclude)

    def _telling(self, memory: Remembered, situation: str, decision: Decision, around: Circumstances) -> dict[str, str]:
        """Our words -> what they become, of those that have a field and change. Nothing was done: nothing is told."""
        month = ""
        if decision.waits == "run":
            note = f"Mudança recebida durante o faturamento de {around.month}: guardada até ele terminar."
        elif decision.waits == "date":
            month = str(decision.month)
            note = f"Mudança guardada: vale a partir da competência {decision.month}."
        elif decision.problem:
            note = decision.problem
        elif decision.changes:
            note = f"{self.today():%d/%m/%Y}: {'; '.join(decision.changes)}."
            month = str(decision.month) if Step.ALTER in decision.steps else ""
        elif memory.waits == "run" and around.charge is not None and around.charge.state is State.BILLED:
            month = str(around.month)
            note = f"{self.today():%d/%m/%Y}: a mudança entrou no faturamento de {around.month}."
        elif memory.waits == "run":  # the run brought it into Omie, and did not bill it
            note = f"{self.today():%d/%m/%Y}: a mudança está no Omie, e {around.month} ainda não foi faturado."
        elif memory.waits == "told" and decision.agrees:  # it was done, and whoever did it could not say so
            month = str(decision.month or "")
            note = f"{self.today():%d/%m/%Y}: acertado no Omie."
        elif (place := memory.place(self.order.company)) and place.problem:
            note = f"{self.today():%d/%m/%Y}: pendência resolvida."
        else:
            return {}
        if month and Step.ALTER in decision.steps and decision.waits == "":
            note = f"{note} Vale a partir da competência {month}."
        said = {"omie_status": situation, "omie_note": note, "effective_month": month}
        fields = self.deps.settings.jestor.contracts.write_back
        return {
            word: text
            for word, text in said.items()
            if text and getattr(fields, word) and memory.told.get(word) != text
        }

    def _write_back(self, told: Mapping[str, str]) -> None:
        fields = self.deps.settings.jestor.contracts.write_back
        self._write_jestor({getattr(fields, word): text for word, text in told.items()}, "contrato")

    def _write_jestor(self, data: Mapping[str, Any], why: str) -> None:
        table = self.deps.settings.jestor.contracts.table
        key = digest_of(self.code, sorted(data.items()), self.deps.clock.now())
        message = {"table": table, "jestor_id": self.order.jestor_id, "data": data, "why": why, "key": key}
        self.deps.queues.send(self.deps.urls.jestor_writes, message, f"{table}#{self.order.jestor_id}", key)


class _LinkOrder(_Order):
    """A person's order to tie the row to a contract that people made in Omie: `billing-ops link` has shown the change.

    Both sides are read again here, and its only item is marked as ours. What became of it is remembered for whoever
    asked, who orders again when it must come later: an order in the lane waits for nothing.
    """

    def link(self, message: Mapping[str, Any]) -> str:
        """One word or two for the log. `message`: {"nCodCtr", "nCodCli", "key"} beside the hint's own."""
        outcome, text, until = "done", "", 0.0
        try:
            text = self._link(int(message["nCodCtr"]), int(message["nCodCli"]))
            outcome = "refused" if text else "done"
        except Later as later:
            outcome, text, until = "later", later.why, later.until
        except Rejected as refused:
            outcome, text = "refused", f"O Omie recusou: {refused.text}"
        except DATA_ERRORS as error:  # as in `take`
            kind = note(f"link of {self.code}", error)
            outcome, text = "refused", f"{self.code}: {unreadable(kind)}"
        kept = {"order": str(message["key"]), "outcome": outcome, "text": text, "until": until}
        self._remember(lambda memory: replace(memory, link=kept))
        return f"link: {outcome}"

    def _link(self, nCodCtr: int, nCodCli: int) -> str:
        """Why it may not be, in Portuguese; empty once it is done. Raises Later, Rejected."""
        row, around = self._at_hand()
        if problem := self._not_now(row, nCodCtr, around):
            return problem
        assert isinstance(row, Contract)  # noqa: S101 - else there was a problem
        cadastro = self._cadastro(nCodCtr, around)
        if cadastro is None or int(cadastro["cabecalho"].get("nCodCli") or 0) != nCodCli:
            return f"O contrato {nCodCtr} do Omie mudou desde a conferência: repita o comando."
        code = str(cadastro["cabecalho"].get("cCodIntCtr") or "").strip()
        rivals = self._named_by(nCodCtr)
        if rivals or (code.startswith(ITEM_PREFIX) and code != self.code):
            return f"O contrato {nCodCtr} do Omie já está vinculado a {rivals[0] if rivals else code}."
        try:
            change = mapping.takeover(cadastro, self.code, row.amount, self.today())
        except mapping.NotOurs as reason:
            return f"Os itens não foram assumidos: {reason}."
        if change is not None:
            key = ChargeKey(self.code, around.month, ALTERATION)
            self._write_claimed(key, nCodCtr, row.amount, [partial(self.omie.alterar_contrato, change.cadastro)])
        field = self.deps.settings.jestor.contracts.fields.omie_id
        if row.omie_id != nCodCtr and field is not None:  # without the field the command has refused
            self._write_jestor({field: nCodCtr}, "vinculo")
        return ""

    def _not_now(self, row: Contract | BadRow | None, nCodCtr: int, around: Circumstances) -> str:
        if not isinstance(row, Contract) or row.company != self.order.company:
            return f"{self.code} mudou no Jestor desde a conferência: repita o comando."
        if row.omie_id not in (None, nCodCtr):
            return f"{self.code} já está vinculado ao contrato {row.omie_id} do Omie."
        if self.deps.ledger.find_hold(self.code) is not None:
            return f"{self.code} está retido: nada é alterado no Omie. Resolva a retenção e repita."
        if around.busy:
            return f"O faturamento de {around.month} tem {self.code} em mãos: repita quando ele terminar."
        return ""


def unreadable(kind: str) -> str:
    """For a person: something of the contract could not be computed. `kind`: the error's class."""
    return (
        f"não foi possível conferir este contrato com o Omie ({kind}). Confira os campos dele no Jestor e os itens e "
        "datas no Omie; se nada estiver errado, avise quem cuida do sistema."
    )


def situation_after(found: OmieContract | None, decision: Decision) -> str:
    """How the contract stands in Omie once the steps are done, in the words of its screen."""
    if found is None:
        return ""
    code = found.cCodSit
    for step in decision.steps:
        match step:
            case Step.SUSPEND | Step.MOVE:
                code = rules.SUSPENDED
            case Step.CANCEL:
                code = rules.CANCELLED
            case Step.REACTIVATE:
                code = rules.ACTIVE
    return SITUATIONS.get(code, code)


def place_after(
    row: Contract | BadRow | None,
    found: OmieContract,
    decision: Decision,
    memory: Remembered,
    company: str,
    *,
    wrote: bool,
) -> Place:
    """What to remember of the contract in that company: whether both sides agree that it is stopped, and the rest."""
    known = memory.place(company)
    stopped = known.stopped if known else False
    if isinstance(row, Contract) and not decision.problem:
        wanted = rules.stops(row) or (bool(row.company) and row.company != company)
        resting = bool(STOPS & set(decision.steps)) or found.cCodSit in {rules.SUSPENDED, rules.CANCELLED}
        stopped = wanted and resting and Step.REACTIVATE not in decision.steps
    digest = "" if wrote else both_digest(row, found, decision)
    return Place(found.nCodCtr, stopped, digest, decision.problem)


def _owed(title: Mapping[str, Any], found: OmieContract) -> bool:
    """Whether a movimento is an unpaid title of the contract; some name it by its number alone, forecasts are none."""
    try:
        details, summary = dict(title.get("detalhes") or {}), dict(title.get("resumo") or {})
        whole(details.get("nCodTitulo"))
    except DATA_ERRORS:
        return False  # no title that could be named to Omie
    number = str(details.get("cNumCtr") or "").strip()
    its_own = details.get("nCodCtr") == found.nCodCtr or (number != "" and number == found.cNumCtr)
    dead = summary.get("cLiquidado") == "S" or str(details.get("cStatus", "")) in {"CANCELADO", "PREVISAO"}
    return bool(its_own and details.get("nCodTitulo") and not dead)


def _without_open_change(memory: Remembered, *, kept: bool) -> Remembered:
    """The pending of a change that was noted and never made is nobody's debt."""
    known = memory.change
    if kept or not known or known["done"]:
        return memory
    return replace(memory, pending=tuple(one for one in memory.pending if one.number != known["number"]))
