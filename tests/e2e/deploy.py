"""Deploys `infra/template.yaml` as it is onto the emulator, with the functions' binaries.

What the emulator can't do is mended here and in emulator.py, never in the template.

python deploy.py URL BINARIES STACK, where STACK is the file that tells what was deployed.
"""

import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import zipfile

import boto3
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "infra" / "template.yaml"
REGION = "us-east-1"
STACK = "smrt-e2e"
BUCKET = "smrt-e2e-artifacts"
PARAMETERS = {
    "Stage": "e2e",
    # The tests' receivers are on this machine.
    "Endpoints": "loopback",
    # What else is tried, such as E2E_PARAMETERS="TenantSessions=true".
    **dict(pair.split("=", 1) for pair in os.environ.get("E2E_PARAMETERS", "").split()),
}


class Aws:
    """Clients of the emulator at a URL, with the rights of the account's root."""

    def __init__(self, url):
        self.url = url

    def __getattr__(self, service):
        client = boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 0}, read_timeout=90, s3={"addressing_style": "path"}),
        )
        setattr(self, service, client)
        return client


def deploy(aws, binaries):
    """Deploys, and answers the stack's outputs, and the physical id of each of its resources."""
    template = yaml_parse(TEMPLATE.read_text())
    upload(aws, template, binaries)
    os.environ["AWS_DEFAULT_REGION"] = REGION
    plain = transform(template, {}, NoManagedPolicies())
    expand_routes(plain)
    leave_out_metric_math(plain)
    aws.s3.put_object(Bucket=BUCKET, Key="template", Body=json.dumps(plain, default=str))
    aws.cloudformation.create_stack(
        StackName=STACK,
        TemplateURL=f"{aws.url}/{BUCKET}/template",
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in PARAMETERS.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    stack = settled(aws)
    resources = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in aws.cloudformation.get_paginator("list_stack_resources").paginate(StackName=STACK)
        for resource in page["StackResourceSummaries"]
        if "PhysicalResourceId" in resource
    }
    ttl = template["Resources"]["HubTable"]["Properties"]["TimeToLiveSpecification"]
    aws.dynamodb.update_time_to_live(TableName=resources["HubTable"], TimeToLiveSpecification=ttl)
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}, resources


def settled(aws):
    """Waits for the stack, and tells what failed."""
    for _ in range(600):
        stack = aws.cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
        if not stack["StackStatus"].endswith("_IN_PROGRESS"):
            break
        time.sleep(0.2)
    if stack["StackStatus"] != "CREATE_COMPLETE":
        events = aws.cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
        failed = [
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}"
            for event in events
            if event["ResourceStatus"].endswith("FAILED")
        ]
        raise SystemExit(f"the stack is {stack['StackStatus']}: " + "; ".join(failed))
    return stack


class NoManagedPolicies:
    """What SAM asks for the ARNs of AWS' managed policies: only the parts of ARNs are needed."""

    def load(self):
        return {}


def upload(aws, template, binaries):
    """What `sam build` and `sam package` do: puts each function's binary into a bucket, and says so in the template."""
    aws.s3.create_bucket(Bucket=BUCKET)
    uploaded = set()
    for function in functions(template).values():
        binary = function["Metadata"]["BuildProperties"]["Binary"]
        if binary not in uploaded:
            aws.s3.put_object(Bucket=BUCKET, Key=binary, Body=archive(binaries / binary / "bootstrap"))
            uploaded.add(binary)
        function["Properties"]["CodeUri"] = {"Bucket": BUCKET, "Key": binary}


def functions(template):
    """The template's functions by their logical ids."""
    return {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def archive(binary):
    """A function's zip. Without debugging information, and not compressed: it only goes to this machine's memory."""
    stripped = binary.with_name("stripped")
    subprocess.run(["strip", "-o", stripped, binary], check=True)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o755 << 16
        with zipped.open(entry, "w", force_zip64=True) as into, stripped.open("rb") as source:
            shutil.copyfileobj(source, into)
    return file.getvalue()


def expand_routes(template):
    """The emulator ignores the OpenAPI document in which SAM gives an HTTP API its routes: makes resources of it."""
    resources = template["Resources"]
    for name, api in [(n, r) for n, r in resources.items() if r["Type"] == "AWS::ApiGatewayV2::Api"]:
        body = api["Properties"].pop("Body")
        api["Properties"] |= {"Name": name, "ProtocolType": "HTTP"}
        reference = {"Ref": name}
        for scheme, definition in body.get("components", {}).get("securitySchemes", {}).items():
            settings = definition["x-amazon-apigateway-authorizer"]
            resources[f"{name}{scheme}Authorizer"] = resource(
                "Authorizer",
                ApiId=reference,
                Name=scheme,
                AuthorizerType="REQUEST",
                AuthorizerUri=settings["authorizerUri"],
                AuthorizerPayloadFormatVersion=settings["authorizerPayloadFormatVersion"],
                AuthorizerResultTtlInSeconds=settings["authorizerResultTtlInSeconds"],
                EnableSimpleResponses=settings["enableSimpleResponses"],
                IdentitySource=settings["identitySource"],
            )
        for path, methods in body["paths"].items():
            for method, operation in methods.items():
                route = f"{name}Route{sum(r['Type'] == 'AWS::ApiGatewayV2::Route' for r in resources.values())}"
                integration = operation["x-amazon-apigateway-integration"]
                resources[f"{route}Integration"] = resource(
                    "Integration",
                    ApiId=reference,
                    IntegrationType="AWS_PROXY",
                    IntegrationUri=integration["uri"],
                    PayloadFormatVersion=integration["payloadFormatVersion"],
                )
                verb = "ANY" if method == "x-amazon-apigateway-any-method" else method.upper()
                authorizer = next((s for used in operation.get("security", []) for s in used), None)
                resources[route] = resource(
                    "Route",
                    ApiId=reference,
                    RouteKey=f"{verb} {path}",
                    Target={"Fn::Sub": ["integrations/${Id}", {"Id": {"Ref": f"{route}Integration"}}]},
                    **(
                        {
                            "AuthorizationType": "CUSTOM",
                            "AuthorizerId": {"Ref": f"{name}{authorizer}Authorizer"},
                        }
                        if authorizer
                        else {}
                    ),
                )


def resource(kind, **properties):
    return {"Type": f"AWS::ApiGatewayV2::{kind}", "Properties": properties}


def leave_out_metric_math(template):
    """The emulator has no alarms on metric math, and no use for any alarm."""
    for name in [n for n, r in template["Resources"].items() if "Metrics" in r.get("Properties", {})]:
        del template["Resources"][name]


def main(url, binaries, stack):
    aws = Aws(url)
    reachable(aws)
    outputs, resources = deploy(aws, pathlib.Path(binaries))
    told = {"aws": url, "outputs": outputs, "resources": resources}
    pathlib.Path(stack).write_text(json.dumps(told, indent=2))


def reachable(aws):
    """Waits for the emulator."""
    for _ in range(300):
        try:
            return aws.sts.get_caller_identity()
        except EndpointConnectionError:
            time.sleep(0.1)
    raise SystemExit("the emulator doesn't answer after half a minute")


if __name__ == "__main__":
    main(*sys.argv[1:])
