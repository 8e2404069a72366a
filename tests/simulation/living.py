"""The adversary with the living contract in its schedule: people edit Jestor, and their webhooks do what webhooks do.

A churn comes by its real way: an edit in Jestor, the post of its trigger (lost, doubled, late), the receiver's hold, the
worker, the order in the lane, all of them broken like everything else. The promise is the old one, "nothing is claimed
on a hold", and one more: no worker lifts the hold of a contract that Jestor has called stopped since before it looked.
"""

from datetime import datetime
from random import Random
from typing import Any

from billing.settings import FUNCTION_TIMEOUT_SECONDS
from simulators.lab import Killed
from simulators.living_lab import LivingLab
from simulators.world import FIELDS
from tests.simulation.adversary import Adversary

EVENTS = {"churn": 5, "back": 4, "price": 3, "post": 8, "sweep": 1}


class LivingAdversary(Adversary):
    lab: LivingLab

    def __init__(self, seed: int, **more: Any) -> None:
        self.people = Random(f"people-{seed}")
        self.posts: list[Any] = []
        self.stopped_at: dict[str, float] = {}
        self.by_person = False
        super().__init__(seed, kind=LivingLab, **more)
        self.how_often = self.people.choice((0.05, 0.15, 0.3))
        ledger = self.lab.ledger
        self._real_put, self._real_lift = ledger.put_hold, ledger.lift_hold
        ledger.put_hold, ledger.lift_hold = self._put_hold, self._lift_hold  # type: ignore[method-assign]

    def _lift(self) -> None:
        self.by_person = True
        super()._lift()
        self.by_person = False

    def between(self) -> None:
        if self.people.random() >= self.how_often:
            return
        kind = self.people.choices(list(EVENTS), list(EVENTS.values()))[0]
        self.witness.done[f"people: {kind}"] += 1
        self.trace.append(f"{self.steps:5} {self._hour()} people: {kind}")
        match kind:
            case "churn":
                self._edits({FIELDS["status"]: self.people.choice(("Churn", "Suspenso"))})
            case "back":
                self._edits({FIELDS["status"]: "Ativo"})
            case "price":
                self._edits({FIELDS["unit_amount"]: self.people.choice((140, 260.5, 310.1))})
            case "post":
                self._one_arrives()
            case "sweep":
                try:
                    self.lab.sweep()
                except (Exception, Killed) as error:  # noqa: BLE001 - it is tried again tomorrow
                    self.trace[-1] += f" {error!r}"

    def _edits(self, data: dict[str, Any]) -> None:
        contract = self.people.choice(self.lab.world.contracts)
        self.posts += self.lab.edit(contract.jestor_id, data)
        match data.get(FIELDS["status"]):
            case "Ativo":
                self.stopped_at.pop(contract.code, None)
            case str():
                self.stopped_at.setdefault(contract.code, self.lab.now())
                self.witness.churned.add(contract.code)
        self.trace[-1] += f" {contract.code} {list(data.values())}"
        if self.people.random() < 0.6:
            self._one_arrives()

    def _one_arrives(self) -> None:
        """Some post, not always the oldest; it may come again, or never."""
        self.posts += self.lab.echoes
        self.lab.echoes.clear()
        if not self.posts:
            return
        post = self.posts.pop(self.people.randrange(len(self.posts)))
        fate = self.people.random()
        if fate < 0.1:
            return
        if fate > 0.8:
            self.posts.append(post)
        try:
            answer = self.lab.arrive(post)
        except Killed:
            self.trace[-1] += " receiver killed"
        else:
            self.trace[-1] += f" -> {answer.status}"

    # --- holds are heard

    def _put_hold(self, contract: str, reason: str, now: datetime) -> None:
        self._real_put(contract, reason, now)
        self.witness.claims_when_held.setdefault(contract, self._claims(contract))

    def _lift_hold(self, contract: str, **only: Any) -> bool:
        lifted = self._real_lift(contract, **only)
        since = self.stopped_at.get(contract, self.lab.now())
        if lifted and not self.by_person and self.lab.now() - since > FUNCTION_TIMEOUT_SECONDS:
            self.witness.claimed_on_hold.append(f"{contract} (lifted, and Jestor says stopped)")
        if lifted and contract in self.witness.claims_when_held:
            self.hold_kept(contract)
        return lifted
