"""Takes away each statement of each role in turn, and runs the tests until one fails: a statement that none misses is one too many.

python statements.py [PART…]: only statements whose role and name have one of the parts in them. Run by `run --statements`.
"""

import contextlib
import json
import os
import subprocess
import sys
import time

from hub import Hub

HERE = os.path.dirname(os.path.abspath(__file__))
PYTEST = ["-m", "pytest", "-c", f"{HERE}/pytest.ini", HERE, "-x", "--tb=no"]
# Who waits for what isn't allowed any more needn't wait for long.
QUICK = {"E2E_PATIENCE": "20"}


def main(parts):
    hub = Hub(os.environ["E2E_STACK"])
    assert failing("not slow", QUICK) is None, "the tests fail as it is"
    needless = []
    for name, without in statements(hub):
        if parts and not any(part in name for part in parts):
            continue
        begun = time.monotonic()
        with without:
            # Those that wait for the end of a minute only where they are needed.
            missed_by = failing("not slow", QUICK) or failing("slow")
        print(f"{name}: {missed_by or 'MISSED BY NO TEST'} ({time.monotonic() - begun:.0f} s)", flush=True)
        needless += [] if missed_by else [name]
    # Else the last ones may have been missed by tests that fail anyway.
    assert failing("not slow", QUICK) is None, "the tests fail though every statement is back"
    sys.exit(f"no test misses {', '.join(needless)}" if needless else 0)


def failing(marked, settings={}):
    """The first of the tests with this mark that fails; `None` where all pass."""
    command = [sys.executable, *PYTEST, "-m", marked]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | settings)
    failed = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    assert (ended.returncode == 0) == (not failed), ended.stdout
    return failed[0].rpartition("/")[2] if failed else None


def statements(hub):
    """Each statement of the stack's roles and policies: its name, and a context in which it isn't there."""
    for logical, physical in hub.resources.items():
        if physical.startswith("arn:aws:iam::") and ":policy/" in physical:
            document = hub.aws.iam.get_policy_version(PolicyArn=physical, VersionId="v1")["PolicyVersion"]["Document"]
            for n, statement in enumerate(document["Statement"]):
                yield f"{logical}.{statement['Sid']}", managed(hub, physical, document, less(document, n))
        elif logical.endswith("Role"):
            for policy in hub.aws.iam.list_role_policies(RoleName=physical)["PolicyNames"]:
                document = hub.aws.iam.get_role_policy(RoleName=physical, PolicyName=policy)["PolicyDocument"]
                for n, statement in enumerate(document["Statement"]):
                    name = f"{logical}.{statement.get('Sid', statement['Action'])}"
                    yield name, inline(hub, physical, policy, document, less(document, n))


def less(document, n):
    """A policy without its `n`th statement; a policy has to have one, so one is left that allows nothing we do."""
    kept = [statement for i, statement in enumerate(document["Statement"]) if i != n]
    nothing = {"Effect": "Allow", "Action": "sts:GetCallerIdentity", "Resource": "*"}
    return json.dumps(document | {"Statement": kept or [nothing]})


@contextlib.contextmanager
def inline(hub, role, policy, whole, document):
    hub.aws.iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=document)
    try:
        yield
    finally:
        hub.aws.iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(whole))


@contextlib.contextmanager
def managed(hub, arn, whole, document):
    replace(hub, arn, document)
    try:
        yield
    finally:
        replace(hub, arn, json.dumps(whole))


def replace(hub, arn, document):
    """Makes `document` the policy's only version."""
    hub.aws.iam.create_policy_version(PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)
    for version in hub.aws.iam.list_policy_versions(PolicyArn=arn)["Versions"]:
        if not version["IsDefaultVersion"]:
            hub.aws.iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])


if __name__ == "__main__":
    main(sys.argv[1:])
