"""What must be true at the end of every schedule, read from Omie's book and state, the plans and the ledger alone.

Each broken promise is one line. `forgiven` counts what no program could have prevented (see docs/exactly-once.md).
"""

import json
from collections import defaultdict
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from billing.bill_batch import LOOK_HOLDS_FOR
from billing.domain.charge import MONTHLY, Charge, Event, State, known_order
from billing.domain.plan import plan_hash
from billing.parking import REJECTED
from billing.settings import FUNCTION_TIMEOUT_SECONDS
from simulators.lab import Lab
from simulators.omie.book import Billing
from tests.simulation.adversary import LONGEST_ABANDONED, Adversary

HARD_LIMITS = frozenset({"ip_per_minute", "method_per_minute", "in_flight", "parallel_write"})


class Verdict(NamedTuple):
    """`unmeasured`: billed twice because the lists were later than assumed, and no known order could show it.

    `false_parks`: parked at the end although no person touched the contract and Omie refused nothing.
    """

    broken: list[str]
    forgiven: list[str]
    unmeasured: list[str]
    false_parks: list[str]


def check(adversary: Adversary) -> Verdict:
    for code in sorted(adversary.witness.claims_when_held):
        adversary.hold_kept(code)
    return _Check(adversary).run()


class _Check:
    def __init__(self, adversary: Adversary) -> None:
        self.lab = adversary.lab
        self.witness = adversary.witness
        self.late = adversary.late
        self.apps = [*adversary.lab.omie.apps.values()]
        self.read_lag = adversary.read_lag
        self.nobody_can_tell = NOBODY_CAN_TELL + adversary.list_lag
        self.named_after = adversary.named_after
        self.charges = [charge for charge in adversary.charges() if charge.key.kind == MONTHLY]
        self.broken: list[str] = []
        self.forgiven: list[str] = []
        self.unmeasured: list[str] = []
        self.planned = _planned(self.lab)
        self.cancelled: dict[tuple[str, str], list[Billing]] = defaultdict(list)
        """(code, month) -> the orders that a person cancelled."""
        self.orders = self._orders()

    def run(self) -> Verdict:
        self._twice()
        self._ledger_is_true()
        self._lost()
        self._amounts()
        self._old_plans()
        self._intervals()
        self._revived()
        self._created_beside()
        self._missed()
        self._limits()
        self.broken += [f"{code}: claimed although it was on hold" for code in self.witness.claimed_on_hold]
        return Verdict(self.broken, self.forgiven, self.unmeasured, self._false_parks())

    def _false_parks(self) -> list[str]:
        """But for a month that was over before it could be billed, and a doubt that nothing in Omie explains."""
        touched = {number for _, number, _ in (*self.witness.edits, *self.witness.stopped, *self.witness.clicks)}
        codes = self.witness.moved | self.witness.churned | {code for code, _ in self.cancelled}
        codes |= {held.cCodIntCtr for app in self.apps for held in app.contract_list if held.nCodCtr in touched}
        codes |= {one.code for one in self.lab.world.contracts if one.nCodCtr in touched}  # type: ignore[attr-defined]
        return [
            f"{charge.key}: {charge.reason_code} {charge.reason}"
            for charge in self.charges
            if charge.state is State.PARKED
            and str(charge.key.month) in self.witness.calm_months
            and charge.reason_code not in {"missed_month", REJECTED}
            and charge.nCodCtr not in touched
            and charge.key.contract not in codes
        ]

    def _orders(self) -> dict[tuple[str, str], list[Billing]]:
        """(code, month) -> the live orders, wherever Omie holds a contract of that code."""
        owner: dict[tuple[str, int], str] = {}
        for contract in self.lab.world.contracts:
            number = contract.nCodCtr  # type: ignore[attr-defined]
            if number is not None and contract.kind not in {"omie_only", "lookalike"}:
                owner[contract.omie_company, number] = contract.code
        for company, app in self.lab.omie.apps.items():
            for held in app.contract_list:
                if held.cCodIntCtr.startswith("JST-"):
                    owner[company, held.nCodCtr] = held.cCodIntCtr
        found: dict[tuple[str, str], list[Billing]] = defaultdict(list)
        book = self.lab.omie.book
        for billing in book.billings:
            code = owner.get((billing.company, billing.nCodCtr))
            billing = billing._replace(at=billing.at - self.lab.omie.switches.clock_offset)  # noqa: PLW2901 - by our clock
            if code:
                (self.cancelled if billing.nCodOS in book.cancelled else found)[code, billing.month].append(billing)
            elif billing.by == "api":
                self.broken.append(f"{billing.nCodCtr}: billed by us, and nobody's contract")
        return found

    def _twice(self) -> None:
        claimed = {
            (charge.key.contract, str(charge.key.month))
            for charge in self.charges
            if any(line["event"] == Event.CLAIM for line in charge.history)
        }
        for (code, month), cancelled in self.cancelled.items():
            ours = [order for order in (*cancelled, *self.orders.get((code, month), ())) if order.by != "person"]
            if len(ours) > 1:
                line = f"{code}: billed again in {month} after a person cancelled its order"
                unmeasured = self.late and not self._knew_an_order(code, month, ours)
                (self.unmeasured if unmeasured else self.broken).append(line)
        for (code, month), orders in self.orders.items():
            ours = [order for order in orders if order.by != "person"]
            if ours and (code, month) not in claimed:
                self.broken.append(f"{code}: billed by us in {month}, a month nobody claimed it for")
            if len(orders) > 1:
                line = f"{code}: billed {len(orders)} times in {month}: {[(o.company, o.by, o.nCodOS) for o in orders]}"
                clicked = [order for order in orders if order.by == "person"]
                at_once = self._at_once(code, ours, clicked)
                once_in_each = len({order.company for order in orders}) == len(orders)
                if len(ours) <= 1 and once_in_each and code in self.witness.moved:
                    self.forgiven.append(line)  # by hand in the company that the contract then left
                elif self.late and len(ours) > 1 and not self._knew_an_order(code, month, ours):
                    self.unmeasured.append(line)
                elif not at_once:
                    self.broken.append(line)
                elif month in self.witness.calm_months and not self._noticed(month):
                    self.broken.append(f"{line}, and no run says so")
                else:
                    self.forgiven.append(line)

    def _at_once(self, code: str, ours: list[Billing], clicked: list[Billing]) -> bool:
        """Did a person click in that company under our very call? In one that the contract left it is another story."""
        here = [order for order in clicked if ours and order.company == ours[0].company]
        told_apart = len(here) == len(clicked) or code in self.witness.moved
        return len(ours) == len(here) == 1 and told_apart and 0 <= ours[0].at - here[0].at <= self.nobody_can_tell

    def _knew_an_order(self, code: str, month: str, orders: list[Billing]) -> bool:
        """Did the ledger know an order of that company, made before the doubted one, when it was sent again?"""
        doubted, again = sorted(order.at for order in orders)[:2]
        history = next(
            (one.history for one in self.charges if (one.key.contract, str(one.key.month)) == (code, month)), ()
        )
        if not any(line["event"] in {Event.RESEND, Event.REDRIVE} for line in history):
            return True  # no list was believed: something else billed it twice
        for charge in self.charges:
            known = known_order(charge)
            same = charge.company == orders[0].company and str(charge.key.month) == month
            if known is None or not same or charge.key.contract == code:
                continue
            if known.sent.timestamp() < doubted and known.answered.timestamp() < again:
                return True
        return False

    def _cancellation_said(self, code: str, month: str) -> bool:
        branches = [branch.event for one in self.lab.executions for branch in one.branches]
        named = [order for event in branches if event["month"] == month for order in event.get("cancelled_orders", ())]
        return any(order["contract"] == code for order in named)

    def _intervals(self) -> None:
        """Whatever Omie does not bill every month is left alone, unless a person changed that under our very call."""
        types = {(one.omie_company, one.nCodCtr): one.cTipoFat for one in self.lab.world.contracts}  # type: ignore[attr-defined]
        for billing in self.lab.omie.book.billings:
            where = (billing.company, billing.nCodCtr)
            contract = self.lab.omie.apps[billing.company].contracts[billing.nCodCtr]
            not_monthly = types.get(where, "01") != "01" or contract.months != 1
            order = billing._replace(at=billing.at - self.lab.omie.switches.clock_offset)
            edited_later = any(at > order.at for company, n, at in self.witness.edits if (company, n) == where)
            if billing.by == "api" and not_monthly and types.get(where, "01") == "01":
                not_monthly = not edited_later
            if billing.by == "api" and not_monthly and not self._edited_under_way(order):
                self.broken.append(f"{billing.nCodCtr}: billed outside its months")

    def _revived(self) -> None:
        """No alteration of ours makes a stopped contract active, but what was stopped under our very call."""
        longest = FUNCTION_TIMEOUT_SECONDS + LONGEST_ABANDONED + self.read_lag
        for company, nCodCtr, stopped_at, at in self.lab.omie.book.revived:
            if at - stopped_at > longest:
                self.broken.append(f"{nCodCtr}: stopped in {company}, and active again {at - stopped_at:.0f} s later")

    def _missed(self) -> None:
        """Nobody is sent to bill by hand who had left, or what a person had billed long before."""
        for charge in self.charges:
            code, month = charge.key.contract, str(charge.key.month)
            parks = [
                line for line in charge.history if line["event"] == Event.PARK and "O mês desta cobrança" in line["why"]
            ]
            if not parks:
                continue
            at = min(datetime.fromisoformat(line["at"]).timestamp() for line in parks)
            hold = self.lab.ledger.find_hold(code)
            if charge.state is State.PARKED and hold is not None and hold.put_at.timestamp() < at:
                self.broken.append(f"{code}: {month} on hold, and told as a missed month")
            listed = [
                order.at + self.nobody_can_tell + self.named_after for order in self.orders.get((code, month), ())
            ]
            if listed and min(listed) < at:
                self.broken.append(f"{code}: {month} billed long before it was told as a missed month")

    def _created_beside(self) -> None:
        """A customer's active contract without a row is never joined by one that we create, whichever register has it."""
        for contract in self.lab.world.contracts:
            if contract.kind != "lookalike":
                continue
            created = [
                held.nCodCtr
                for held in self.lab.omie.apps[contract.omie_company].contract_list
                if held.cCodIntCtr == contract.code
            ]
            if created and not any(n == contract.nCodCtr for _, n, _ in self.witness.stopped):  # type: ignore[attr-defined]
                self.broken.append(f"{contract.code}: created beside the contract that its customer has already")

    def _noticed(self, month: str) -> bool:
        """Did the last run to look at that month say that Omie's orders are not what was planned?"""
        branches = [branch.event for one in self.lab.executions for branch in one.branches]
        return any(event.get("mismatches") for event in branches if event["month"] == month)

    def _ledger_is_true(self) -> None:
        for charge in self.charges:
            code, month = charge.key.contract, str(charge.key.month)
            orders = self.orders.get((code, month), [])
            if charge.state is State.BILLED and not orders and (code, month) not in self.cancelled:
                self.broken.append(f"{code}: {month} BILLED in the ledger, and Omie has no order")
            if charge.state is State.BILLED and charge.nCodOS is None:
                self.broken.append(f"{code}: {month} adopted without an order")
            calm = month in self.witness.calm_months
            if charge.state is State.BILLED and not orders and calm and not self._cancellation_said(code, month):
                self.broken.append(f"{code}: {month} its order was cancelled, and no run says so")
            if charge.state is State.PARKED and not (charge.reason and charge.reason_code):
                self.broken.append(f"{code}: {month} parked without a reason")
            if month not in self.witness.calm_months:
                continue
            if charge.state is State.PARKED and not _told(self.lab, code, month):
                self.broken.append(f"{code}: {month} parked, and no message says so")
            if charge.state in {State.SENDING, State.UNKNOWN}:
                self.broken.append(f"{code}: {month} still {charge.state} at the end")
            if not orders or charge.state is State.BILLED:
                continue
            line = f"{code}: billed in {month}, and the ledger says {charge.state} {charge.reason}"
            by_hand = all(order.by == "person" for order in orders)
            if charge.state in {State.HELD, State.READY} and by_hand and self._moved(code):
                self.forgiven.append(line)  # by hand in the company that the contract then left
            elif not (charge.state is State.PARKED and by_hand):  # what was parked, a person may bill
                self.broken.append(line)
            elif charge.reason_code == "missed_month" and any(
                order.company == charge.company and order.at < _parked_at(charge) for order in orders
            ):
                self.broken.append(f"{line} A person who believes that bills it once more")

    def _moved(self, code: str) -> bool:
        """Did more than one company plan it?"""
        return len({company for company, contract in self._planned_in() if contract == code}) > 1

    def _planned_in(self) -> set[tuple[str, str]]:
        found = set()
        for key, text in self.lab.objects.texts.items():
            if key.endswith("plan.jsonl"):
                found |= {(line["company"], line["contract"]) for line in map(json.loads, text.splitlines())}
        return found

    def _lost(self) -> None:
        """The last plan of a month that came to its end: each line billed, parked, held or explained."""
        known = {(charge.key.contract, str(charge.key.month)): charge for charge in self.charges}
        if self.witness.calm_runs and not self.witness.calm_months:
            failures = [one.failure for one in self.lab.executions[-2:]]
            self.broken.append(f"everybody: with nothing broken any more no run came to its end {failures}")
        for month in self.witness.calm_months:
            for line in self._last_plan(month):
                if line["action"] != "bill":
                    continue
                charge = known.get((line["contract"], month))
                if charge is None or charge.state not in {State.BILLED, State.PARKED, State.HELD}:
                    self.broken.append(f"{line['contract']}: {month} planned and lost ({charge and charge.state})")
        answered = [one for one in self.lab.executions if one.answer is not None]
        for execution in answered:
            assert execution.answer is not None
            if not execution.answer["balanced"]:
                continue
            for company in execution.answer["companies"]:
                missing = company["planned"] - sum(company[what] for what in ("billed", "skipped", "parked"))
                if missing:
                    self.broken.append(f"{company['company']}: balanced, and {missing} lines are nowhere")

    def _last_plan(self, month: str) -> list[dict[str, Any]]:
        last: dict[str, str] = {}
        for execution in self.lab.executions:
            for branch in execution.branches:
                if branch.event["month"] == month and "plan" in branch.event:
                    last[branch.event["company"]] = branch.event["plan"]["key"]
        return [json.loads(text) for key in last.values() for text in self.lab.objects.read_lines(key)]

    def _amounts(self) -> None:
        known = {(charge.key.contract, str(charge.key.month)): charge for charge in self.charges}
        for (code, month), orders in self.orders.items():
            charge = known.get((code, month))
            ours = [order for order in orders if order.by != "person"]
            for order in ours:
                planned = self.planned.get((code, month, charge.plan_hash)) if charge else None
                if order.amount != planned:
                    line = f"{code}: billed {order.amount} in {month}, planned {planned}"
                    if not self._edited_under_way(order):
                        self.broken.append(line)
                    elif month in self.witness.calm_months and not self._noticed(month):
                        self.broken.append(f"{line}, and no run says so")
                    else:
                        self.forgiven.append(f"{line}, edited in Omie while our call was under way")
                elif charge is not None and charge.state is State.BILLED and charge.amount != order.amount:
                    self.broken.append(f"{code}: billed {order.amount} in {month}, the ledger says {charge.amount}")

    def _edited_under_way(self, order: Billing) -> bool:
        """Did a person change the amount in Omie's screen after we had looked and before Omie was done?"""
        longest = FUNCTION_TIMEOUT_SECONDS + LONGEST_ABANDONED + self.read_lag
        edits = [
            at for company, nCodCtr, at in self.witness.edits if (company, nCodCtr) == (order.company, order.nCodCtr)
        ]
        return any(0 <= order.at - at <= longest for at in edits)

    def _old_plans(self) -> None:
        """Who claims, claims for the plan that is valid now, or was when the function that claims began."""
        for charge in self.charges:
            claims = [line for line in charge.history if line["event"] == Event.CLAIM]
            if not claims:
                continue
            at = datetime.fromisoformat(claims[-1]["at"]).timestamp()
            known = [
                (when, plan)
                for when, run, company, plan in self.witness.plans
                if (run, company) == (charge.run, charge.company) and when <= at
            ]
            ends = [when for (_, plan), (when, new) in pairwise(known) if plan == charge.plan_hash != new]
            replaced_at = ends[-1] if ends else at
            if charge.plan_hash != known[-1][1] and at - replaced_at > FUNCTION_TIMEOUT_SECONDS:
                self.broken.append(
                    f"{charge.key.contract}: claimed for a plan replaced {at - replaced_at:.0f} s before"
                )

    def _limits(self) -> None:
        book = self.lab.omie.book
        hard = [breach for breach in book.breaches if breach["limit"] in HARD_LIMITS]
        self.broken += [f"limit: {breach}" for breach in hard[:3]]
        if len(book.blocks) > self.witness.blocks:
            self.broken.append(f"blocked by our own errors: {book.blocks}")


NOBODY_CAN_TELL = LOOK_HOLDS_FOR + FUNCTION_TIMEOUT_SECONDS + LONGEST_ABANDONED
"""Seconds, and as many as the lists are late, from a person's click to our own billing of the same contract, at most, when no reading we may afford shows
the click in time: Omie accepts both (one of its undocumented choices), and the run must end saying so."""


def _planned(lab: Lab) -> dict[tuple[str, str, str | None], int]:
    """(code, month, a plan's hash) -> what that plan had for it, as its file says now."""
    found: dict[tuple[str, str, str | None], int] = {}
    for key, text in lab.objects.texts.items():
        if key.endswith("plan.jsonl"):
            lines = text.splitlines()
            digest = plan_hash(lines)
            for line in map(json.loads, lines):
                if line["action"] == "bill":
                    found[line["contract"], line["month"], digest] = line["amount"]
    return found


def _parked_at(charge: Charge) -> float:
    return max(datetime.fromisoformat(line["at"]).timestamp() for line in charge.history if line["event"] == Event.PARK)


def _told(lab: Lab, code: str, month: str) -> bool:
    return any(message.get("contract") == code and message.get("month") == month for message in lab.queues.parked)
