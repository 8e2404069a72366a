"""The stores in memory, for the deterministic simulation: same answers, no threads, no clock.

Every decision is the real store's own pure function; only the table is a dict. The contract tests run one
suite over these, over moto and over the emulator.
"""

import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Unpack, cast

from billing.domain.charge import Charge, ChargeKey, Event, State, TransitionRefused
from billing.domain.composition import Composition
from billing.omie import governor
from billing.omie.client import Credentials
from billing.omie.governor import BlockedUntil, LaneState, ReaderState, Slots
from billing.store.contracts import Remembered
from billing.store.documents import Document, HoldLost, held_by_another, to_document
from billing.store.lanes import take_slots, take_turn
from billing.store.ledger import (
    Claim,
    Claimed,
    Facts,
    Held,
    Hold,
    NotClaimed,
    Write,
    claim_write,
    company_month,
    event_write,
    is_claimed,
    is_ours,
    stamp,
    to_charge,
    written_at,
)
from billing.store.objects import ObjectMissing
from billing.store.queues import Letter
from billing.store.runs import (
    Approval,
    NotTheRunner,
    Opened,
    Opening,
    Run,
    Trigger,
    head,
    opening,
    run_name,
    to_approval,
    to_run,
)
from billing.store.secrets import SecretError, jestor_name, omie_name, read_fields
from billing.store.webhooks import kept_item

DEDUP_SECONDS = 300.0
MOST_LETTERS = 10


class MemoryLedger:
    def __init__(self) -> None:
        self._charges: dict[ChargeKey, Item] = {}
        self._holds: dict[str, Hold] = {}

    def claim(
        self,
        key: ChargeKey,
        *,
        attempt: str,
        now: datetime,
        company: str,
        amount: int,
        plan_hash: str,
        run: str,
        nCodCtr: int | None,
        who: str,
        additions: Sequence[Mapping[str, Any]] = (),
        composition: Composition | None = None,
    ) -> Claim:
        write = claim_write(
            key,
            attempt=attempt,
            now=now,
            company=company,
            amount=amount,
            plan_hash=plan_hash,
            run=run,
            nCodCtr=nCodCtr,
            who=who,
            additions=additions,
            composition=composition,
        )
        charge = self.get(key)
        if charge is not None and charge.state not in write.sources:
            return Claimed(charge) if is_claimed(charge, attempt) else NotClaimed(charge)
        if key.contract in self._holds:
            return Held(self._holds[key.contract].reason)
        return Claimed(self._write(key, write))

    def apply(
        self,
        key: ChargeKey,
        event: Event,
        *,
        now: datetime,
        who: str,
        why: str,
        attempt: str | None = None,
        company: str = "",
        amount: int = 0,
        plan_hash: str = "",
        run: str = "",
        **facts: Unpack[Facts],
    ) -> Charge:
        write = event_write(
            key,
            event,
            now=now,
            who=who,
            why=why,
            attempt=attempt,
            company=company,
            amount=amount,
            plan_hash=plan_hash,
            run=run,
            facts=facts,
        )
        charge = self.get(key)
        state = charge.state if charge else None
        of_this_attempt = write.attempt is None or (charge is not None and charge.attempt == write.attempt)
        ordered = charge is not None and charge.nCodOS is not None
        if state in write.sources and of_this_attempt and not (write.without_order and ordered):
            return self._write(key, write)
        if charge is not None and is_ours(charge, write):
            return charge
        raise TransitionRefused(state, event, charge)

    def note_told(self, charge: Charge) -> None:
        item = self._charges[charge.key]
        if item["state"] is State.PARKED and item["updated_at"] == written_at(charge):
            self._charges[charge.key] = {**item, "told": True}

    def get(self, key: ChargeKey) -> Charge | None:
        item = self._charges.get(key)
        return to_charge(item) if item else None

    def iter_many(self, keys: Iterable[ChargeKey]) -> Iterator[Charge]:
        return (to_charge(self._charges[key]) for key in dict.fromkeys(keys) if key in self._charges)

    def get_many(self, keys: Iterable[ChargeKey]) -> dict[ChargeKey, Charge]:
        return {charge.key: charge for charge in self.iter_many(keys)}

    def by_month(self, company: str, month: object, states: Collection[State] | None = None) -> Iterator[Charge]:
        wanted = company_month(company, month)
        items = [item for item in self._charges.values() if item["company_month"] == wanted]
        charges = map(to_charge, sorted(items, key=lambda item: str(item["charge"])))
        return (charge for charge in charges if not states or charge.state in states)

    def by_order(self, company: str, nCodOS: int) -> Charge | None:
        items = (item for item in self._charges.values() if item.get("order") == str(nCodOS))
        return next((to_charge(item) for item in items if item["company"] == company), None)

    def put_hold(self, contract: str, reason: str, now: datetime) -> None:
        self._holds[contract] = Hold(reason, now)

    def lift_hold(self, contract: str, *, put_at: datetime | None = None) -> bool:
        found = self._holds.get(contract)
        if found is not None and put_at is not None and found.put_at != put_at:
            return False
        self._holds.pop(contract, None)
        return True

    def hold(self, contract: str) -> str | None:
        found = self._holds.get(contract)
        return found.reason if found else None

    def find_hold(self, contract: str) -> Hold | None:
        return self._holds.get(contract)

    def held_many(self, contracts: Iterable[str]) -> set[str]:
        return self._holds.keys() & contracts

    def _write(self, key: ChargeKey, write: Write) -> Charge:
        old = self._charges.get(key, {})
        history = (*old.get("history", ()), write.line)
        item = {**write.first, **old, **write.sets, "charge": str(key), "history": history}
        self._charges[key] = item
        return to_charge(item)


class MemoryLanes:
    def __init__(self) -> None:
        self._lanes: dict[str, LaneState] = {}
        self._readers: dict[str, ReaderState] = {}

    def get(self, company: str) -> LaneState:
        return self._lanes.get(company, LaneState())

    def reserve(self, company: str, n: int, now: float, interval: float) -> Slots | BlockedUntil:
        self._lanes[company], answer = take_slots(self.get(company), n, now, interval)
        return answer

    def block(self, company: str, until: float, reason: str) -> LaneState:
        self._lanes[company] = state = governor.note_block(self.get(company), until, reason)
        return state

    def note_error(self, company: str, method: str, now: float) -> LaneState:
        self._lanes[company] = state = governor.note_error(self.get(company), method, now)
        return state

    def ask(self, company: str, question: str, now: float, window: float) -> float | BlockedUntil:
        self._lanes[company], answer = take_turn(self.get(company), question, now, window)
        return answer

    def readers(self, company: str) -> ReaderState:
        return self._readers.get(company, ReaderState())

    def note_reader_error(self, company: str, method: str, now: float) -> ReaderState:
        self._readers[company] = state = governor.note_reader_error(self.readers(company), method, now)
        return state

    def note_unknown(self, company: str, now: float) -> ReaderState:
        self._readers[company] = state = governor.note_unknown(self.readers(company), now)
        return state


class MemoryRuns:
    def __init__(self) -> None:
        self._heads: dict[str, Item] = {}
        self._companies: dict[str, dict[str, dict[str, int]]] = {}
        self._plans: dict[tuple[str, str], str] = {}
        self._approvals: dict[tuple[str, str], Item] = {}

    def open(
        self,
        month: object,
        kind: str,
        *,
        trigger: Trigger,
        execution: str,
        now: datetime,
        replaces: str | None = None,
    ) -> Opening:
        run = run_name(month, kind)
        current = self._heads.get(run)
        answer = opening(current, run=run, trigger=trigger, execution=execution, replaces=replaces)
        if isinstance(answer, Opened) and (current is None or current["execution"] != execution):
            self._heads[run] = head(answer, month, kind, trigger=trigger, execution=execution, now=now)
        return answer

    def close(self, run: str, *, execution: str, summary: Mapping[str, Any], now: datetime) -> None:
        item = self._heads.get(run)
        if item is None or item["execution"] != execution:
            raise NotTheRunner(f"run {run} is not open by {execution}")
        item |= {"status": "closed", "closed_at": stamp(now), "summary": json.dumps(summary)}

    def add_progress(self, run: str, company: str, **counts: int) -> None:
        if not counts:
            return
        totals = self._companies.setdefault(run, {}).setdefault(company, {})
        for name, count in counts.items():
            totals[name] = totals.get(name, 0) + count

    def set_progress(self, run: str, company: str, **counts: int) -> None:
        self._companies.setdefault(run, {}).setdefault(company, {}).update(counts)

    def get(self, run: str) -> Run | None:
        item = self._heads.get(run)
        return to_run(run, item, self._companies.get(run, {})) if item else None

    def list_recent(self, limit: int = 12) -> list[Run]:
        return [to_run(run, self._heads[run], {}) for run in sorted(self._heads, reverse=True)[:limit]]

    def put_plan(self, run: str, company: str, *, plan_hash: str, plan_key: str, planned: int) -> None:
        del plan_key
        self._plans[run, company] = plan_hash
        self._companies.setdefault(run, {})[company] = {"planned": planned}

    def plan_hash(self, run: str, company: str) -> str | None:
        return self._plans.get((run, company))

    def put_approval(
        self, run: str, company: str, *, token: str, plan_hash: str, reasons: tuple[str, ...], now: datetime
    ) -> None:
        item = {"token": token, "plan_hash": plan_hash, "reasons": reasons, "asked_at": stamp(now)}
        self._approvals[run, company] = item

    def get_approval(self, run: str, company: str) -> Approval | None:
        item = self._approvals.get((run, company))
        return to_approval(company, item) if item else None

    def decide_approval(self, run: str, company: str, *, token: str, approved: bool, who: str, now: datetime) -> bool:
        item = self._approvals.get((run, company))
        if item is None or item["token"] != token or "decision" in item:
            return False
        decision = "approved" if approved else "rejected"
        item |= {"decision": decision, "decided_by": who, "decided_at": stamp(now)}
        return True


class MemoryLines:
    def __init__(self) -> None:
        self.written: list[str] = []

    @property
    def lines(self) -> int:
        return len(self.written)

    def write(self, line: str) -> None:
        self.written.append(line)


class MemoryObjects:
    """`texts` is the bucket: key -> text."""

    def __init__(self) -> None:
        self.bucket = "memory"
        self.texts: dict[str, str] = {}

    @contextmanager
    def plan_writer(self, key: str) -> Iterator[MemoryLines]:
        lines = MemoryLines()
        yield lines
        self.texts[key] = "".join(f"{line}\n" for line in lines.written)

    def read_lines(self, key: str) -> Iterator[str]:
        for line in io.StringIO(self.get_text(key), newline="\n"):
            yield line.removesuffix("\n")

    def put_json(self, key: str, value: Mapping[str, Any] | list[Any]) -> None:
        self.put_text(key, json.dumps(value, ensure_ascii=False, sort_keys=True))

    def get_json(self, key: str) -> Any:
        return json.loads(self.get_text(key))

    def put_text(self, key: str, text: str, content_type: str = "text/plain; charset=utf-8") -> None:
        del content_type
        self.texts[key] = text

    def get_text(self, key: str) -> str:
        try:
            return self.texts[key]
        except KeyError:
            raise ObjectMissing(key) from None

    def get_part(self, key: str, start: int, length: int) -> bytes:
        return self.get_text(key).encode()[start : start + length]


class MemorySecrets:
    """`texts`: secret name -> its text, as Secrets Manager would hold it."""

    def __init__(self, texts: Mapping[str, str], prefix: str) -> None:
        self._texts = texts
        self._prefix = prefix

    def omie(self, company: str) -> Credentials:
        return Credentials(*self._fields(omie_name(self._prefix, company), "app_key", "app_secret"))

    def jestor(self) -> str:
        (token,) = self._fields(jestor_name(self._prefix), "token")
        return token

    def _fields(self, name: str, *fields: str) -> tuple[str, ...]:
        if name not in self._texts:
            raise SecretError(f"secret {name} does not exist: create it in this account and region")
        return read_fields(name, self._texts[name], fields)


class MemoryDocuments:
    def __init__(self) -> None:
        self._items: dict[str, Item] = {}

    def take(self, document: str, *, holder: str, now: datetime, until: datetime) -> Document | None:
        item = self._items.setdefault(document, {"document": document})
        if held_by_another(item, holder, now):
            return None
        item |= {"holder": holder, "held_until": until.timestamp()}
        item.pop("released_by", None)
        return to_document(document, item)

    def put(self, document: Document, *, holder: str) -> None:
        item = self._items.get(document.document, {})
        if holder not in {item.get("holder"), item.get("released_by")}:
            raise HoldLost(f"document {document.document} is held by another")
        self._items[document.document] = asdict(document) | {"released_by": holder}

    def get_many(self, documents: Iterable[str]) -> dict[str, Document]:
        return {key: to_document(key, self._items[key]) for key in dict.fromkeys(documents) if key in self._items}


class MemoryQueues:
    """`sent`: queue -> (group, message), in order. Like SQS, drops a `dedup` repeated within five minutes.

    Args:
        dlq_url: any name.
        now: seconds; without it the five minutes never pass.
    """

    def __init__(self, dlq_url: str = "dlq", *, now: Callable[[], float] = lambda: 0.0) -> None:
        self._dlq_url = dlq_url
        self._now = now
        self._last: dict[tuple[str, str], float] = {}
        self.hidden: list[tuple[str, str, float]] = []
        self.sent: dict[str, list[tuple[str, dict[str, Any]]]] = {}

    @property
    def parked(self) -> list[dict[str, Any]]:
        return [message for _, message in self.sent.get(self._dlq_url, [])]

    def park(self, message: Mapping[str, Any], group: str, dedup: str) -> None:
        self.send(self._dlq_url, message, group, dedup)

    def send(self, url: str, message: Mapping[str, Any], group: str, dedup: str) -> None:
        now = self._now()
        if now - self._last.get((url, dedup), -DEDUP_SECONDS) < DEDUP_SECONDS:
            return
        self._last[url, dedup] = now
        self.sent.setdefault(url, []).append((group, json.loads(json.dumps(message))))

    def hide(self, url: str, receipt: str, seconds: float) -> None:
        self.hidden.append((url, receipt, seconds))


class MemoryContracts:
    def __init__(self) -> None:
        self._items: dict[str, Remembered] = {}

    def get(self, contract: str) -> Remembered:
        return self._items.get(contract, Remembered(contract))

    def get_many(self, contracts: Iterable[str]) -> dict[str, Remembered]:
        return {contract: self._items[contract] for contract in contracts if contract in self._items}

    def put(self, remembered: Remembered) -> Remembered | None:
        if self.get(remembered.contract).version != remembered.version:
            return None
        kept = replace(remembered, version=remembered.version + 1)
        self._items[remembered.contract] = kept
        return kept


class MemoryWebhooks:
    """Raw webhooks by key: {"state", "body", ...}."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}

    def keep(self, webhook: "Webhook", body: str, now: datetime) -> bool:
        if self.items.get(webhook.key, {}).get("state", "received") != "received":
            return False
        self.items[webhook.key] = kept_item(webhook, body, now)
        return True

    def queued(self, key: str) -> None:
        self.items[key]["state"] = "queued"


class MemoryDeadLetters:
    """The letters of a MemoryQueues' dead-letter queue; of a group, at most one answer is out at a time.

    A text among `queues.sent[...]` stands for a body that is no JSON object. Nothing comes back by itself.
    """

    def __init__(self, queues: MemoryQueues, dlq_url: str = "dlq") -> None:
        self._letters: list[tuple[str, Any]] = cast("list[tuple[str, Any]]", queues.sent.setdefault(dlq_url, []))
        self._known: dict[int, tuple[str, Any]] = {}
        self._out: dict[str, tuple[str, Any]] = {}

    def receive(self, hidden_seconds: int) -> list[Letter]:
        del hidden_seconds
        busy = {group for group, _ in self._out.values()}
        found: list[Letter] = []
        for entry in self._letters:
            group, message = entry
            if group in busy or len(found) == MOST_LETTERS:
                continue
            self._known.setdefault(id(entry), entry)
            letter_id = f"letter-{list(self._known).index(id(entry)) + 1}"
            self._out[letter_id] = entry
            body = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
            found.append(Letter(letter_id, group, datetime.fromtimestamp(0, UTC), body, letter_id))
        return found

    def delete(self, letter: Letter) -> None:
        entry = self._out.pop(letter.receipt, None)
        self._letters[:] = [kept for kept in self._letters if kept is not entry]

    def put_back(self, letters: Sequence[Letter]) -> None:
        for letter in letters:
            self._out.pop(letter.receipt, None)

    def count(self) -> int:
        return len(self._letters)


class MemoryTasks:
    """Whoever starts a task adds its token to `waiting`; `ended` keeps what it was told."""

    def __init__(self) -> None:
        self.waiting: set[str] = set()
        self.ended: dict[str, dict[str, Any]] = {}

    def success(self, token: str, output: Mapping[str, Any]) -> bool:
        return self._end(token, {"output": dict(output)})

    def failure(self, token: str, error: str, cause: str) -> bool:
        return self._end(token, {"error": error, "cause": cause})

    def heartbeat(self, token: str) -> bool:
        return token in self.waiting

    def _end(self, token: str, told: dict[str, Any]) -> bool:
        if token not in self.waiting:
            return False
        self.waiting.discard(token)
        self.ended[token] = told
        return True


if TYPE_CHECKING:
    from billing.receive_webhook import Webhook, Webhooks
    from billing.store import ports
    from billing.store.dynamo import Item

    _same_interface: tuple[
        type[ports.Charges],
        type[ports.Lanes],
        type[ports.Runs],
        type[ports.Objects],
        type[ports.Secrets],
        type[ports.Documents],
        type[ports.Messages],
        type[Webhooks],
        type[ports.Contracts],
        type[ports.Letters],
        type[ports.Tasks],
    ] = (
        MemoryLedger,
        MemoryLanes,
        MemoryRuns,
        MemoryObjects,
        MemorySecrets,
        MemoryDocuments,
        MemoryQueues,
        MemoryWebhooks,
        MemoryContracts,
        MemoryDeadLetters,
        MemoryTasks,
    )
