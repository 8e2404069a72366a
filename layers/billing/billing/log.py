"""What functions write to their logs and metrics: ids, states and counts; never a name, a document or a key."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

TOLD = (
    "month", "company", "run", "execution", "generation", "round", "decision", "wait_seconds",
    "planned", "billed", "skipped", "parked", "in_doubt", "left", "unexplained", "mismatches", "balanced", "preview",
    "anything_to_do", "titles", "overdue", "added", "updated", "refused", "duplicates", "unmatched",
    "unreadable",
    "contract", "source", "webhook", "outcome", "contracts", "agreed", "ordered", "listed", "holds", "waiting",
    "problems", "known_problems", "told", "hints", "why", "jestor_id",
)  # fmt: skip

logger = Logger()


def tell(step: str, answer: Mapping[str, Any]) -> None:
    """One line about what a step did: the known facts of its answer, nothing else."""
    logger.info(step, extra={name: answer[name] for name in TOLD if name in answer})


def measure(company: Mapping[str, Any]) -> None:
    """One company's month as metrics, by company."""
    metrics = Metrics()
    metrics.add_dimension(name="company", value=company["company"])
    for name in ("planned", "billed", "skipped", "parked", "in_doubt", "unexplained", "mismatches"):
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=company[name])
    metrics.add_metric(name="list_lag", unit=MetricUnit.Seconds, value=company["list_lag_seconds"])
    metrics.flush_metrics()
