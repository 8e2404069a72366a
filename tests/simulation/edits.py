"""Random edits in Jestor while its webhooks are dropped, doubled, delayed and come out of order; then one sweep.

The comparison at the end reads Jestor's rows and Omie's contracts as a person would, and none of our code: who is
active, what it costs, when it is due, what the invoice says and where it goes.
"""

import calendar
import heapq
import json
from collections import Counter
from datetime import date, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

from billing.domain.money import parse_money
from billing.domain.month import SAO_PAULO
from simulators.lab import demo_settings
from simulators.living_lab import LivingLab
from simulators.world import COMPANIES, CUSTOMER_ID, CUSTOMERS_TABLE, FIELDS, STATUS_LABELS

START = datetime(2026, 12, 2, 9, tzinfo=SAO_PAULO)
KINDS = {
    "unit_amount": 20, "quantity": 6, "discount": 5, "due_day": 6, "description": 5, "service": 4, "email": 5,
    "address": 3, "stop": 12, "start": 10, "company": 3, "prorate": 5, "later": 4, "unreadable": 2,
}  # fmt: skip


class Edits:
    """`edits` edits on a world of `contracts` that agree, then a sweep.

    `missed`: what differs before that sweep; `left`: what differs after it.
    """

    def __init__(self, seed: int, edits: int, contracts: int, *, bill_first: bool = False, loss: float = 0.2) -> None:
        self.random = Random(seed)
        self.edits = edits
        self.loss = loss
        start = START.replace(day=1, hour=6) if bill_first else START
        self.lab = LivingLab(contracts, seed, clean=True, start=start, settings=demo_settings())
        if bill_first:
            self.lab.run(trigger="operator")
            self.lab.clock.advance(3600)
        self.done: Counter[str] = Counter()
        self.on_the_way: list[tuple[float, int, Any]] = []
        self._numbers = count()
        self.missed: list[str] = []
        self.left: list[str] = []
        self.sweeps: list[dict[str, Any]] = []

    def run(self) -> "Edits":
        self.sweep()  # what both sides agreed on before anybody edits
        for _ in range(self.edits):
            self.edit()
            self.pass_time(self.random.choice((1, 5, 20, 90, 200)))
        for contract in self.lab.world.contracts:  # a person corrects what nobody can bill
            row = self.lab.row(contract.jestor_id)
            unit, discount = row[FIELDS["unit_amount"]], parse_money(row[FIELDS["discount"]] or 0)
            if unit == "a combinar" or int(row[FIELDS["quantity"]]) * parse_money(unit) <= discount:
                self.send(self.lab.edit(contract.jestor_id, {FIELDS["unit_amount"]: 1321.0}))
        self.pass_time(400)
        self.lab.drain()
        self.lab.clock.advance(3700)
        self.missed = self.differences()
        self.sweep()
        self.left = self.differences()
        return self

    def sweep(self) -> None:
        self.sweeps.append(self.lab.sweep())
        self.lab.drain()

    # --- what people do, and what becomes of its webhooks

    def edit(self) -> None:
        random, lab = self.random, self.lab
        contract = random.choice(lab.world.contracts)
        kind = random.choices(list(KINDS), list(KINDS.values()))[0]
        data = self._data(kind, contract)
        if data is None:
            return
        self.done[kind] += 1
        if kind in {"email", "address"}:
            customer = lab.row(contract.jestor_id)["cliente"][CUSTOMER_ID]
            self.send(lab.edit(customer, data, table=CUSTOMERS_TABLE))
        else:
            self.send(lab.edit(contract.jestor_id, data))

    def _data(self, kind: str, contract: Any) -> dict[str, Any] | None:
        random, row = self.random, self.lab.row(contract.jestor_id)
        company = next(c for c in COMPANIES.values() if c.jestor_label == row[FIELDS["company"]])
        amount = {FIELDS["unit_amount"]: random.randint(5000, 90000) / 100}
        match kind:
            case "unit_amount":
                return amount
            case "prorate":
                return amount | {FIELDS["change_mode"]: "Proporcional"}
            case "later":
                day = self.today() + timedelta(days=random.randint(1, 5))
                return amount | {FIELDS["change_from"]: day.isoformat()}
            case "unreadable":
                return {FIELDS["unit_amount"]: "a combinar"}
            case "quantity":
                return {FIELDS["quantity"]: random.randint(1, 5)}
            case "discount":
                return {FIELDS["discount"]: random.choice((None, 0, 5.5, "12,30"))}
            case "due_day":
                return {FIELDS["due_day"]: random.randint(1, 31)}
            case "description":
                return {FIELDS["description"]: f"Plano {random.randint(1, 99)} - ações & relatórios"}
            case "service":
                return {FIELDS["service"]: random.choice(sorted(company.services))}
            case "stop":
                return {FIELDS["status"]: random.choice(("Churn", "Suspenso"))}
            case "start":
                return {FIELDS["status"]: "Ativo"}
            case "email":
                return {FIELDS["email"].partition(".")[2]: f"financeiro{random.randint(1, 99)}@cliente.example"}
            case "address":
                return {FIELDS["endereco"].partition(".")[2]: f"Rua {random.randint(1, 99)}"}
            case "company" if (contract.omie_contrato["cabecalho"].get("cCodIntCtr") or "").strip() == contract.code:
                other = random.choice(list(COMPANIES.values()))
                moved = {FIELDS["company"]: other.jestor_label, FIELDS["omie_id"]: None}
                return moved | {FIELDS["service"]: random.choice(sorted(other.services))}
        return None

    def send(self, posts: Any) -> None:
        """Each post is lost, comes once or twice, at once or minutes later."""
        random = self.random
        for post in posts:
            if random.random() < self.loss:
                self.done["lost webhook"] += 1
                continue
            for _ in range(2 if random.random() < 0.2 else 1):
                delay = random.choice((0.0, 0.0, 1.0, 30.0, 250.0))
                heapq.heappush(self.on_the_way, (self.lab.now() + delay, next(self._numbers), post))

    def pass_time(self, seconds: float) -> None:
        lab, until = self.lab, self.lab.now() + seconds
        while True:
            while self.on_the_way and self.on_the_way[0][0] <= lab.now():
                lab.arrive(heapq.heappop(self.on_the_way)[2])
            self.send(lab.echoes)
            lab.echoes.clear()
            ready = lab.actions()
            if ready:
                self.random.choice(ready)()
            elif lab.now() < until:
                next_post = self.on_the_way[0][0] - lab.now() if self.on_the_way else seconds
                lab.clock.advance(min(max(next_post, 0.1), until - lab.now() + 0.001))
            if lab.now() >= until:
                return

    # --- the comparison

    def today(self) -> date:
        return self.lab.clock.now().astimezone(SAO_PAULO).date()

    def differences(self) -> list[str]:
        return [line for contract in self.lab.world.contracts for line in self._compare(contract)]

    def _compare(self, contract: Any) -> list[str]:
        row = self.lab.row(contract.jestor_id)
        company = next(key for key, c in COMPANIES.items() if c.jestor_label == row[FIELDS["company"]])
        number = contract.omie_contrato["cabecalho"]["nCodCtr"]
        active = STATUS_LABELS[row[FIELDS["status"]]] == "active"
        lines = []
        for key, app in self.lab.omie.apps.items():
            for held in app.contract_list:
                if held.nCodCtr != number and held.cCodIntCtr != contract.code:
                    continue
                if not (active and key == company):
                    if held.cCodSit == "10":
                        lines.append(f"{contract.code}: active in {key}, Jestor says {row[FIELDS['status']]} {company}")
                    continue
                later = row[FIELDS["change_from"]]
                if held.cCodSit != "10":
                    lines.append(f"{contract.code}: {held.cCodSit} in {key}, Jestor says active")
                elif not (later and str(later) > self.today().isoformat()):
                    lines += [f"{contract.code}: {what}" for what in _content(row, held.cadastro())]
        return lines


def _content(row: dict[str, Any], cadastro: dict[str, Any]) -> list[str]:
    def field(word: str) -> Any:
        value: Any = row
        for part in FIELDS[word].split("."):
            value = value[part]
        return value

    item = next(i for i in cadastro["itensContrato"] if i["itemCabecalho"]["codIntItem"].startswith("JST-"))
    head = item["itemCabecalho"]
    wanted = int(field("quantity") or 1) * parse_money(field("unit_amount")) - parse_money(field("discount") or 0)
    shown = round(head["quant"] * head["valorUnit"] * 100) - round((head.get("valorDesconto") or 0) * 100)
    services = {label: s.codServico for c in COMPANIES.values() for label, s in c.services.items()}
    day = int(field("due_day"))
    clamped = {min(day, calendar.monthrange(2027, month)[1]) for month in range(1, 13)}
    pairs = {
        "amount": (shown == wanted, shown, wanted),
        "service": (head["codServico"] == services[field("service")], head["codServico"], field("service")),
        "text": (item["itemDescrServ"]["descrCompleta"] == field("description"), "", field("description")),
        "due day": (cadastro["vencTextos"]["nDiaFixo"] in clamped, cadastro["vencTextos"]["nDiaFixo"], day),
        "e-mail": (cadastro["emailCliente"]["cUtilizarEmails"] == field("email"), "", ""),
    }
    return [f"{name} {seen} for {want}" for name, (agrees, seen, want) in pairs.items() if not agrees]


def as_told(edits: Edits) -> str:
    """One line for the person who ran it."""
    calls = {name: method.count for name, method in sorted(edits.lab.omie.book.methods.items())}
    return json.dumps({"edits": sum(edits.done.values()), "left": len(edits.left), "calls": calls})
