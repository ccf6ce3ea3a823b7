"""Starts ministack, the AWS emulator, and mends what it gets wrong.

python emulator.py PORT USED, where USED is the file that tells which permissions were used, a JSON object a line.
"""

import functools
import json
import os
import re
import socketserver
import sys


def main(port, used):
    os.environ.update(
        GATEWAY_PORT=port,
        BIND_HOST="127.0.0.1",
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        # IAM is enforced: each function runs with its role's permissions and no more.
        AUTH="true",
        LOG_LEVEL="WARNING",
    )
    # The answer to a function is small: with Nagle's algorithm it waits 40 ms for more.
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True

    from ministack import app
    from ministack.core import iam_actions, iam_evaluator
    from ministack.services import lambda_svc

    wrap(iam_actions, "extract_iam_action", batches_as_single_actions)
    wrap(iam_actions, "dynamodb_service_context", with_leading_keys)
    wrap(iam_evaluator, "_conditions_met", with_policy_variables)
    wrap(iam_evaluator, "evaluate", noting(open(used, "w", buffering=1)))
    wrap(lambda_svc, "_provided_worker_env", with_logging_settings)
    sys.argv = ["ministack"]
    app.main()


def wrap(module, name, wrapper):
    function = getattr(module, name)
    setattr(module, name, functools.wraps(function)(functools.partial(wrapper, function)))


def batches_as_single_actions(extract, *request):
    """A batch to SQS takes the permission of the single action.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-batch-api-actions.html
    """
    action = extract(*request)
    return action.removesuffix("Batch") if action and action.startswith("sqs:") else action


def with_policy_variables(are_met, conditions, context):
    """Conditions may name keys of the request, such as `${aws:PrincipalTag/tenant}`.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    """
    from ministack.core.iam_evaluator import _resolve_condition_key

    def value(variable):
        found = _resolve_condition_key(variable[1], context)
        return json.dumps(found)[1:-1] if isinstance(found, str) else variable[0]

    return are_met(json.loads(re.sub(r"\$\{([^}]+)\}", value, json.dumps(conditions or {}))), context)


def noting(file):
    """Notes which statement of which role allowed what, so that a statement that nothing needs is found."""
    noted = set()

    def noted_evaluate(evaluate, context, *policies):
        result = evaluate(context, *policies)
        use = (context.principal_arn, result.matched_sid, context.action, context.resource_arn)
        if result.decision == "Allow" and use not in noted:
            noted.add(use)
            file.write(json.dumps(dict(zip(("principal", "sid", "action", "resource"), use))) + "\n")
        return result

    return noted_evaluate


def with_logging_settings(environment, config, *rest):
    """What Lambda tells a function of its `LoggingConfig`.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html
    """
    logging = config.get("LoggingConfig") or {}
    told = {
        "AWS_LAMBDA_LOG_FORMAT": logging.get("LogFormat", "Text"),
        "AWS_LAMBDA_LOG_LEVEL": logging.get("ApplicationLogLevel", "INFO"),
    }
    return told | environment(config, *rest)


def with_leading_keys(context, body):
    """Requests to DynamoDB have the condition key `dynamodb:LeadingKeys`, the partition keys that they name.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html
    """
    keys = leading_keys(json.loads(body or b"{}"))
    return context(body) | ({"dynamodb:LeadingKeys": keys} if keys else {})


# The partition keys of the table and of its indexes.
PARTITION_KEYS = ("pk", "g1pk", "due_pk")


def leading_keys(request):
    """The partition keys that a request to DynamoDB names."""
    keys = set()

    def of(item):
        keys.update(item[name]["S"] for name in PARTITION_KEYS[:1] if name in (item or {}))

    of(request.get("Key"))
    of(request.get("Item"))
    for transacted in request.get("TransactItems", []):
        for action in transacted.values():
            of(action.get("Key"))
            of(action.get("Item"))
    for table in request.get("RequestItems", {}).values():
        for key in table["Keys"] if isinstance(table, dict) else []:
            of(key)
        for write in table if isinstance(table, list) else []:
            of(write.get("PutRequest", {}).get("Item") or write.get("DeleteRequest", {}).get("Key"))
    names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})
    for name, value in re.findall(r"([#\w]+)\s*=\s*(:\w+)", request.get("KeyConditionExpression", "")):
        if names.get(name, name) in PARTITION_KEYS:
            keys.add(values[value]["S"])
    return sorted(keys)


if __name__ == "__main__":
    main(*sys.argv[1:])
