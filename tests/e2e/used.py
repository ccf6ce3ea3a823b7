"""Compares what the roles in the template may do with what the tests saw used: a right that nothing used is one too many.

What isn't allowed and is needed fails in the tests themselves. Run by `run` after all tests.
"""

import collections
import json
import os
import sys

from deploy import STACK, TEMPLATE, yaml_parse

# What Lambda does with a role, and the emulator by its own right: test_roles.py asks IAM for these.
BY_LAMBDA = {"WriteLogs", "WriteTraces", "ReadQueue", "ReadStream", "ReportUnpublished"}


def main():
    resources = yaml_parse(TEMPLATE.read_text())["Resources"]
    used = uses()
    needless = [
        f"{role}.{statement['Sid']}: {', '.join(unused) or 'a resource'}"
        for role, statement in statements(resources)
        if (unused := needless_actions(statement, used[role, statement["Sid"]])) is not None
    ]
    sys.exit("nothing used these rights:\n" + "\n".join(needless) if needless else 0)


def uses():
    """What each statement of each role allowed: pairs of an action and a resource."""
    used = collections.defaultdict(set)
    with open(os.environ["E2E_USED"]) as lines:
        for use in map(json.loads, lines):
            if ":assumed-role/" in use["principal"]:
                role = use["principal"].split("/")[1].removeprefix(f"{STACK}-").rpartition("-")[0]
                used[role, use["sid"]].add((use["action"], use["resource"]))
    return used


def statements(resources):
    """The statements of each role, those of its managed policies among them; without conditional resources."""
    for name, role in resources.items():
        if role["Type"] != "AWS::IAM::Role" or "Condition" in role:
            continue
        properties = role["Properties"]
        managed = [resources[policy["Ref"]]["Properties"] for policy in properties["ManagedPolicyArns"] if "Ref" in policy]
        for policy in [*managed, *properties.get("Policies", [])]:
            for statement in policy["PolicyDocument"]["Statement"]:
                if statement["Sid"] not in BY_LAMBDA:
                    yield name, statement


def needless_actions(statement, used):
    """The actions that weren't used; none of them where it is a resource that wasn't; `None` where all was."""
    unused = sorted(set(listed(statement["Action"])) - {action for action, _ in used})
    fewer = len({resource for _, resource in used}) < len(listed(statement["Resource"]))
    return unused if unused or fewer else None


def listed(value):
    return value if isinstance(value, list) else [value]


if __name__ == "__main__":
    main()
