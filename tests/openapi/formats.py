"""What Schemathesis has to know of us: values of the formats that our schemas name, and which keys it must not revoke.

A URL that it makes up could be anybody's: they all lead to the receiver of `cargo local`.
"""

import os
from datetime import datetime

import schemathesis
from hypothesis import strategies as st

HERE = os.environ["SMRT_URL"]


def of(*values):
    return st.sampled_from(values)


for name, values in {
    "uri": of(f"{HERE}/_local/receiver", f"{HERE}/_local/receiver/other", f"{HERE}/_local/receiver?a=1"),
    "header-name": of("X-Env", "Authorization", "x-own-header"),
    "mapping-path": of("data.interaction.outcome", "interaction.duration_seconds", "event_type", "data.contacts[0].name"),
    "jmespath": of("starts_with(data.phone_number, '+1')", "data.payment.amount > `100`", "event_type == 'contact.created'"),
    "webhook-secret": of("whsec_" + "A" * 32, "whsec_" + "B" * 32),
    "subscription-secret": of("whsec_" + "A" * 32, "whsec_" + "B" * 32),
    "email": of("ada@example.com", "grace.hopper+tag@mail.example.co.uk"),
    # They are sealed: `before_call` leaves this one out.
    "cursor": of("CURSOR"),
}.items():
    schemathesis.openapi.format(name, values)


OWN_KEYS = os.environ["SMRT_KEYS"].split(",")

SUBSCRIBING = ["POST /v1/subscriptions", "PATCH /v1/subscriptions/{id}"]


@schemathesis.hook
def before_call(context, case, kwargs):
    label, query, body = case.operation.label, case.query or {}, case.body
    if query.get("cursor") == "CURSOR":
        del query["cursor"]
    if label == "DELETE /v1/api-keys/{id}" and case.path_parameters.get("id") in OWN_KEYS:
        case.path_parameters["id"] = "key_none"
    # Each write would be told to hundreds of them.
    if label in SUBSCRIBING and isinstance(body, dict) and any(body.get("is_active") is value for value in (True, None)):
        body["is_active"] = False
    # A key that has ended already can't be asked for.
    if label == "POST /v1/api-keys" and isinstance(body, dict) and is_time(body.get("expires_at")):
        body["expires_at"] = "2100" + body["expires_at"][4:]


def is_time(value):
    try:
        return isinstance(value, str) and datetime.fromisoformat(value.replace("Z", "+00:00")) is not None
    except ValueError:
        return False
