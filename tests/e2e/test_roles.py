"""What AWS itself does with the roles: Lambda logs, polls and reports, and schedules invoke. The emulator does that by its own
right, so here IAM is asked whether the role may."""

QUEUE = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
# https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
STREAM = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"]


def refused(hub, role, actions, arn):
    answer = hub.aws.iam.simulate_principal_policy(PolicySourceArn=role, ActionNames=actions, ResourceArns=[arn])
    return [result["EvalActionName"] for result in answer["EvaluationResults"] if result["EvalDecision"] != "allowed"]


def test_functions_may_log_read_their_sources_and_report_what_is_given_up(hub):
    functions = {f["FunctionArn"]: f for f in hub.aws.__getattr__("lambda").list_functions()["Functions"]}
    assert len(functions) == 19
    logs = f"arn:aws:logs:us-east-1:000000000000:log-group:{hub.resources['Logs']}:log-stream:any"
    for function in functions.values():
        assert refused(hub, function["Role"], ["logs:CreateLogStream", "logs:PutLogEvents"], logs) == [], function
    sources = hub.aws.__getattr__("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert len(sources) == 6
    for source in sources:
        role, arn = functions[source["FunctionArn"]]["Role"], source["EventSourceArn"]
        assert refused(hub, role, QUEUE if ":sqs:" in arn else STREAM, arn) == [], source
        destination = source.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination")
        if destination:
            assert refused(hub, role, ["sqs:SendMessage"], destination) == [], source


def test_schedules_may_invoke_what_they_are_for(hub):
    schedules = [schedule["Name"] for schedule in hub.aws.scheduler.list_schedules()["Schedules"]]
    assert len(schedules) == 3
    for name in schedules:
        target = hub.aws.scheduler.get_schedule(Name=name)["Target"]
        assert refused(hub, target["RoleArn"], ["lambda:InvokeFunction"], target["Arn"]) == [], name
