"""The management API behind its authorizer."""

from hub import Crm

CONTACT = {"first_name": "Dana", "phone_number": "+14155550132"}


def test_only_a_key_opens_it_and_only_to_its_own_tenant(hub):
    one, two = hub.tenant("sarah_ai"), hub.tenant("sarah_ai")
    assert hub.send("GET", "/v1/contacts").status == 401
    assert hub.send("GET", "/v1/contacts", headers={"authorization": "Bearer smrt_nobodys"}).status in (401, 403)
    one.api("PUT", "/contacts/con_dana", CONTACT)
    two.api("GET", "/contacts/con_dana", status=404)
    assert one.api("GET", "/contacts/con_dana")["first_name"] == "Dana"


def test_its_description_needs_no_key(hub):
    assert hub.send("GET", "/v1/openapi.json").body["openapi"].startswith("3.1")


def test_keys_are_made_limited_and_revoked(hub):
    tenant = hub.tenant("sarah_ai")
    made = tenant.api("POST", "/api-keys", {"name": "reader", "scopes": ["read"]})
    own, tenant.key = tenant.key, made["key"]
    tenant.api("GET", "/contacts")
    tenant.api("PUT", "/contacts/con_dana", CONTACT, status=403)
    tenant.key = own
    tenant.api("DELETE", f"/api-keys/{made['id']}")
    (revoked,) = [key for key in tenant.api("GET", "/api-keys")["data"] if key["id"] == made["id"]]
    assert revoked["revoked_at"]


def test_a_system_is_registered_rotated_and_removed(hub):
    crm, tenant = Crm(), hub.tenant()
    made = tenant.api("PUT", "/integrations/external_crm", crm.integration())
    # The address of the gateway, which a function behind it isn't told but by its requests.
    assert made["webhook_url"].endswith(f"/webhooks/{tenant.id}/external_crm")
    assert made["webhook_url"].startswith("https://"), made
    tenant.secrets["external_crm"] = made["webhook_secret"]
    assert tenant.sample("external_crm/contact_created").body["status"] == "processed"
    assert tenant.api("POST", "/integrations/external_crm/validate")["success"] is True
    rotated = tenant.api("POST", "/integrations/external_crm/rotate-secret", {})
    tenant.secrets["external_crm"] = rotated["secret"]
    assert tenant.sample("external_crm/company_created").body["status"] == "processed"
    tenant.api("DELETE", "/integrations/external_crm")
    tenant.api("GET", "/integrations/external_crm", status=404)


def test_a_call_with_an_idempotency_key_is_made_once(hub):
    tenant = hub.tenant("sarah_ai")
    wanted = {"mapping": {"event_type": "type", "events": {}}, "payload": {"type": "x"}}
    answers = [tenant.api("POST", "/mappings/preview", wanted, idempotency_key="once") for _ in range(2)]
    assert answers[0] == answers[1]


def test_what_came_in_is_listed_and_replayed(hub):
    tenant = hub.tenant("sarah_ai")
    assert tenant.sample("sarah_ai/call_ended").body["status"] == "processed"
    (event,) = tenant.api("GET", "/inbound-events?status=processed")["data"]
    assert tenant.api("GET", f"/inbound-events/{event['id']}")["payload"]["event_type"] == "call.ended"
    tenant.api("POST", f"/inbound-events/{event['id']}/replay")
    tenant.api("DELETE", "/contacts/con_nobody", status=404)
