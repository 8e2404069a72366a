"""The Omie simulator without sockets, threads or a clock: `handle` takes a request and the time, answers bytes.

The order of the checks is part of the behaviour: address, minute of the IP, JSON, key, method, block, minute and
simultaneity of the method, repetition, parameter, then the method itself. Faults come in its place or after it.
"""

from __future__ import annotations

import json
from collections import deque
from email.utils import formatdate
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from simulators.omie import (
    answers,
    billing,
    contracts,
    customers,
    invoices,
    movements,
    orders,
    receivables,
    registers,
    schema,
)
from simulators.omie.answers import Answer, Json, OmieFault, Rendered
from simulators.omie.dates import hour_of, iso
from simulators.omie.faults import MAYBE_EXECUTED, Fault, FaultPlan
from simulators.omie.limits import MINUTE, Limits, Line, TooManyError
from simulators.omie.state import App, Call, Handler, Sim
from simulators.omie.switches import Switches
from simulators.omie.webhooks import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from simulators.world import World

API: Final = "/api/v1"

HANDLERS: Final[Mapping[str, Mapping[str, Handler]]] = {
    contracts.PATH: contracts.METHODS,
    billing.PATH: billing.METHODS,
    billing.LOT_PATH: billing.LOT_METHODS,
    billing.TYPES_PATH: billing.TYPES_METHODS,
    orders.PATH: orders.METHODS,
    orders.STEPS_PATH: orders.STEPS_METHODS,
    orders.LOT_PATH: orders.LOT_METHODS,
    invoices.PATH: invoices.METHODS,
    invoices.DOCS_PATH: invoices.DOCS_METHODS,
    receivables.PATH: receivables.METHODS,
    receivables.BOLETO_PATH: receivables.BOLETO_METHODS,
    movements.PATH: movements.METHODS,
    movements.SEARCH_PATH: movements.SEARCH_METHODS,
    customers.PATH: customers.METHODS,
    registers.PATH: registers.METHODS,
    registers.ACCOUNT_PATH: registers.ACCOUNT_METHODS,
    registers.CATEGORY_PATH: registers.CATEGORY_METHODS,
}

LONGEST_KEPT: Final = 100_000
"""Bytes of an answer that is given a second time; whole pages of large accounts are not."""
SOFT_ERROR_TEXT: Final = "Não foi possível concluir a operação neste momento."


class _Method(NamedTuple):
    name: str
    handler: Handler
    param: schema.Complex


class _Open(NamedTuple):
    """A request whose method and key are known."""

    app: App
    method: _Method
    param: object
    text: str
    line: Line


def _methods() -> dict[str, dict[str, _Method]]:
    """URL -> call -> what runs it, with its parameter's type."""
    services = schema.services()
    return {
        f"{API}{path}": {name: _Method(name, handler, services[path][name].param) for name, handler in handlers.items()}
        for path, handlers in HANDLERS.items()
    }


class OmieCore:
    """One Omie with any number of apps (companies).

    apps: the companies, with their data (`apps_of(world)` makes them). latency_ms: mean time of a call.
    A call made at `now` is in flight until `now + answer.delay`: a virtual clock should move so far before the
    next call of a serial client.
    """

    def __init__(
        self,
        apps: Iterable[App],
        *,
        switches: Switches | None = None,
        faults: Iterable[Fault] = (),
        seed: int = 0,
        latency_ms: float = 60.0,
    ) -> None:
        self.switches = switches or Switches()
        self.faults = FaultPlan(faults, seed=seed)
        self.outbox = Outbox(self.faults, seed=seed)
        self.sim = Sim(self.switches, self.outbox, seed=seed)
        self.book = self.sim.book
        self.limits = Limits(self.switches, self.book)
        self.latency = latency_ms / 1000
        self.apps = {app.company: app for app in apps}
        self._by_key = {app.app_key: app for app in self.apps.values()}
        self._methods = _methods()
        self._random = Random(f"latency-{seed}")
        self._kept: dict[tuple[str, str, str], Answer] = {}
        self._kept_at: deque[tuple[float, tuple[str, str, str]]] = deque()

    # ------------------------------------------------------------------------------------------ one request

    def handle(self, path: str, body: bytes, *, now: float, ip: str = "127.0.0.1") -> Answer:
        """Answer one POST.

        path: from "/api/v1/..." on, with the trailing slash. now: epoch seconds, never going backwards.
        """
        now += self.switches.clock_offset
        self.sim.advance(now)
        methods = self._methods.get(path)
        if methods is None:
            if f"{path}/" not in self._methods:
                return self._plain(404, answers.HTML_404)
            if self.switches.missing_slash == "redirect":
                headers = {"content-type": answers.HTML_TYPE, "location": f"{path}/"}
                return Answer(301, headers, b"", self._latency(), lost=False)
            methods = self._methods[f"{path}/"]
        try:
            self.limits.admit_ip(ip, now)
            app, method, param = self._read(methods, body)
        except TooManyError:
            return self._too_many()
        except OmieFault as fault:
            self.book.refused["envelope"] += 1
            return self._fault(fault)
        line = self.limits.line(ip, app.app_key, method.name)
        return self._admitted(app, method, param, line, now)

    def _read(self, methods: Mapping[str, _Method], body: bytes) -> tuple[App, _Method, object]:
        try:
            request = json.loads(body)
        except ValueError:
            raise OmieFault(answers.CLIENT, "ERROR: JSON request with SyntaxError") from None
        if not isinstance(request, dict):
            raise OmieFault(answers.CLIENT, "ERROR: Invalid JSON Object")
        key, secret = request.get("app_key"), request.get("app_secret")
        if not key or not secret:
            raise answers.NO_KEY
        app = self._by_key.get(str(key))
        if app is None or app.app_secret != secret:
            raise answers.BAD_KEY
        method = methods.get(str(request.get("call")))
        if method is None:
            raise OmieFault(answers.CLIENT, f"error Method {request.get('call')} not exists")
        return app, method, request.get("param")

    def _admitted(self, app: App, method: _Method, param: object, line: Line, now: float) -> Answer:
        """Limits, then the fault or the method; everything from here on is in the book."""
        name, write, limits = method.name, method.handler.write, self.limits
        text = json.dumps(param, sort_keys=True, separators=(",", ":"))
        try:
            limits.admit(line, app.company, app.app_key, name, now, write=write)
        except TooManyError:
            answer = self._too_many()
        except OmieFault as fault:
            answer = self._fault(fault)
            if fault.status != 425 and self.switches.busy_counts:
                limits.error(line, app.company, app.app_key, name, now)
        else:
            answer = self._run(_Open(app, method, param, text, line), now)
        ok = answer.status == 200 and not answer.lost
        self.book.call(name, write=write, ok=ok, latency=answer.delay)
        return answer

    def _run(self, call: _Open, now: float) -> Answer:
        app, method, line = call.app, call.method, call.line
        name, write, limits = method.name, method.handler.write, self.limits
        delay = self._latency()
        again = 0
        try:
            again = limits.admit_again(app.company, app.app_key, name, call.text, now)
            if not write and isinstance(call.param, list) and len(call.param) == 1:
                limits.admit_lookup(app.company, app.app_key, name, _as_dict(call.param[0]), now)
        except OmieFault as fault:
            if self.switches.redundant_counts:
                limits.error(line, app.company, app.app_key, name, now)
            return self._fault(fault, delay / 4)
        fault_rule = self.faults.draw(name, app.company, call.text, write=write)
        question = (app.app_key, name, call.text)
        if fault_rule is None and again > 1 and (kept := self._kept.get(question)) and not write:
            answer = kept._replace(delay=delay)
        elif fault_rule is None:
            answer = self._execute(call, now, delay)
            if again == 1 and not write and self.switches.repeated_read == "cached":
                self._keep(question, answer, now)
        else:
            self.book.faults[fault_rule.kind] += 1
            self.book.faulted[f"{name} {fault_rule.kind}"] += 1
            answer = self._faulty(fault_rule, call, now, delay)
        written_by = now + min(delay, answer.delay)  # what is refused is answered at once
        limits.begin(line, app.app_key, write=write, until=now + answer.delay, written_by=written_by)
        return answer

    def _keep(self, question: tuple[str, str, str], answer: Answer, now: float) -> None:
        """For who asks the same within the minute. Whatever is older is dropped."""
        while self._kept_at and self._kept_at[0][0] <= now - MINUTE:
            self._kept.pop(self._kept_at.popleft()[1], None)
        if answer.status == 200 and len(answer.body) < LONGEST_KEPT:
            self._kept[question] = answer
            self._kept_at.append((now, question))

    def _execute(self, call: _Open, now: float, delay: float) -> Answer:
        try:
            reply = self._result(call, now)
        except OmieFault as fault:
            if self.switches.empty_page_counts or not fault.code.endswith("-5113"):
                self.limits.error(call.line, call.app.company, call.app.app_key, call.method.name, now)
            return self._fault(fault, delay)
        in_flight = len(call.line.in_flight) + 1
        headers = {
            "content-type": answers.JSON_TYPE,
            "X-Omie-ParallelRateLimit": f"{in_flight}/{self.switches.in_flight}",
        }
        body = reply.text if isinstance(reply, Rendered) else answers.dumps(reply)
        return Answer(200, headers, body.encode(), delay, lost=False)

    def _result(self, call: _Open, now: float) -> Any:
        param = call.param
        if not isinstance(param, list) or len(param) != 1 or not isinstance(param[0], dict):
            if not param:
                raise answers.NO_PARAM
            raise OmieFault(answers.CLIENT, "ERROR: A tag [param] deve conter exatamente um objeto!")
        if not param[0]:
            raise answers.NO_PARAM
        schema.check(param[0], call.method.param, nulls=self.switches.null_values == "accept")
        return call.method.handler.run(Call(self.sim, call.app, now, call.method.name), param[0])

    # --------------------------------------------------------------------------------------------- faults

    def _faulty(self, fault: Fault, call: _Open, now: float, delay: float) -> Answer:
        """What the client sees, and whether Omie did it nevertheless."""
        kind, app, name = fault.kind, call.app, call.method.name
        if kind == "slow":
            answer = self._execute(call, now, delay)
            return answer._replace(delay=answer.delay + fault.seconds)
        if kind == "lost_reply":
            return self._execute(call, now, delay)._replace(lost=True)
        if kind in ("lost_request", "late_execution"):
            if kind == "late_execution":
                self.sim.later(now + fault.seconds, partial(self._execute_late, call))
            return Answer(0, {}, b"", delay, lost=True)
        if kind == "too_many_requests":
            return self._too_many()
        if kind == "busy":
            return self._fault(answers.busy(), delay / 4)
        if kind == "redundant":
            return self._fault(answers.redundant(60), delay / 4)
        if kind == "blocked":
            self.limits.block(app.company, app.app_key, name, now, fault.seconds)
            return self._fault(answers.blocked(int(fault.seconds)), delay / 4)
        if kind == "soft_error":
            reply: Json = {"cCodStatus": "101", "cDescStatus": SOFT_ERROR_TEXT, "cDesStatus": SOFT_ERROR_TEXT}
            return Answer(200, {"content-type": answers.JSON_TYPE}, answers.dumps(reply).encode(), delay, lost=False)
        if kind in MAYBE_EXECUTED and self.faults.executed(fault):
            self._execute(call, now, delay)
        if self.switches.server_faults_count:
            self.limits.error(call.line, app.company, app.app_key, name, now)
        return self._disguise(kind, now, delay)

    def _disguise(self, kind: str, now: float, delay: float) -> Answer:
        if kind == "html":
            return self._plain(502, answers.HTML_502, delay)
        if kind == "server_error":
            return self._plain(503, "", delay)
        if kind == "not_json":
            return Answer(200, {"content-type": answers.JSON_TYPE}, b'{"nCodCtr":', delay, lost=False)
        if kind == "broken_response":
            return self._fault(answers.BROKEN_RESPONSE, delay)
        if kind == "already_processing":
            return self._fault(answers.already_processing(hour_of(now + 60)), delay)
        if kind == "proto_byebye":
            return self._fault(OmieFault(answers.SERVER, "PROTO_BYEBYE"), delay)
        return self._fault(OmieFault(answers.CLIENT, "ERROR: Erro interno não catalogado (WS-77)."), delay)

    def _execute_late(self, call: _Open, now: float) -> None:
        """An abandoned call that Omie finishes after all."""
        result = "executed"
        try:
            self._result(call, now)
        except OmieFault as fault:
            result = fault.text
        self.book.lost_late.append(
            {"company": call.app.company, "method": call.method.name, "at": iso(now), "result": result}
        )

    # ---------------------------------------------------------------------------------- outside the API

    def advance(self, now: float) -> None:
        """Let everything happen that was due by `now` (NFS-e, titles, boletos, lots, late executions)."""
        self.sim.advance(now + self.switches.clock_offset)

    def bill_by_person(self, company: str, nCodCtr: int, *, now: float) -> int:
        """A person clicks "Faturar" in Omie's own screen; the order's nCodOS.

        Raises:
            KeyError: no such company or contract.
            OmieFault: the contract cannot be billed.
        """
        now += self.switches.clock_offset
        self.sim.advance(now)
        app = self.apps[company]
        return billing.bill(self.sim, app, app.contracts[nCodCtr], now, "person").nCodOS

    def cancel_by_person(self, company: str, nCodOS: int, *, now: float) -> None:
        """A person cancels an order, with its NFS-e and titles, in Omie's own screen.

        Raises:
            KeyError: no such company or order.
        """
        now += self.switches.clock_offset
        self.sim.advance(now)
        app = self.apps[company]
        invoices.cancel_order(self.sim, app, app.orders[nCodOS], now, nfse=True)

    def edit_by_person(self, company: str, nCodCtr: int, edit: Callable[[Json], object], *, now: float) -> None:
        """A person changes a contract in Omie's own screen: `edit` changes the contratoCadastro it is given.

        Raises:
            KeyError: no such company or contract.
        """
        now += self.switches.clock_offset
        self.sim.advance(now)
        app = self.apps[company]
        cadastro = app.contracts[nCodCtr].cadastro()
        edit(cadastro)
        contracts.keep(app, cadastro, app.contracts[nCodCtr], now, self.sim.record_lag())

    def bill_all(self, company: str, *, now: float, origin: str = "SCH") -> None:
        """Omie's own schedule bills what is in stage 20; or a person does ("MAN")."""
        now += self.switches.clock_offset
        self.sim.advance(now)
        billing.bill_all(self.sim, self.apps[company], now, origin)

    def date_header(self, now: float) -> str:
        """The `Date` header of an answer that leaves at `now`: whole seconds by Omie's own clock."""
        return formatdate(now + self.switches.clock_offset, usegmt=True)

    def read_book(self, *, billings: bool = True) -> dict[str, Any]:
        """The book, with what is queued for webhooks."""
        return {**self.book.to_dict(billings=billings), "webhooks": self.outbox.pending()}

    # --------------------------------------------------------------------------------------------- replies

    def _latency(self) -> float:
        """Half of the mean is sure, the rest is chance."""
        return self.latency * (0.5 + 0.5 * self._random.expovariate(1.0)) if self.latency else 0.0

    def _fault(self, fault: OmieFault, delay: float | None = None) -> Answer:
        headers, body = answers.fault_body(fault)
        return Answer(fault.status, headers, body, self._latency() / 4 if delay is None else delay, lost=False)

    def _too_many(self) -> Answer:
        body = answers.too_many_body(f"{self._random.getrandbits(64):016x}")
        return Answer(429, {"content-type": answers.JSON_TYPE}, body, self._latency() / 4, lost=False)

    def _plain(self, status: int, text: str, delay: float | None = None) -> Answer:
        wait = self._latency() / 4 if delay is None else delay
        return Answer(status, {"content-type": answers.HTML_TYPE}, text.encode(), wait, lost=False)


def _as_dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}


# -------------------------------------------------------------------------------------------- from the world


def apps_of(world: World, *, now: float) -> list[App]:
    """The Omie side of a world: per company its register of services, account, customers and contracts."""
    apps = {}
    for company in world.companies.values():
        app = App(
            company.key,
            company.app_key,
            company.app_secret,
            document=company.document,
            first_id=company.first_id,
        )
        app.accounts[company.nCodCC] = _account(company.nCodCC, company.name)
        app.categories = {row["codigo"]: row for row in _categories()}
        for label, service in company.services.items():
            app.services[service.codServico] = _service(label, service)
        apps[company.key] = app
    for contract in world.contracts:
        app = apps[contract.omie_company]
        customer = contract.omie_cliente
        if customer is not None and int(customer["codigo_cliente_omie"]) not in app.customers:
            app.add_customer(customer)
        cadastro = contract.omie_contrato
        if cadastro is not None:
            contracts.load(app, cadastro, now)
    return list(apps.values())


def _categories() -> list[Json]:
    category = registers.category
    return [
        category("1", "Receitas", totalizadora="S"),
        category("1.01", "Receitas Diretas", totalizadora="S"),
        category("1.01.01", "Clientes - Revenda de Mercadoria"),
        category("1.01.02", "Clientes - Serviços Prestados"),
        category("1.01.03", "Clientes - Assinaturas"),
        category("1.01.99", "Outras Receitas (antiga)", conta_inativa="S"),
        category("2.04.01", "Tarifas Bancárias", conta_receita="N", conta_despesa="S"),
    ]


def _account(nCodCC: int, name: str) -> Json:
    return {
        "nCodCC": nCodCC,
        "cCodCCInt": "",
        "descricao": f"Conta {name}"[:40],
        "tipo_conta_corrente": "CC",
        "codigo_banco": "341",
        "codigo_agencia": "0001",
        "numero_conta_corrente": "12345-6",
        "cobr_sn": "S",
        "bol_sn": "S",
        "per_juros": 0,
        "per_multa": 0,
        "inativo": "N",
    }


def _service(label: str, service: Any) -> Json:
    return {
        "intListar": {"cCodIntServ": "", "nCodServ": service.codServico},
        "cabecalho": {
            "cCodigo": f"SRV{service.codServico % 10000:04}",
            "cDescricao": label,
            "cCodLC116": service.codLC116,
            "cCodServMun": service.codServMunic,
            "cIdTrib": service.natOperacao,
            "nIdNBS": "",
            "nPrecoUnit": service.price / 100,
            "cCodCateg": "",
        },
        "descricao": {"cDescrCompleta": service.description},
        "impostos": {"nAliqISS": service.aliqISS, "cRetISS": service.retISS},
        "info": {"inativo": "N"},
    }
