"""The dead-letter queue, read: nothing is lost by looking, nothing is seen twice at once."""

import json


def everything(letters, hidden=60):
    found = []
    while got := letters.receive(hidden):
        found += got
    return found


def park(stores, *contracts):
    for contract in contracts:
        stores.queues.park({"contract": contract}, contract, f"{contract}#a1")


def contracts(letters):
    return sorted(json.loads(letter.body)["contract"] for letter in letters)


def test_an_empty_queue_gives_nothing(stores):
    assert stores.letters.receive(60) == []
    assert stores.letters.count() == 0


def test_a_letter_is_what_was_parked(stores):
    stores.queues.park({"contract": "JST-12", "reason": "Código inválido"}, "JST-12", "JST-12#a1")
    [letter] = stores.letters.receive(60)
    assert (letter.group, json.loads(letter.body)) == ("JST-12", {"contract": "JST-12", "reason": "Código inválido"})
    assert letter.id
    assert letter.sent_at.tzinfo is not None
    assert "JST-12" not in repr(letter).replace("group='JST-12'", "")


def test_twenty_five_contracts_are_all_seen_because_each_is_its_own_group(stores):
    names = [f"JST-{number}" for number in range(1, 26)]
    park(stores, *names)
    assert contracts(everything(stores.letters)) == sorted(names)


def test_of_one_group_ten_are_seen_and_the_rest_wait_behind_them(stores):
    for number in range(13):
        stores.queues.park({"contract": f"JST-{number}"}, "acme", f"d{number}")
    seen = everything(stores.letters)
    assert len(seen) == 10
    assert stores.letters.count() == 13
    for letter in seen:
        stores.letters.delete(letter)
    assert len(everything(stores.letters)) == 3


def test_whoever_looks_hides_until_put_back(stores):
    park(stores, *(f"JST-{number}" for number in range(12)))
    taken = everything(stores.letters)
    assert everything(stores.letters) == []
    assert stores.letters.count() == 12
    stores.letters.put_back(taken)
    assert contracts(everything(stores.letters)) == contracts(taken)


def test_the_identity_of_a_letter_survives_putting_it_back(stores):
    park(stores, "JST-1")
    before = everything(stores.letters)
    stores.letters.put_back(before)
    assert [letter.id for letter in everything(stores.letters)] == [letter.id for letter in before]


def test_deleted_is_gone_and_deleting_again_is_no_error(stores):
    park(stores, "JST-1", "JST-2")
    first, _ = taken = everything(stores.letters)
    stores.letters.delete(first)
    stores.letters.delete(first)
    stores.letters.put_back(taken)
    assert len(everything(stores.letters)) == 1
    assert stores.letters.count() == 1


def test_putting_nothing_back_asks_nobody(stores):
    stores.letters.put_back([])


def test_a_body_that_is_no_json_comes_as_it_is(stores):
    stores.post("{ não é json", "acme")
    [letter] = stores.letters.receive(60)
    assert letter.body == "{ não é json"
