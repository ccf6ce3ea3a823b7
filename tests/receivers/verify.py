"""Receives the hub's outgoing webhooks as a tenant's engineer would, and verifies them with libraries that aren't ours:
Python's `standardwebhooks` and `svix`, and for X-Webhook-Signature the original description's own lines.

Usage: verify.py HUB_URL AWS_URL, of a `cargo local`. `.ci/webhooks` runs it.
"""

import hashlib
import hmac
import json
import sys
import time
import urllib.error
import urllib.request

import standardwebhooks.webhooks
import svix.webhooks

HUB, AWS = sys.argv[1:]
TENANT = "receivers"
CALL_SECRET = "a-secret-of-nobody"
RECEIVER = f"{AWS}/_local/receiver"


def ask(method, url, body=None, headers=()):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers=dict(headers))
    request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def provision():
    """Makes the tenant, and gives its API key."""
    order = {"tenant_id": TENANT, "integrations": [{"system_id": "sarah_ai", "webhook_secret": CALL_SECRET}]}
    return ask("POST", f"{HUB}/2015-03-31/functions/provision-tenant/invocations", order)["api_key"]


def call(n, agent):
    """Sends the webhook of a call that ended, signed as the original description says."""
    payload = {
        "event_id": f"evt_{n}",
        "event_type": "call.ended",
        "call": {"id": f"call_{n}", "destination_number": "+14155550132", "duration_seconds": 65.5, "disposition": "SALE"},
        "agent": {"name": agent},
    }
    canonical = json.dumps(payload, sort_keys=True, separators=(",", ":"))
    signature = hmac.new(CALL_SECRET.encode(), canonical.encode(), hashlib.sha256).hexdigest()
    answer = ask("POST", f"{HUB}/webhooks/{TENANT}/sarah_ai", payload, [("x-webhook-signature", f"sha256={signature}")])
    assert answer["status"] == "processed", answer


def arrived(seen):
    """What came to the receiver after the first `seen`: waits until something did."""
    for _ in range(300):
        webhooks = ask("GET", RECEIVER)[seen:]
        if webhooks:
            return [(dict(webhook["headers"]), webhook["body"]) for webhook in webhooks]
        time.sleep(0.1)
    raise SystemExit("nothing arrived within 30 s")


def verifies(library, secret, headers, body):
    try:
        library.Webhook(secret).verify(body, headers)
        return True
    except library.WebhookVerificationError:
        return False


def verified(secret, headers, body):
    """Whether each library takes it with this secret; all must agree."""
    answers = {verifies(library, secret, headers, body) for library in (standardwebhooks.webhooks, svix.webhooks)}
    assert len(answers) == 1, "the libraries disagree"
    return answers.pop()


def verified_by_description(secret, headers, body):
    """As in `integration-patterns.md`: HMAC-SHA256 of the canonical form of the payload's data."""
    payload = json.loads(body)
    canonical = json.dumps(payload["data"], sort_keys=True, separators=(",", ":"))
    expected = "sha256=" + hmac.new(secret.encode(), canonical.encode(), hashlib.sha256).hexdigest()
    assert headers["x-webhook-signature"] == payload["metadata"]["signature"]
    return hmac.compare_digest(expected, headers["x-webhook-signature"])


def main():
    key = provision()
    authorization = [("authorization", f"Bearer {key}")]
    order = {"url": RECEIVER, "event_types": ["*"]}
    subscription = ask("POST", f"{HUB}/v1/subscriptions", order, authorization)
    assert "warnings" not in subscription, subscription
    secret = subscription["secret"]
    seen = len(arrived(0))

    def told(n, agent):
        nonlocal seen
        call(n, agent)
        time.sleep(1)
        webhooks = arrived(seen)
        seen += len(webhooks)
        return webhooks

    def rotated(**fields):
        return ask("POST", f"{HUB}/v1/subscriptions/{subscription['id']}/rotate-secret", fields, authorization)["secret"]

    checks = 0

    def check(what, holds):
        nonlocal checks
        assert holds, what
        checks += 1

    for headers, body in told(1, "Zoë \U0001f600"):
        check("the current secret verifies", verified(secret, headers, body))
        check("by the description too", verified_by_description(secret, headers, body))
        check("a changed body doesn't", not verified(secret, headers, body.replace("+1415", "+1416")))
        check("another id doesn't", not verified(secret, {**headers, "webhook-id": "evt_other"}, body))
        svix_names = {name.replace("webhook-", "svix-"): value for name, value in headers.items()}
        check("Svix takes its own header names", verifies(svix.webhooks, secret, svix_names, body))
        check("the agent", "agent" not in body or json.loads(body)["data"].get("interaction", {}).get("agent_name") in (None, "Zoë \U0001f600"))
    new = rotated()
    for headers, body in told(2, "Sarah"):
        check("during a rotation the old secret verifies", verified(secret, headers, body))
        check("during a rotation the new secret verifies", verified(new, headers, body))
        check("by the description the new one", verified_by_description(new, headers, body))
        check("by the description not the old one", not verified_by_description(secret, headers, body))
    newest = rotated(overlap_hours=0)
    for headers, body in told(3, "Sarah"):
        check("after it only the new one", verified(newest, headers, body) and not verified(new, headers, body))
        check("by the description too", verified_by_description(newest, headers, body))
    print(f"{checks} checks of {seen} webhooks by standardwebhooks, svix and the original description: all hold")


main()
