"""Records in step with a tenant's CRM, both ways."""

import datetime

import pytest

from hub import Crm, eventually

CONTACT = {"first_name": "Dana", "phone_number": "+14155550132"}
NUMBER = "+14155550132"
KINDS = {"contact": "contacts", "company": "companies", "interaction": "interactions"}
QUEUES = {"contact": "SyncContactsQueue", "company": "SyncCompaniesQueue", "interaction": "SyncInteractionsQueue"}


def with_crm(hub, *systems):
    """A tenant whose records go to a CRM."""
    crm, tenant = Crm(), hub.tenant("sarah_ai", *systems)
    registered = tenant.api("PUT", "/integrations/external_crm", crm.integration())
    tenant.secrets["external_crm"] = registered["webhook_secret"]
    return crm, tenant


def state(tenant, entity):
    states = tenant.api("GET", "/sync/external_crm")["data"]
    return next(state for state in states if state["entity_type"] == entity)


def test_records_of_each_kind_are_sent_once_and_kept_in_step(hub):
    crm, tenant = with_crm(hub)
    tenant.api("PUT", "/contacts/con_dana", CONTACT)
    tenant.api("PUT", "/companies/com_dental", {"name": "Whitfield Dental"})
    assert tenant.sample("sarah_ai/call_ended").body["status"] == "processed"
    for entity, kind in KINDS.items():
        tenant.api("POST", f"/sync/external_crm/{entity}", {})
        eventually(lambda: len(crm.records[kind]) == 1)
        eventually(lambda: state(tenant, entity)["waiting"] == 0)
    tenant.api("PUT", "/contacts/con_dana", CONTACT | {"first_name": "Dee"})
    tenant.api("POST", "/sync/external_crm/contact", {})
    eventually(lambda: [c["first_name"] for c in crm.records["contacts"].values()] == ["Dee"])


def test_the_schedule_sends_what_is_marked(hub):
    crm, tenant = with_crm(hub)
    tenant.api("PUT", "/contacts/con_dana", CONTACT)
    tenant.api("PUT", "/companies/com_dental", {"name": "Whitfield Dental"})
    assert tenant.sample("sarah_ai/call_ended").body["status"] == "processed"
    # As EventBridge Scheduler does every five minutes, and not only when this test looks.
    eventually(lambda: hub.invoke("ScheduleSyncs", {}) and all(crm.records.values()))


def test_an_import_takes_in_what_the_crm_has(hub):
    crm, tenant = with_crm(hub)
    tenant.api("PUT", "/contacts/con_dana", CONTACT | {"email": "dana@example.com"})
    # The same person as ours, and another.
    crm.records["contacts"] = {
        "x1": {"id": "x1", "first_name": "Dana", "email": "dana@example.com", "custom_fields": {}},
        "x2": {"id": "x2", "first_name": "Ari", "phone": "+14155550155", "custom_fields": {}},
    }
    crm.records["companies"] = {"c1": {"id": "c1", "name": "Bright Roof", "custom_fields": {}}}
    crm.records["interactions"] = {
        "i1": {"id": "i1", "phone": NUMBER, "type": "visit", "occurred_at": "2026-01-15T10:00:00Z"}
    }
    for entity in KINDS:
        tenant.api("POST", f"/sync/external_crm/{entity}", {"direction": "inbound", "full": True})
    eventually(lambda: len(tenant.api("GET", "/contacts")["data"]) == 2)
    eventually(lambda: len(tenant.api("GET", "/companies")["data"]) == 1)
    eventually(lambda: tenant.api("GET", f"/phone-numbers/{NUMBER}/interactions")["data"])


def test_what_a_crm_refuses_is_kept_and_sent_again(hub):
    crm, tenant = with_crm(hub)
    crm.broken = True
    tenant.api("PUT", "/contacts/con_dana", CONTACT)
    tenant.api("PUT", "/companies/com_dental", {"name": "Whitfield Dental"})
    assert tenant.sample("sarah_ai/call_ended").body["status"] == "processed"
    for entity in KINDS:
        tenant.api("POST", f"/sync/external_crm/{entity}", {})
    eventually(lambda: len(tenant.api("GET", "/failures")["data"]) == 3)
    crm.broken = False
    tenant.api("POST", "/failures/retry")
    eventually(lambda: not tenant.api("GET", "/failures")["data"])
    assert all(len(records) == 1 for records in crm.records.values())


def test_a_change_over_there_comes_in_and_is_not_sent_back(hub):
    crm, tenant = with_crm(hub)
    made = tenant.sample("external_crm/contact_created")
    assert made.body["status"] == "processed", made
    assert tenant.sample("external_crm/contact_deleted").body["status"] == "processed"
    assert tenant.sample("external_crm/company_created").body["status"] == "processed"
    assert tenant.sample("external_crm/interaction_created").body["status"] == "processed"
    tenant.api("POST", "/sync/external_crm/company", {})
    eventually(lambda: state(tenant, "company")["waiting"] == 0)
    assert not crm.records["companies"]


def test_a_removed_crm_is_sent_nothing_and_is_new_when_it_comes_back(hub):
    crm, tenant = with_crm(hub)
    tenant.api("PUT", "/contacts/con_dana", CONTACT)
    tenant.api("DELETE", "/integrations/external_crm")
    tenant.api("POST", "/sync/external_crm/contact", {}, status=404)
    tenant.api("PUT", "/integrations/external_crm", crm.integration())
    eventually(lambda: hub.invoke("ScheduleSyncs", {}) and crm.records["contacts"])


@pytest.mark.slow
def test_a_job_before_its_time_goes_back_into_its_queue(hub):
    crm, tenant = with_crm(hub)
    tenant.api("PUT", "/contacts/con_dana", CONTACT)
    tenant.api("PUT", "/companies/com_dental", {"name": "Whitfield Dental"})
    assert tenant.sample("sarah_ai/call_ended").body["status"] == "processed"
    for entity in KINDS:
        tenant.api("POST", f"/sync/external_crm/{entity}", {})
    eventually(lambda: all(crm.records.values()) and all(state(tenant, entity)["waiting"] == 0 for entity in KINDS))
    # A run that is at work now ends before it, and the queue's messages are received by then.
    due = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(seconds=20)
    job = {"v": 1, "kind": "sync_records", "tenant_id": tenant.id, "system_id": "external_crm", "due": due.isoformat()}
    for entity in KINDS:
        hub.put_message(QUEUES[entity], job | {"entity": entity, "task": {"mark_all": {}}})
    eventually(lambda: all(datetime.datetime.fromisoformat(at) >= due for at in tenant.runs().values()))
