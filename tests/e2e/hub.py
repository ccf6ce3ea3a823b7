"""A client of the deployed hub: what a sender, a tenant's engineer, a subscriber, a CRM and an operator do."""

import base64
import dataclasses
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import re
import threading
import time
import uuid

import urllib3

from deploy import ROOT, Aws

SAMPLES = ROOT / "events"


@dataclasses.dataclass
class Answer:
    """What came back over HTTP."""

    status: int
    headers: dict
    body: object


class Hub:
    """The deployed stack."""

    def __init__(self, path):
        stack = json.loads(pathlib.Path(path).read_text())
        self.aws = Aws(stack["aws"])
        self.outputs, self.resources = stack["outputs"], stack["resources"]
        self.table = self.outputs["TableName"]
        # The gateway of the emulator is told by the host's name, as AWS' is; its address is this machine's.
        self.api_id = self.resources["HttpApi"]
        self.http = urllib3.PoolManager(retries=False, timeout=60)

    def send(self, method, path, body=None, headers=()):
        """A request to the gateway; `body` is sent as it is where it is bytes, else as JSON."""
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        answer = self.http.request(
            method,
            self.aws.url + path,
            body=raw,
            headers={"host": f"{self.api_id}.execute-api.localhost", "content-type": "application/json"}
            | dict(headers),
        )
        parsed = json.loads(answer.data) if answer.data else None
        return Answer(answer.status, dict(answer.headers), parsed)

    def invoke(self, function, payload):
        """Calls a function directly, as its operator or its schedule does."""
        answer = self.aws.__getattr__("lambda").invoke(
            FunctionName=self.resources[function], Payload=json.dumps(payload)
        )
        result = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, result
        return result

    def administer(self, action, tenant=None, **fields):
        """An operator's order."""
        whose = {"tenant_id": tenant.id} if tenant else {}
        return self.invoke("AdministerTenant", {"action": action} | whose | fields)

    def put_message(self, queue, body):
        """Puts a message into a queue of the stack."""
        self.aws.sqs.send_message(QueueUrl=self.resources[queue], MessageBody=json.dumps(body))

    def items(self, partition):
        """The items of a partition of the table, as DynamoDB has them."""
        return self.aws.dynamodb.query(
            TableName=self.table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": partition}},
        )["Items"]

    def put_item(self, item):
        """Puts an item into the table."""
        self.aws.dynamodb.put_item(TableName=self.table, Item=item)

    def tenant(self, *systems, **fields):
        """A new tenant with these systems: ids, or what an operator configures."""
        return Tenant(self, systems, fields)


class Tenant:
    """A tenant, its engineer and its systems."""

    def __init__(self, hub, systems, fields):
        self.hub = hub
        self.id = f"e2e_{uuid.uuid4().hex[:12]}"
        order = {
            "tenant_id": self.id,
            "name": "End to end",
            "default_region": "US",
            "integrations": [system if isinstance(system, dict) else {"system_id": system} for system in systems],
        }
        made = hub.invoke("ProvisionTenant", order | fields)
        self.key = made["api_key"]
        self.secrets = {system["system_id"]: system["webhook_secret"] for system in made["integrations"]}
        self.urls = {system["system_id"]: system["webhook_url"] for system in made["integrations"]}

    def api(self, method, path, body=None, status=None, **headers):
        """A call of the management API; fails where the answer's status isn't the one that belongs to the method."""
        answer = self.hub.send(
            method, f"/v1{path}", body, {"authorization": f"Bearer {self.key}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        )
        expected = [status] if status else {"DELETE": [204]}.get(method, [200, 201, 202])
        assert answer.status in expected, f"{method} {path}: {answer}"
        return answer.body

    def webhook(self, system, body, sign=None):
        """A webhook, signed as the system does it, or by `sign`."""
        raw = json.dumps(body).encode()
        sign = sign or SIGNATURES.get(system, standard)
        return self.hub.send("POST", f"/webhooks/{self.id}/{system}", raw, sign(self.secrets[system], raw))

    def runs(self):
        """When each kind of record was last synced with the tenant's CRM."""
        states = self.api("GET", "/sync/external_crm")["data"]
        return {state["entity_type"]: state["last_run_at"] for state in states}

    def sample(self, name, **changes):
        """One of the repository's sample webhooks, sent; `changes` are made before, at paths such as `call__id`."""
        sample = json.loads((SAMPLES / f"{name}.json").read_text())
        headers = sample["headers"]
        system, body = sample["system_id"], sample["body"]
        for path, value in changes.items():
            *parents, last = path.split("__")
            within = body
            for parent in parents:
                within = within[parent]
            within[last] = value
        raw = json.dumps(body).encode()
        signed = SIGNATURES.get(system, standard)(self.secrets[system], raw)
        return self.hub.send("POST", f"/webhooks/{self.id}/{system}", raw, headers | signed)


def custom(secret, raw):
    return {"x-webhook-signature": f"sha256={hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}"}


def github(secret, raw):
    return {"x-hub-signature-256": f"sha256={hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}"}


def stripe(secret, raw):
    at = str(int(time.time()))
    signed = hmac.new(secret.encode(), f"{at}.".encode() + raw, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={at},v1={signed}"}


def standard(secret, raw, name=None, at=None):
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    name, at = name or f"msg_{uuid.uuid4().hex}", at or int(time.time())
    signed = hmac.new(key, f"{name}.{at}.".encode() + raw, hashlib.sha256).digest()
    return {
        "webhook-id": name,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }


SIGNATURES = {"sarah_ai": custom, "payment_processor": custom, "stripe": stripe, "github": github}


def eventually(check, seconds=60):
    """What `check` gives, once it gives something: queues, streams and schedules take their time."""
    seconds = float(os.environ.get("E2E_PATIENCE", seconds))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := check():
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s: {check.__name__}")


class Receiver:
    """A server of the tenant's own: keeps what comes, and answers with `statuses`, the last of them for good."""

    def __init__(self, *statuses):
        self.statuses = list(statuses) or [200]
        self.received = []
        self.server = serve(self.answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, method, path, headers, body):
        self.received.append((headers, body))
        return (self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]), b"{}"

    def events(self, *types):
        """The bodies of the events of these types that came, or of all but tests."""
        bodies = [json.loads(body) for _, body in list(self.received)]
        return [b for b in bodies if (b["event_type"] in types if types else b["event_type"] != "webhook.test")]


class Crm:
    """A tenant's CRM, of the preset `generic`: keeps records by their ids."""

    def __init__(self):
        self.records = {"contacts": {}, "companies": {}, "interactions": {}}
        self.broken = False
        self.server = serve(self.answer)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def integration(self):
        """What a tenant registers."""
        outbound = {"preset": "generic", "base_url": self.url, "auth": {"type": "bearer", "token": "of-the-crm"}}
        return {"direction": "bidirectional", "outbound": outbound}

    def answer(self, method, path, headers, body):
        if self.broken:
            return 422, b'{"message": "not today"}'
        kind, _, external = path.partition("?")[0].strip("/").partition("/")
        records = self.records[kind]
        if method == "POST":
            external = f"x{len(records) + 1}"
            records[external] = {"id": external} | json.loads(body)
            return 201, json.dumps(records[external]).encode()
        if method == "PATCH":
            records[external] |= json.loads(body)
            return 200, json.dumps(records[external]).encode()
        if method == "DELETE":
            records.pop(external, None)
            return 204, b""
        wanted = re.search(r"smrt_crm_id=([^&]+)", path)
        found = [
            record
            for record in records.values()
            if not wanted or record.get("custom_fields", {}).get("smrt_crm_id") == wanted[1]
        ]
        return 200, json.dumps({"data": found, "next_cursor": None}).encode()


def serve(answer):
    """Starts an HTTP server on this machine that answers with what `answer` gives: a status and a body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, content = answer(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
