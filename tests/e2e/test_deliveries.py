"""Outgoing webhooks, from an event in the table's stream to a tenant's endpoint."""

import json
import uuid

import pytest

from hub import Crm, Receiver, custom, eventually, standard

CONTACT = {"first_name": "Dana", "phone_number": "+14155550132"}


def subscribed(hub, receiver, **fields):
    """A tenant that tells the receiver of everything, and the subscription."""
    tenant = hub.tenant("sarah_ai")
    fields = {"url": receiver.url, "event_types": ["*"]} | fields
    return tenant, tenant.api("POST", "/subscriptions", fields)


def attempts(tenant, subscription):
    deliveries = tenant.api("GET", f"/subscriptions/{subscription['id']}/deliveries")["data"]
    return deliveries[0] if deliveries else {"attempts": [], "status": "none"}


def test_a_webhooks_event_is_delivered_signed(hub):
    receiver = Receiver()
    tenant, subscription = subscribed(hub, receiver, event_types=["phone_number.interaction.*"])
    assert tenant.sample("sarah_ai/call_ended").body["status"] == "processed"
    (event,) = eventually(receiver.events)
    assert (event["event_type"], event["tenant_id"]) == ("phone_number.interaction.created", tenant.id)
    headers, body = next(r for r in receiver.received if json.loads(r[1]) == event)
    assert headers["webhook-id"] == event["event_id"]
    data = json.dumps(event["data"], sort_keys=True, separators=(",", ":")).encode()
    assert headers["x-webhook-signature"] == custom(subscription["secret"], data)["x-webhook-signature"]
    at = int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == standard(subscription["secret"], body, headers["webhook-id"], at)["webhook-signature"]
    eventually(lambda: attempts(tenant, subscription)["status"] == "succeeded")
    assert tenant.api("GET", f"/events/{event['event_id']}")["event_id"] == event["event_id"]


def test_what_an_endpoint_refuses_is_tried_again_and_ends_as_a_failure(hub):
    # The first answer is to the test of the address.
    receiver = Receiver(200, 500, 503, 500)
    tenant, subscription = subscribed(
        hub, receiver, event_types=["contact.*"], retry_policy={"schedule_seconds": [1, 1]}
    )
    tenant.api("PUT", "/contacts/con_dana", CONTACT)
    eventually(lambda: attempts(tenant, subscription)["status"] == "exhausted")
    delivery = attempts(tenant, subscription)
    assert [attempt["status_code"] for attempt in delivery["attempts"]] == [500, 503, 500]
    (failure,) = tenant.api("GET", "/failures")["data"]
    assert failure["code"] == "delivery_exhausted"

    # What it missed, and then one delivery by itself.
    receiver.statuses = [500, 500, 500, 200]
    tenant.api("POST", f"/subscriptions/{subscription['id']}/replay", {"since": "2020-01-01T00:00:00Z"})
    eventually(lambda: len(attempts(tenant, subscription)["attempts"]) == 6)
    tenant.api("POST", f"/deliveries/{delivery['id']}/retry")
    eventually(lambda: attempts(tenant, subscription)["status"] == "succeeded")
    eventually(lambda: not tenant.api("GET", "/failures")["data"])


def test_failed_deliveries_are_sent_again_with_all_failures(hub):
    receiver = Receiver(200, 500)
    tenant, _ = subscribed(hub, receiver, event_types=["contact.*"], retry_policy={"schedule_seconds": [1]})
    tenant.api("PUT", "/contacts/con_dana", CONTACT)
    eventually(lambda: tenant.api("GET", "/failures")["data"])
    receiver.statuses = [200]
    tenant.api("POST", "/failures/retry")
    eventually(lambda: not tenant.api("GET", "/failures")["data"])


def test_a_subscription_that_is_gone_is_disabled_and_its_tenant_told(hub):
    receiver, other = Receiver(200, 410), Receiver()
    tenant, subscription = subscribed(hub, receiver, event_types=["contact.created"])
    tenant.api("POST", "/subscriptions", {"url": other.url, "event_types": ["subscription.disabled"]})
    tenant.api("PUT", "/contacts/con_dana", CONTACT)
    eventually(lambda: other.events("subscription.disabled"))
    assert tenant.api("GET", f"/subscriptions/{subscription['id']}")["is_active"] is False


def test_an_endpoint_with_a_rate_is_called_no_faster(hub):
    receiver = Receiver()
    tenant, _ = subscribed(hub, receiver, event_types=["contact.created"], rate_per_second=10)
    for name in ("one", "two"):
        tenant.api("PUT", f"/contacts/con_{name}", CONTACT)
    eventually(lambda: len(receiver.events()) == 2)


@pytest.mark.slow
def test_what_waits_for_long_is_released_by_the_schedule(hub):
    """A retry after hours waits in the table; brought forward, it goes out with the next minute."""
    receiver = Receiver(200, 500, 200)
    tenant, subscription = subscribed(
        hub, receiver, event_types=["contact.*"], retry_policy={"schedule_seconds": [7200]}
    )
    tenant.api("PUT", "/contacts/con_dana", CONTACT)
    (item,) = eventually(lambda: hub.items(f"{tenant.id}#wait"))
    hub.put_item(item | {"due_at": {"S": "2026-01-01T00:00:00.000Z"}, "msg": due_now(item["msg"])})
    eventually(lambda: attempts(tenant, subscription)["status"] == "succeeded", seconds=90)


def test_what_waits_for_long_goes_to_the_queue_that_it_is_for(hub):
    crm, tenant = Crm(), hub.tenant("sarah_ai", "payment_processor")
    tenant.api("PUT", "/integrations/external_crm", crm.integration())
    tenant.api("PUT", "/contacts/con_dana", CONTACT)
    tenant.api("PUT", "/companies/com_dental", {"name": "Whitfield Dental"})
    assert tenant.sample("sarah_ai/call_ended").body["status"] == "processed"
    eventually(lambda: hub.invoke("ScheduleSyncs", {}) and all(crm.records.values()))
    before = tenant.runs()
    job = {"v": 1, "kind": "sync_records", "tenant_id": tenant.id, "system_id": "external_crm", "task": {"mark_all": {}}}
    for entity in ("contact", "company", "interaction"):
        wait(hub, tenant, entity, job | {"entity": entity})
    # A payment for a number that isn't known yet; the failure is sent through again from the queue of retries.
    paid = tenant.sample("payment_processor/payment_succeeded", data__object__metadata__customer_phone="+14155550188")
    assert paid.body["status"] == "failed"
    failure = paid.body["failure_id"]
    wait(hub, tenant, "", {"v": 1, "kind": "replay_failures", "tenant_id": tenant.id, "span": {}})
    hub.invoke("ReleaseWaiting", {})
    eventually(lambda: all(at > before[entity] for entity, at in tenant.runs().items()))
    eventually(lambda: tenant.api("GET", f"/failures/{failure}")["attempts"] > 1)


def wait(hub, tenant, queue, message):
    """Lets a message wait as the functions do, for a time that has come."""
    hub.put_item(
        {
            "pk": {"S": f"{tenant.id}#wait"},
            "sk": {"S": f"wait_{uuid.uuid4().hex[:26]}"},
            "due_pk": {"S": "due#0"},
            "due_at": {"S": "2026-01-01T00:00:00.000Z"},
            "queue": {"S": queue},
            "group": {"S": ""},
            "msg": {"S": json.dumps(message)},
        }
    )


def due_now(message):
    """The message of a delivery, without the time before which it isn't to be made."""
    body = json.loads(message["S"])
    body.pop("due", None)
    return {"S": json.dumps(body)}


def test_an_event_that_was_left_behind_is_found_by_the_sweep(hub):
    receiver = Receiver()
    tenant, subscription = subscribed(hub, receiver, event_types=["contact.*"])
    tenant.api("PUT", "/contacts/con_dana", CONTACT)
    eventually(lambda: attempts(tenant, subscription)["status"] == "succeeded")
    # As if it had been written two hours ago and never published: an id of that time, not in the stream, no delivery.
    (event,) = [item for item in hub.items(f"{tenant.id}#evt") if "events" in item]
    event["sk"] = {"S": earlier(event["sk"]["S"])}
    del event["outbox"]
    hub.put_item(event)
    (swept,) = [item for item in hub.items(f"{tenant.id}#sub") if item["sk"]["S"] == "sweep"]
    hub.put_item(swept | {"due_at": {"S": "2026-01-01T00:00:00.000Z"}})
    assert hub.invoke("SweepEvents", {})["left_behind"] >= 1
    eventually(lambda: [e for e in receiver.events() if e["event_id"].startswith(event["sk"]["S"])])


ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
TWO_HOURS = 2 * 3_600_000


def earlier(event_id):
    """An event's id of two hours before: it begins with the milliseconds since 1970, in Crockford's base 32."""
    prefix, text = event_id.split("_")
    digits, value = text[:10], 0
    for digit in digits:
        value = value * 32 + ALPHABET.index(digit)
    value -= TWO_HOURS
    moved = ""
    for _ in digits:
        moved, value = ALPHABET[value % 32] + moved, value // 32
    return f"{prefix}_{moved}{text[10:]}"
