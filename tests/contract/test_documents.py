"""Delivered documents: one works on one at a time, and what was put is what is found."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from billing.store.documents import Document, DocumentStore, HoldLost

KEY = "acme#123"
NOW = datetime(2026, 12, 1, 9, tzinfo=UTC)
LATER = NOW + timedelta(minutes=2)
TOLD = Document(KEY, "JST-12", "2026-12", "authorised", nCodNF=9, number="44", told="abc", told_at=NOW.isoformat())


def take(documents, holder="a", now=NOW, until=LATER):
    return documents.take(KEY, holder=holder, now=now, until=until)


def test_a_document_never_seen_is_empty_and_what_is_put_is_found(stores):
    assert take(stores.documents) == Document(KEY)
    stores.documents.put(TOLD, holder="a")
    assert take(stores.documents, "b") == TOLD
    assert stores.documents.get_many([KEY, "acme#124", KEY]) == {KEY: TOLD}
    assert stores.documents.get_many([]) == {}


def test_a_document_in_somebodys_hands_is_not_given_to_another_before_the_time(stores):
    take(stores.documents, "a")
    assert take(stores.documents, "b") is None
    assert take(stores.documents, "b", now=LATER - timedelta(seconds=1)) is None
    assert take(stores.documents, "a") == Document(KEY)
    assert take(stores.documents, "b", now=LATER, until=LATER + timedelta(minutes=2)) == Document(KEY)


def test_who_was_too_slow_does_not_put(stores):
    take(stores.documents, "a")
    take(stores.documents, "b", now=LATER, until=LATER + timedelta(minutes=2))
    with pytest.raises(HoldLost, match="acme#123"):
        stores.documents.put(TOLD, holder="a")
    stores.documents.put(replace(TOLD, number="45"), holder="b")
    assert stores.documents.get_many([KEY])[KEY].number == "45"


def test_a_put_whose_answer_was_lost_may_be_told_again_until_another_takes_it(stores):
    take(stores.documents, "a")
    stores.documents.put(TOLD, holder="a")
    stores.documents.put(TOLD, holder="a")
    take(stores.documents, "b")
    with pytest.raises(HoldLost):
        stores.documents.put(TOLD, holder="a")


def test_a_lost_answer_is_repeated_and_a_refusal_is_not_swallowed(moto_aws, faulty):
    client = faulty(moto_aws.dynamodb, {"update_item": ["lost"], "put_item": ["lost"]})
    documents = DocumentStore(client, moto_aws.tables["documents"], sleep=lambda seconds: None)
    assert take(documents) == Document(KEY)
    documents.put(TOLD, holder="a")
    assert documents.get_many([KEY]) == {KEY: TOLD}
    denied = faulty(
        moto_aws.dynamodb, {"update_item": ["AccessDeniedException"], "put_item": ["AccessDeniedException"]}
    )
    documents = DocumentStore(denied, moto_aws.tables["documents"])
    with pytest.raises(ClientError, match="AccessDenied"):
        take(documents)
    with pytest.raises(ClientError, match="AccessDenied"):
        documents.put(TOLD, holder="a")
