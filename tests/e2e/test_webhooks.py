"""Webhooks, from the gateway to the table: every source, repeats, what is refused, and what has to wait."""

import json
import uuid

import pytest

from hub import SAMPLES, eventually

NUMBER = "+14155550132"
# What doesn't come as a webhook of its own, and what comes after others in these tests.
SOURCES = {
    "sarah_ai": "sarah_ai/call_ended",
    "payment_processor": "payment_processor/payment_succeeded",
    "stripe": "stripe/charge_succeeded",
    "github": "github/issues_opened",
    "external_crm": "external_crm/contact_created",
    "helpdesk": "helpdesk/ticket_created",
}


@pytest.fixture(scope="module")
def tenant(hub):
    """A tenant with every system, registered as the samples say, whose CRM knows the samples' customer."""
    systems = []
    for system in SOURCES:
        registered = SAMPLES / system / "integration.json"
        systems.append({"system_id": system} | (json.loads(registered.read_text()) if registered.exists() else {}))
    return hub.tenant(*systems)


def interactions(tenant):
    return tenant.api("GET", f"/phone-numbers/{NUMBER}/interactions")["data"]


def test_every_source_is_applied_once(tenant):
    # Payments are only taken for numbers that the CRM knows: the call comes first.
    for system, name in SOURCES.items():
        first, again = tenant.sample(name), tenant.sample(name)
        assert (first.status, first.body["status"]) == (200, "processed"), (system, first)
        assert (again.status, again.body["status"]) == (200, "duplicate"), (system, again)
        assert again.body["data"] == first.body["data"], system
    by_system = sorted(interaction["system_id"] for interaction in interactions(tenant))
    assert by_system == sorted(set(SOURCES) - {"external_crm"})
    assert len(tenant.api("GET", "/contacts")["data"]) == 1


def test_a_changed_contact_is_found_by_its_new_number_only(hub):
    tenant = hub.tenant("external_crm")
    assert tenant.sample("external_crm/contact_created").body["status"] == "processed"
    changed = tenant.sample("external_crm/contact_updated", data__contact__phone="+14155550177")
    assert changed.body["status"] == "processed", changed
    numbers = [contact["phone_number"] for contact in tenant.api("GET", "/contacts")["data"]]
    assert numbers == ["+14155550177"]


def test_a_bad_signature_a_stranger_and_a_wrong_route(hub, tenant):
    refused = tenant.webhook("sarah_ai", {"event_id": "e"}, lambda *_: {"x-webhook-signature": "sha256=" + "0" * 64})
    assert (refused.status, refused.body["code"]) == (401, "invalid_signature")
    assert refused.headers["content-type"] == "application/problem+json"
    unknown = hub.send("POST", "/webhooks/nobody/sarah_ai", {})
    assert unknown.status == 404
    assert hub.send("GET", f"/webhooks/{tenant.id}/sarah_ai").status in (404, 405)


def test_an_event_that_cannot_be_applied_is_kept_and_replayed_once_it_can(hub):
    tenant = hub.tenant("sarah_ai", "payment_processor")
    failed = tenant.sample("payment_processor/payment_succeeded")
    assert (failed.status, failed.body["status"]) == (202, "failed")
    failure = failed.body["failure_id"]
    assert tenant.api("GET", f"/failures/{failure}")["code"] == "unknown_phone_number"
    assert tenant.sample("sarah_ai/call_ended").body["status"] == "processed"
    tenant.api("POST", f"/failures/{failure}/retry")

    def paid():
        return tenant.api("GET", f"/phone-numbers/{NUMBER}")["payments"]["succeeded"] == 1

    eventually(paid)
    tenant.api("GET", f"/failures/{failure}", status=404)


def test_many_failures_are_replayed(hub):
    tenant = hub.tenant("sarah_ai", "payment_processor")
    assert tenant.sample("payment_processor/payment_succeeded").body["status"] == "failed"
    assert tenant.sample("sarah_ai/call_ended").body["status"] == "processed"
    tenant.api("POST", "/failures/retry")
    eventually(lambda: not tenant.api("GET", "/failures")["data"])
    assert tenant.api("GET", f"/phone-numbers/{NUMBER}")["payments"]["succeeded"] == 1


@pytest.mark.slow
def test_over_its_limit_a_system_is_refused_or_waits_for_the_next_minute(hub):
    tenant = hub.tenant(
        {"system_id": "sarah_ai", "limits": {"per_minute": 1, "per_day": 100}},
        {"system_id": "desk", "limits": {"per_minute": 1, "per_day": 100, "when_exceeded": "queue"}},
    )
    calls = [tenant.sample("sarah_ai/call_ended", event_id=f"e{n}", call__id=f"c{n}") for n in range(3)]
    # At most one of each calendar minute, of which these may touch two.
    assert sorted(call.status for call in calls)[-1] == 429
    refused = next(call for call in calls if call.status == 429)
    assert int(refused.headers["retry-after"]) <= 60

    mapping = {"event_type": "type", "events": {"seen": {"interaction_type": "visit", "fields": {
        "phone_number": {"path": "phone", "transform": "phone", "required": True}}}}}
    tenant.api("PUT", "/integrations/desk", {"direction": "inbound", "mapping": mapping,
               "limits": {"per_minute": 1, "per_day": 100, "when_exceeded": "queue"}})
    sent = [tenant.webhook("desk", {"id": uuid.uuid4().hex, "type": "seen", "phone": NUMBER}) for _ in range(3)]
    assert {call.body["status"] for call in sent} == {"processed", "queued"}
    # Two may have to wait, each for a minute of its own.
    eventually(lambda: sum(i["system_id"] == "desk" for i in interactions(tenant)) == len(sent), seconds=200)


def test_what_is_no_message_of_ours_goes_to_the_dead_letters(hub):
    for queue, dead in [
        ("RetryQueue", "RetryDeadLetters"),
        ("DeliveryQueue", "DeliveryDeadLetters"),
        ("SyncContactsQueue", "SyncDeadLetters"),
    ]:
        url, mark = hub.resources[queue], uuid.uuid4().hex
        visibility = hub.aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]
        # So that five tries don't take a quarter of an hour.
        hub.aws.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "1"})
        try:
            hub.put_message(queue, {"mark": mark})

            eventually(lambda: is_dead_letter(hub, hub.resources[dead], mark))
        finally:
            hub.aws.sqs.set_queue_attributes(QueueUrl=url, Attributes=visibility)


def is_dead_letter(hub, queue, mark):
    """Takes the test's own messages out, those of earlier runs too: of many, only some can be seen at once."""
    found = hub.aws.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=0).get("Messages", [])
    for message in found:
        if '"mark"' in message["Body"]:
            hub.aws.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return any(mark in message["Body"] for message in found)
