"""A plan outside its guardrail: what is kept, and what the person who must decide is told."""

from datetime import UTC, datetime

from billing.notify import SUBJECT_LENGTH, Notifier
from billing.request_approval import ApprovalDeps, request_approval
from simulators.clock import VirtualClock
from simulators.memory_store import MemoryRuns

NOW = datetime(2026, 12, 1, 9, 0, tzinfo=UTC)
RUN = "2026-12#mensalidade#acme"
PLAN = {
    "run": RUN,
    "company": "acme",
    "month": "2026-12",
    "plan": {"hash": "abc123"},
    "reasons": ["O total de R$ 2,00 passa do limite de R$ 1,00.", "São 9 contratos, mais que o limite de 8."],
}


class Outbox:
    def __init__(self):
        self.sent = []

    def send(self, subject, text):
        self.sent.append((subject, text))


def ask(page=lambda _: {"html": "a key"}):
    deps = ApprovalDeps(MemoryRuns(), Outbox(), VirtualClock(NOW), page)
    answer = request_approval("task-token", PLAN, deps)
    return answer, deps


def test_the_question_is_kept_with_its_token_until_somebody_answers():
    answer, deps = ask()

    kept = deps.runs.get_approval(RUN, "acme")
    assert answer == {}
    assert (kept.token, kept.plan_hash, kept.asked_at, kept.decision) == ("task-token", "abc123", NOW, None)
    assert kept.reasons == tuple(PLAN["reasons"])


def test_people_are_told_every_reason_and_both_commands():
    _, deps = ask()

    [(subject, text)] = deps.notifier.sent
    assert subject == "Faturamento 2026-12 de acme aguarda aprovação"
    assert text.splitlines() == [
        *PLAN["reasons"],
        "",
        "Ver o plano: billing-ops report --month 2026-12 --open",
        "Aprovar:  billing-ops approve --month 2026-12 --company acme",
        "Rejeitar: billing-ops reject --month 2026-12 --company acme",
    ]


def test_a_page_that_cannot_be_written_keeps_nobody_from_answering(caplog):
    def page(_):
        raise RuntimeError("R$ 9,00 de JST-1")

    _, deps = ask(page)

    [(_, text)] = deps.notifier.sent
    assert "Ver o plano" not in text
    assert "Aprovar:  billing-ops approve --month 2026-12 --company acme" in text
    assert deps.runs.get_approval(RUN, "acme").token == "task-token"
    assert "RuntimeError" in caplog.text
    assert "JST-1" not in caplog.text


def test_the_token_is_told_to_nobody():
    _, deps = ask()

    assert "task-token" not in str(deps.notifier.sent)
    assert "task-token" not in repr(deps.runs.get_approval(RUN, "acme"))


class Topic:
    def __init__(self):
        self.published = []

    def publish(self, **message):
        self.published.append(message)


def test_a_subject_is_cut_to_what_sns_takes_and_the_text_keeps_its_accents():
    topic = Topic()

    Notifier(topic, "arn:topic").send("Aprovação " * 20, "São 9 contratos.")

    [message] = topic.published
    assert message["TopicArn"] == "arn:topic"
    assert message["Subject"] == ("Aprovacao " * 20)[:SUBJECT_LENGTH]
    assert message["Message"] == "São 9 contratos."


def test_a_text_is_never_more_than_sns_takes():
    topic = Topic()

    Notifier(topic, "arn:topic").send("Conferência", "começo " + "ç" * 300_000 + " fim")

    text = topic.published[0]["Message"]
    assert len(text.encode()) < 262_144
    assert (text[:6], text[-3:]) == ("começo", "fim")


def test_a_mail_holds_no_address_that_ends():
    topic = Topic()
    Notifier(topic, "arn:topic").send(
        "Fatura", "Veja https://x.s3.amazonaws.com/1?Expires=1 e https://click.omie.com/r/1"
    )
    (sent,) = topic.published
    assert sent["Message"] == "Veja  e https://click.omie.com/r/1"
