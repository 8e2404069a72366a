"""`make chaos`: the month on the deployed stack while much goes wrong.

    python -m ops.chaos [--mix lost|rough|none] [--profile demo|live] [--contracts 500] [--seed 7] [--keep]

`lost`: every fifth FaturarContrato is lost before or after Omie executed it, finishes late, or hangs; a worker is
killed in the middle of a batch. `rough`: a twentieth of all calls, reads and writes, get no answer, a fiftieth HTTP
500, a fiftieth 429; two workers are killed, and a person bills three contracts by hand. In both the month is started
twice more while it runs, and at the end the dead-letter queue is redriven three times. `none`, the mix of `--profile
live`: nothing but what that Omie does by itself; then no contract may be parked, and the month must balance.

Exits with 0 only when Omie's book shows every contract billed exactly once. The rough mix also says how long it took
beside what it may take, how long the lanes rested by our own doing, and how many questions of ours were redundant.
Takes as long as the in-doubt waits and the queue's visibility time-outs take: about half an hour.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer
from rich.console import Console

from billing.domain.charge import State
from billing.domain.month import BillingMonth
from billing.omie.governor import LIMIT_PER_MINUTE, is_pause
from ops import local
from ops.stack import Execution, Stack, connect, find_place

OUT: Final = local.ROOT / "build" / "chaos"
LATE: Final = 4
"""Seconds after which an abandoned call is still executed; the settings below allow 5."""
IN_DOUBT_WAIT: Final = 137
VISIBILITY: Final = 720
"""Seconds for which a killed worker's message stays hidden (template.yaml)."""
QUESTION: Final = 61
BILLING_OPS: Final = str(Path(sys.executable).parent / "billing-ops")


@dataclass(frozen=True, slots=True)
class Mix:
    """`faults`: as the simulator reads them. `kill_after`: billings after which a worker is killed, one each. `clicks`:
    contracts that a person bills meanwhile.
    """

    faults: str
    kill_after: tuple[int, ...]
    clicks: int = 0


MIXES: Final = {
    "lost": Mix(
        "lost_reply:methods=FaturarContrato:share=0.10;lost_request:methods=FaturarContrato:share=0.07;"
        f"late_execution:methods=FaturarContrato:share=0.06:seconds={LATE};"
        "slow:methods=FaturarContrato:share=0.04:seconds=3;unknown_wording:methods=FaturarContrato:share=0.01:times=2",
        kill_after=(40,),
    ),
    "rough": Mix(
        "lost_reply:share=0.025;lost_request:share=0.025;proto_byebye:share=0.02;too_many_requests:share=0.02",
        kill_after=(10, 40),
        clicks=3,
    ),
    "none": Mix("", kill_after=()),
}


def _settings() -> str:
    """The demo's, with a shorter wait: the faults above finish an abandoned call sooner than the demo allows for."""
    demo = local.demo_settings()
    return demo.replace("in_doubt_wait_seconds = 191", f"in_doubt_wait_seconds = {IN_DOUBT_WAIT}").replace(
        "longest_abandoned_call_seconds = 60", f"longest_abandoned_call_seconds = {LATE + 1}"
    )


def _book(state: dict[str, Any]) -> dict[str, Any]:
    return dict(httpx.get(f"{state['simulators']['omie']}/_sim/book", timeout=60).json())


def _ops(*words: str) -> None:
    subprocess.run([BILLING_OPS, *words], cwd=local.ROOT, check=False)  # noqa: S603 - our own command


def _start(stack: Stack, trigger: str, name: str) -> Execution:
    request = {"month": None, "companies": None, "trigger": trigger, "preview": False, "who": "chaos"}
    return stack.start(request, name)


def _kill_a_worker() -> int | None:
    """SIGKILL to a process of the emulator that runs bill_batch, and no other."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                environment = (entry / "environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if b"BillBatchFunction" in command + environment and str(local.LOCAL).encode() in command + environment:
                os.kill(int(entry.name), signal.SIGKILL)
                return int(entry.name)
    return None


@dataclass
class Watch:
    """A run that is being disturbed, and what was done to it."""

    stack: Stack
    state: dict[str, Any]
    mix: Mix
    companies: tuple[str, ...]
    console: Console
    killed: int = 0
    clicked: list[int] = field(default_factory=list)
    started_twice: bool = False
    paused: dict[str, float] = field(default_factory=dict)
    """Seconds for which each company's lane rested by our own doing."""

    def until_ended(self, execution: Execution) -> None:
        last = time.monotonic()
        while not (seen := self.stack.execution(execution.arn)).ended:
            now = time.monotonic()
            self._look_at_the_lanes(now - last)
            last = now
            self._disturb(_book(self.state))
            time.sleep(1)  # between two looks
        self.console.print(f"the run ended {seen.status}")

    def _look_at_the_lanes(self, seconds: float) -> None:
        now = datetime.now(UTC)
        for company in self.companies:
            lane = self.stack.lane(company, now)
            if lane.blocked_until is not None and lane.blocked_until > now and is_pause(lane.reason):
                self.paused[company] = self.paused.get(company, 0.0) + seconds

    def _disturb(self, book: dict[str, Any]) -> None:
        billed = book["billed_contracts"]
        if self.mix.kill_after and billed >= min(self.mix.kill_after) and not self.started_twice:
            self.started_twice = True
            for trigger in ("operator", "schedule"):
                _start(self.stack, trigger, f"chaos-again-{trigger}-{int(time.time())}")
            self.console.print(f"{billed} billed: the month is started twice more, by an operator and by the schedule")
        while len(self.clicked) < self.mix.clicks and billed and self._click(book):
            self.console.print(f"a person bills {self.clicked[-1]} by hand")
        due = self.mix.kill_after[self.killed : self.killed + 1]
        if due and billed >= due[0] and (pid := _kill_a_worker()):
            self.killed += 1
            self.console.print(f"{billed} billed: worker {pid} is killed")

    def _click(self, book: dict[str, Any]) -> bool:
        """A person bills one of those that are furthest from being billed."""
        omie = self.state["simulators"]["omie"]
        billed = {billing["nCodCtr"] for billing in book["billings"]}
        contracts = httpx.get(f"{omie}/_sim/contracts", timeout=60).json()
        waiting = [
            (company, int(number))
            for company, of_company in contracts.items()
            for number, contract in of_company.items()
            if contract["cCodSit"] == "10" and contract["cCodIntCtr"].startswith("JST-") and int(number) not in billed
        ]
        if not waiting:
            return False
        company, number = waiting[-1 - len(self.clicked)]
        answer = httpx.post(f"{omie}/_sim/bill", json={"company": company, "nCodCtr": number}, timeout=60)
        self.clicked.append(number)
        return answer.is_success


def chaos(
    mix: Annotated[str, typer.Option(help="lost, rough or none; by default lost, with --profile live none.")] = "",
    profile: Annotated[str, typer.Option(help="demo; or live: an Omie as live accounts show it.")] = "demo",
    contracts: int = 500,
    seed: int = 7,
    keep: Annotated[bool, typer.Option(help="Leave the stack up.")] = False,
) -> None:
    """Bill the month while much goes wrong."""
    mix = mix or ("none" if profile == "live" else "lost")
    if mix not in MIXES:
        raise local.LocalError(f"No mix {mix!r}; there are: {', '.join(MIXES)}")
    console, chosen = Console(), MIXES[mix]
    OUT.mkdir(parents=True, exist_ok=True)
    if profile == "demo":
        settings = OUT / "settings.toml"
        settings.write_text(_settings())
        os.environ["SETTINGS"] = str(settings)
    state = local.up(contracts, seed, profile=profile, webhooks=False)
    try:
        if chosen.faults:
            httpx.post(f"{state['simulators']['omie']}/_sim/faults", json={"spec": chosen.faults}).raise_for_status()
        stack = connect(find_place({}, None))
        watch = Watch(stack, state, chosen, tuple(sorted(stack.settings().companies)), console)
        began = time.monotonic()
        watch.until_ended(_start(stack, "operator", f"chaos-{int(time.time())}"))
        took = time.monotonic() - began
        during = _book(state)
        ended = {"balanced": _balanced(stack), "parked": _parked(stack)}
        if mix != "none":
            for _ in range(3):
                _ops("dlq", "redrive", "--yes")
            _ops("run", "--yes")
        _ops("status")
        book = _book(state)
    finally:
        if not keep:
            local.down()
    times = _time(watch, during, took)
    if mix == "none":
        del times["may_take"]  # reckoned by the other mixes' settings and latency
    summary = _summary(mix, contracts, seed, watch, book) | ended | times
    (OUT / f"{mix}.json").write_text(json.dumps(summary, ensure_ascii=False, indent=1))
    console.print_json(data=summary)
    raise typer.Exit(0 if _good(summary, watch) else 1)


def _balanced(stack: Stack) -> bool:
    execution = stack.latest_execution()
    return execution is not None and bool(stack.closing(execution).get("balanced"))


def _parked(stack: Stack) -> list[str]:
    """The charges of this month that wait for a person: contract and reason code."""
    month = BillingMonth.of(datetime.now(UTC))
    charges = [charge for key in sorted(stack.settings().companies) for charge in stack.month_charges(key, month)]
    return [f"{one.key.contract} {one.reason_code}" for one in charges if one.state is State.PARKED]


def _summary(mix: str, contracts: int, seed: int, watch: Watch, book: dict[str, Any]) -> dict[str, Any]:
    calls = book["calls"]["FaturarContrato"]["count"]
    return {
        "mix": mix,
        "contracts": contracts,
        "seed": seed,
        "billed_contracts": book["billed_contracts"],
        "billed_twice": book["billed_twice"],
        "limit_breaches": book["limit_breach_count"],
        "blocks": len(book["blocks"]),
        "parallel_writes": book["parallel_writes"],
        "calls_of_FaturarContrato": calls,
        "faults": book["faults"],
        "faulted_share": round(sum(book["faults"].values()) / book["total_calls"], 3),
        "workers_killed": watch.killed,
        "clicks": len(watch.clicked),
    }


def _time(watch: Watch, during: dict[str, Any], took: float) -> dict[str, Any]:
    """What the run took beside what it may take: the floor that Omie's ceiling sets, and each wait that has a cause."""
    of_company: dict[str, int] = {}
    for billing in during["billings"]:
        of_company[billing["company"]] = of_company.get(billing["company"], 0) + 1
    floor = max(of_company.values(), default=0) * 60 / LIMIT_PER_MINUTE
    reads = ("Listar", "Consultar", "Obter")
    unanswered = sum(
        count
        for name, count in during["faulted"].items()
        if name.startswith(reads) and name.split()[1] != "too_many_requests"
    )
    may_take = 1.3 * floor + IN_DOUBT_WAIT + VISIBILITY * watch.killed + QUESTION * unanswered
    return {
        "seconds": round(took),
        "may_take": round(may_take),
        "floor": round(floor, 1),
        "unanswered_reads": unanswered,
        "redundant_of_our_own": during["refused"].get("redundant", 0) + during["refused"].get("same_id", 0),
        "lane_rested_by_our_own_doing": round(max(watch.paused.values(), default=0.0) / took, 3),
    }


def _good(summary: dict[str, Any], watch: Watch) -> bool:
    once = summary["billed_contracts"] == summary["contracts"] and not summary["billed_twice"] and not summary["blocks"]
    disturbed = watch.killed == len(watch.mix.kill_after) and len(watch.clicked) == watch.mix.clicks
    if summary["mix"] == "none":
        return once and summary["balanced"] and not summary["parked"]
    calm = not summary["redundant_of_our_own"] and summary["lane_rested_by_our_own_doing"] <= 0.1
    return once and disturbed and (summary["mix"] == "lost" or (calm and summary["seconds"] <= summary["may_take"]))


def main() -> None:
    app = typer.Typer(add_completion=False)
    app.command()(chaos)
    local.run(app)


if __name__ == "__main__":
    main()
