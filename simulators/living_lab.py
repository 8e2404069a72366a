"""The month's lab with the living contract around it: webhooks, their queues, the workers, the lane's orders.

    lab = LivingLab(contracts=50, seed=1)
    posts = lab.edit(12, {FIELDS["status"]: "Churn"})      a person works in Jestor; what its triggers would send
    lab.arrive(posts[0])                                   one of them reaches the receiver
    lab.drain()                                            everything that follows from it

Nothing arrives by itself: whoever edits decides which posts come, when, in which order and how often.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from billing import agree, change_contract, churn_contract, deliver_invoice
from billing.agree import AgreeDeps
from billing.bootstrap import LANE_WAIT
from billing.jestor.client import JestorClient
from billing.living import LivingDeps, LivingUrls
from billing.receive_webhook import Known, ReceiveDeps, Request, Sender, receive_webhook
from billing.sweep_contracts import SweepDeps, SweepUrls, sweep_contracts
from billing.update_jestor import UpdateDeps, update_jestor
from simulators.jestor.triggers import builder_defined
from simulators.lab import (
    JESTOR_URL,
    MAX_RECEIVES,
    OMIE_WRITES,
    Fifo,
    JestorLine,
    Killed,
    Lab,
    Message,
    Reply,
)
from simulators.memory_store import MemoryContracts, MemoryQueues, MemoryWebhooks
from simulators.world import CONTRACTS_TABLE, CUSTOMERS_TABLE, FIELDS, JESTOR_TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from billing.deliver_invoice import InvoiceDeps
    from billing.plan_company import PlanDeps
    from billing.receive_webhook import Answer, Route
    from billing.sweep_invoices import InvoiceSweepDeps
    from simulators.clock import VirtualClock
    from simulators.jestor.core import JestorCore
    from simulators.jestor.triggers import Post

Json = dict[str, Any]

CHANGES, CHURNS, INVOICES, JESTOR_WRITES = "changes", "churns", "invoices", "jestor-writes"
SECRET: Final = "lab-webhook-secret"  # noqa: S105 - obviously fake
OMIE_TOKEN: Final = "lab-omie-"  # noqa: S105 - likewise; a company's key follows
INVOICE_DELAY: Final = 75.0
"""Seconds a hint about an invoice rests in its queue (InvoiceDelaySeconds in template.yaml)."""
STOPPED: Final = ("Churn", "Suspenso")
"""The status labels on which the builder's script calls the churn address."""


class RoutingQueues(MemoryQueues):
    """Sends into the lab's FIFO queues what has one, and keeps the rest."""

    def __init__(self, lab: LivingLab) -> None:
        super().__init__(now=lab.now)
        self._lab = lab

    def send(self, url: str, message: Mapping[str, Any], group: str, dedup: str) -> None:
        before = len(self.sent.get(url, ()))
        super().send(url, message, group, dedup)
        if len(self.sent.get(url, ())) == before:
            return  # SQS has heard this one within five minutes
        queue = self._lab.queue(url)
        if queue is not None:
            self.sent[url].pop()
            queue.send(group, json.loads(json.dumps(message)))
            if url == INVOICES:
                queue.messages[-1].visible_at = self._lab.now() + INVOICE_DELAY

    def hide(self, url: str, receipt: str, seconds: float) -> None:
        queue = self._lab.queue(url)
        for message in queue.messages if queue else ():
            if str(message.number) == receipt:
                message.visible_at = self._lab.now() + max(seconds, 0.0)


class _TellingLine(JestorLine):
    """Jestor's triggers fire on our own writes, too."""

    def __init__(
        self, core: JestorCore, clock: VirtualClock, step: Any, tell: Callable[[tuple[Post, ...]], None]
    ) -> None:
        super().__init__(core, clock, step)
        self._tell = tell

    def _post(self, path: str, content: bytes, headers: dict[str, str]) -> Reply:
        before = self._core.handle

        def handle(*args: Any, **kwargs: Any) -> Any:
            answer = before(*args, **kwargs)
            self._tell(answer.posts)
            return answer

        self._core.handle = handle  # type: ignore[method-assign]
        try:
            return super()._post(path, content, headers)
        finally:
            self._core.handle = before  # type: ignore[method-assign]


class LivingLab(Lab):
    """As Lab; `echoes` are the posts that our own writes to Jestor set off, for whoever wants them to arrive."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.contracts = MemoryContracts()
        self.webhooks = MemoryWebhooks()
        self.fifos = {CHANGES: Fifo(), CHURNS: Fifo(), INVOICES: Fifo(), JESTOR_WRITES: Fifo()}
        self.queues = RoutingQueues(self)
        self.jestor.triggers = builder_defined("/webhooks/jestor/contract", SECRET)
        self.echoes: list[Post] = []
        self.labels: dict[str, Any] = {}
        self.resting: dict[str, float] = {}
        self.outcomes: list[tuple[str, Json]] = []
        """(function, its answer), as the logs would tell."""

    def queue(self, url: str) -> Fifo | None:
        return self.fifo if url == OMIE_WRITES else self.fifos.get(url)

    # --- what the functions are given

    def jestor_client(self, attempts: int = 6) -> JestorClient:
        line = cast("httpx.Client", _TellingLine(self.jestor, self.clock, self.step, self.echoes.extend))
        return JestorClient(JESTOR_URL, JESTOR_TOKEN, http=line, clock=self.clock, attempts=attempts)

    def plan_deps(self) -> PlanDeps:
        return replace(super().plan_deps(), contracts=self.port("contracts", self.contracts))

    def receive_deps(self) -> ReceiveDeps:
        lab = self

        class Senders:
            def known(self, *, fresh: bool = False) -> Known:
                del fresh
                apps = lab.omie.apps.items()
                return Known(
                    jestor=(SECRET,), omie={key: Sender((OMIE_TOKEN + key,), app.app_key) for key, app in apps}
                )

        return ReceiveDeps(
            senders=Senders(),
            webhooks=lab.webhooks,
            holds=self.port("ledger", self.ledger),
            queues=self.port("queues", self.queues),
            urls={"changes": CHANGES, "churns": CHURNS, "invoices": INVOICES},
            clock=self.clock,
            tell=lambda outcome, **facts: lab.outcomes.append(("receive_webhook", {"outcome": outcome, **facts})),
        )

    def living_deps(self) -> LivingDeps:
        return LivingDeps(
            settings=self.settings,
            ledger=self.port("ledger", self.ledger),
            contracts=self.port("contracts", self.contracts),
            queues=self.port("queues", self.queues),
            jestor=self.jestor_client,
            clock=self.clock,
            urls=LivingUrls(changes=CHANGES, churns=CHURNS, omie_writes=OMIE_WRITES),
            labels=self.labels,
        )

    def agree_deps(self) -> AgreeDeps:
        lanes = self.port("lanes", self.lanes)
        return AgreeDeps(
            settings=self.settings,
            ledger=self.port("ledger", self.ledger),
            lanes=lanes,
            runs=self.port("runs", self.runs),
            contracts=self.port("contracts", self.contracts),
            queues=self.port("queues", self.queues),
            omie=self.omie_clients(self._counting(lanes), repeats=False, read_attempts=1, longest_wait=LANE_WAIT),
            jestor=partial(self.jestor_client, 1),
            clock=self.clock,
            urls=agree.Urls(changes=CHANGES, jestor_writes=JESTOR_WRITES),
            labels=self.labels,
            resting=self.resting,
            new_attempt=self.new_attempt,
        )

    def invoice_deps(self) -> InvoiceDeps:
        return replace(super().invoice_deps(), invoice_events_url=INVOICES)

    def invoice_sweep_deps(self) -> InvoiceSweepDeps:
        return replace(super().invoice_sweep_deps(), invoice_events_url=INVOICES)

    def sweep_deps(self) -> SweepDeps:
        return SweepDeps(
            settings=self.settings,
            jestor=self.jestor_client,
            omie=self.readers(),
            ledger=self.port("ledger", self.ledger),
            runs=self.port("runs", self.runs),
            contracts=self.port("contracts", self.contracts),
            objects=self.port("objects", self.objects),
            queues=self.port("queues", self.queues),
            notifier=self.notes,
            clock=self.clock,
            urls=SweepUrls(churns=CHURNS, omie_writes=OMIE_WRITES),
        )

    # --- how it goes

    def edit(self, jestor_id: int, data: Mapping[str, Any], *, table: str = CONTRACTS_TABLE) -> list[Post]:
        """A person changes a record; the posts of its triggers, none of which has arrived yet."""
        change = {"table": table, "id": jestor_id, "data": dict(data)}
        return list(self.jestor.edit(change, self.now()))

    def arrive(self, post: Post) -> Answer:
        """The post reaches the receiver now; the churn address, when the status it speaks of stops the contract."""
        content = json.loads(post.body)
        stopped = content.get("status") in STOPPED and content["status"] != content.get("status_anterior")
        route: Route = "churn" if stopped and post.table != CUSTOMERS_TABLE else "contract"
        return receive_webhook(Request(route, dict(post.headers), post.body), self.receive_deps())

    def arrive_from_omie(self, company: str, body: bytes) -> Answer:
        """What is posted to the company's Omie address, by Omie or by anybody who has seen one of its webhooks."""
        return receive_webhook(Request("omie", {}, body, OMIE_TOKEN + company), self.receive_deps())

    def row(self, jestor_id: int) -> Json:
        """The contract as Jestor has it, its customer nested."""
        table = self.jestor.tables[CONTRACTS_TABLE]
        return self.jestor._shown(table, table.rows[jestor_id], nested=True)  # noqa: SLF001 - as a person sees it

    def status(self, jestor_id: int) -> str:
        return str(self.row(jestor_id)[FIELDS["status"]])

    def sweep(self, **event: Any) -> Json:
        """As the daily schedule does; what it answered."""
        self.omie.advance(self.now())
        with self.process("sweep_contracts"):
            return sweep_contracts(event, self.sweep_deps())

    def deliver(self, message: Message) -> None:
        if "order" not in message.body:
            super().deliver(message)
            return
        if not self.fifo.receive(message, self.now()):
            return
        try:
            with self.process("bill_batch"):
                answer = agree.take(json.dumps(message.body), self.agree_deps())
        except Killed:
            self.warm, self.warm_answers, self.labels, self.resting = {}, {}, {}, {}
            return
        except Exception as error:  # noqa: BLE001 - the message comes again after its visibility time-out
            self.outcomes.append(("agree", {"error": repr(error)}))
            return
        self.outcomes.append(("agree", answer))
        self.fifo.delete(message)

    def deliver_hint(self, name: str, message: Message) -> None:
        """Lambda takes one message out of one of the living contract's queues."""
        queue = self.fifos[name]
        if not queue.receive(message, self.now()):
            return
        record = {
            "body": json.dumps(message.body),
            "messageId": f"{name}-{message.number}",
            "receiptHandle": str(message.number),
            "attributes": {"ApproximateReceiveCount": str(message.receives)},
        }
        try:
            answer = self._work(name, record)
        except Killed:
            self.labels = {}
            return
        except Exception as error:  # noqa: BLE001 - likewise
            self.outcomes.append((name, {"error": repr(error)}))
            return
        self.outcomes.append((name, answer))
        if not answer.get("later"):
            queue.delete(message)

    def _work(self, name: str, record: Mapping[str, Any]) -> Json:
        match name:
            case "changes":
                with self.process("change_contract"):
                    return change_contract.take(record, self.living_deps())
            case "churns":
                with self.process("churn_contract"):
                    return churn_contract.take(record, self.living_deps())
            case "invoices":
                with self.process("deliver_invoice"):
                    return deliver_invoice.take(record, self.invoice_deps())
            case "jestor-writes":
                deps = UpdateDeps(self.settings, self.jestor_client, self.queues, self.clock)
                with self.process("update_jestor"):
                    return update_jestor(json.loads(record["body"]), deps)
        return {}

    def actions(self) -> list[Callable[[], None]]:
        found = super().actions()
        now = self.now()
        for name, queue in self.fifos.items():
            found += [partial(self.deliver_hint, name, message) for message in queue.ready(now)]
        return found

    def wait(self) -> bool:
        times = [wake for execution in self.executions if (wake := execution.next_wake()) is not None]
        for queue in (self.fifo, *self.fifos.values()):
            times += [message.visible_at for message in queue.messages]
        now = self.now()
        later = [at for at in times if at > now]
        if later:
            self.clock.advance(min(later) - now + 0.001)
        return bool(later)


__all__ = ["MAX_RECEIVES", "LivingLab"]
