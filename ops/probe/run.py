"""A whole probe: experiments, cleaning, answers. Whatever ends the first, the second is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from billing.unreadable import note
from ops.probe import cleaning
from ops.probe.answers import answers
from ops.probe.caller import StopProbe
from ops.probe.experiments import run_experiments
from ops.probe.field import Field, Made
from ops.probe.measures import lag_lines
from ops.probe.observations import Observations

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ops.probe.caller import Caller, Measured
    from ops.probe.things import Maker
    from ops.probe.told import Answer


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of a probe.

    lags: each list's own, as the operator reads it.
    made: everything it made, and whether it is gone.
    doubtful: codes of contracts that may have an order which no list showed; "lote" stands for those of the lot.
    stopped: why it ended early, in Portuguese; "" when it did not. interrupted: whether a person ended it.
    """

    answers: dict[str, Answer]
    made: list[Made]
    doubtful: list[str]
    measured: Measured
    seconds: float
    stopped: str
    interrupted: bool
    began: datetime
    customer: int
    lags: list[str]
    notes: tuple[int, int]
    """Notes that the city issued, and refused."""


def probe(caller: Caller, maker: Maker, *, boleto_wanted: bool = True, say: Callable[[str], None] = print) -> Probed:
    """Ask, clean up, answer. `say` is told, in Portuguese, what goes on."""
    began = caller.clock.now()
    field = Field(caller, maker, Observations(caller.measured, boleto_wanted=boleto_wanted))
    stopped, interrupted = "", False
    try:
        run_experiments(field, say)
    except StopProbe as stop:
        stopped = str(stop)
    except KeyboardInterrupt:
        stopped, interrupted = "interrompida por você", True
    except Exception as error:  # noqa: BLE001 - whatever happened, what was made is undone
        stopped = f"erro inesperado ({note('probe', error)})"
    found = answers(field.seen)
    for name, code in field.seen.asked_again.items():
        if found[name].value == "refuse":  # no order will come of it
            del field.unanswered[code]
    say("Desfazendo o que a sonda fez...")
    for times in (1, 2):  # the first Ctrl+C while it is undone does not end that, the second does
        try:
            cleaning.clean(field)
        except StopProbe as stop:
            stopped = stopped or str(stop)
        except KeyboardInterrupt:
            stopped, interrupted = "interrompida por você", True
            if times == 1:
                say("Termino de desfazer; aperte Ctrl+C outra vez para parar já.")
                continue
        break
    if stopped:
        field.seen.reasons = dict.fromkeys(answers(field.seen), stopped) | field.seen.reasons
    return Probed(
        answers=answers(field.seen),
        made=field.made,
        doubtful=cleaning.doubtful(field),
        measured=caller.measured,
        seconds=caller.seconds,
        stopped=stopped,
        interrupted=interrupted,
        began=began,
        customer=maker.nCodCli,
        lags=lag_lines(field.seen),
        notes=(sum(each.note.seen for each in field.seen.billed), sum(each.refused for each in field.seen.billed)),
    )
