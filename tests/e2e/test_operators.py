"""What operators do, by functions that no route leads to."""

import json

import pytest

from hub import Crm, Receiver, eventually

NUMBER = "+14155550132"


def test_a_tenant_is_provisioned_once(hub):
    tenant = hub.tenant("sarah_ai")
    order = {"tenant_id": tenant.id, "name": "Again", "default_region": "US", "integrations": [{"system_id": "sarah_ai"}]}
    again = hub.invoke("ProvisionTenant", order)
    assert (again["api_key"], again["integrations"][0]["webhook_secret"]) == (None, None)


def test_a_crm_that_an_operator_registers_is_sent_what_there_is(hub):
    crm, tenant = Crm(), hub.tenant("sarah_ai")
    tenant.api("PUT", "/contacts/con_dana", {"first_name": "Dana"})
    order = {"tenant_id": tenant.id, "name": "x", "default_region": "US"}
    order["integrations"] = [{"system_id": "external_crm"} | crm.integration()]
    hub.invoke("ProvisionTenant", order)
    eventually(lambda: crm.records["contacts"])


def test_a_suspended_tenant_is_closed_until_it_is_resumed(hub):
    tenant = hub.tenant("sarah_ai")
    assert hub.administer("suspend", tenant, reason="e2e")["active"] is False
    eventually(lambda: tenant.sample("sarah_ai/call_ended").status == 404, seconds=30)
    assert hub.administer("resume", tenant, reason="e2e")["active"] is True
    eventually(lambda: tenant.sample("sarah_ai/call_ended").status == 200, seconds=30)


def test_keys_lists_and_exports(hub):
    tenant = hub.tenant("sarah_ai", "payment_processor")
    assert tenant.sample("payment_processor/payment_succeeded").body["status"] == "failed"
    assert hub.administer("reissue_key", tenant, revoke_others=True)["api_key"] != tenant.key
    listed = hub.administer("list_tenants", limit=100)
    assert listed["data"]
    assert hub.administer("list_failures", tenant)["data"][0]["code"] == "unknown_phone_number"
    assert tenant.id in hub.administer("export", tenant)["lines"]
    assert "tenants" in hub.administer("index_tenants")


def test_a_number_is_erased_and_a_tenant_deleted(hub):
    receiver = Receiver()
    tenant = hub.tenant("sarah_ai", "external_crm")
    tenant.api("POST", "/subscriptions", {"url": receiver.url, "event_types": ["*"]})
    assert tenant.sample("sarah_ai/call_ended").body["status"] == "processed"
    assert tenant.sample("external_crm/contact_created").body["status"] == "processed"
    eventually(lambda: len(receiver.events()) >= 3)
    cursor = None
    while True:
        page = hub.administer("erase_number", tenant, phone_number=NUMBER, cursor=cursor)
        if (cursor := page["next_cursor"]) is None:
            break
    assert page["done"] is True
    assert tenant.api("GET", "/contacts")["data"] == []
    assert hub.administer("delete", tenant, confirm=tenant.id)["deleted"] > 0
    assert hub.items(f"{tenant.id}#int") == []

    # The rest goes when nothing can be under way any more, 21 minutes later: as if they were over.
    (item,) = [item for item in hub.items(f"{tenant.id}#config") if item["sk"]["S"] == "tenant"]
    doc = json.loads(item["doc"]["S"]) | {"deleting_since": "2026-01-01T00:00:00Z"}
    hub.put_item(item | {"doc": {"S": json.dumps(doc)}})
    assert hub.administer("delete", tenant, confirm=tenant.id)["done"] is True
    with pytest.raises(hub.aws.secretsmanager.exceptions.ClientError):
        hub.aws.secretsmanager.get_secret_value(SecretId=f"smrt/e2e/tenant/{tenant.id}")
