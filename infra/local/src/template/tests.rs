//! Tests of reading templates.

use std::sync::Arc;

use super::*;

const URL: &str = "http://127.0.0.1:9001";

fn parse(resources: &str) -> Result<Template, TemplateError> {
    Template::parse(&format!("Resources:\n{resources}"), URL)
}

fn function(events: &str) -> String {
    format!(
        "  F: {{Type: AWS::Serverless::Function, Metadata: {{BuildProperties: {{Binary: f}}}}, \
         Properties: {{Events: {{E: {events}}}}}}}"
    )
}

#[test]
fn the_bundled_template_is_read() {
    let template = Template::bundled(URL).unwrap();
    let stripe = template.function("webhook-stripe").unwrap();
    assert_eq!(stripe.timeout, Duration::from_secs(29));
    let environment: Vec<_> = stripe.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        environment,
        [
            ("COUNTER_RETENTION_DAYS", "2"),
            ("CURSOR_KEY", "arn:aws:cloudformation:stack/local"),
            ("DELIVERY_QUEUE_URL", "http://127.0.0.1:9001/000000000000/smrt-local-DeliveryQueue"),
            ("DELIVERY_RETENTION_DAYS", "30"),
            ("ENDPOINTS", "public"),
            ("EVENT_RETENTION_DAYS", "30"),
            ("FAILURE_RETENTION_DAYS", "90"),
            ("INBOUND_RETENTION_DAYS", "30"),
            ("LOG_LEVEL", "INFO"),
            ("MAX_BODY_BYTES", "262144"),
            ("RETRY_QUEUE_URL", "http://127.0.0.1:9001/000000000000/smrt-local-RetryQueue"),
            ("SECRETS_PREFIX", "smrt/local/tenant/"),
            ("STAGE", "local"),
            ("SYNC_COMPANIES_QUEUE_URL", "http://127.0.0.1:9001/000000000000/smrt-local-SyncCompaniesQueue"),
            ("SYNC_CONTACTS_QUEUE_URL", "http://127.0.0.1:9001/000000000000/smrt-local-SyncContactsQueue"),
            ("SYNC_INTERACTIONS_QUEUE_URL", "http://127.0.0.1:9001/000000000000/smrt-local-SyncInteractionsQueue"),
            ("TABLE_NAME", "smrt-local-HubTable"),
            ("TENANT_METRICS", "false"),
            ("TENANT_ROLE_ARN", ""),
        ]
    );
    let authorizer =
        Authorizer { function: "authorize-api-key".to_owned(), identity_headers: vec!["authorization".to_owned()] };
    assert_eq!(template.authorizers, BTreeMap::from([("ApiKey".to_owned(), authorizer)]));
    let routes: BTreeSet<_> = template
        .routes
        .iter()
        .map(|route| format!("{} {} {} {:?}", route.method, route.path, route.function, route.authorizer))
        .collect();
    assert!(routes.contains("POST /webhooks/{tenant_id}/{system_id} webhook-custom None"), "{routes:?}");
    assert!(routes.contains("ANY /v1/{proxy+} management-api Some(\"ApiKey\")"), "{routes:?}");
    assert!(routes.contains("GET /v1/openapi.json management-api None"), "{routes:?}");
    assert_eq!(template.tables[0].ttl_attribute.as_deref(), Some("ttl"));
    let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:smrt-local-RetryDeadLetters","maxReceiveCount":5}"#;
    let queue = template.queues.iter().find(|queue| queue.name == "smrt-local-RetryQueue").unwrap();
    assert_eq!(queue.attributes["RedrivePolicy"], policy);
}

#[test]
fn queues_and_schedules_become_triggers() {
    let queue = "  Q: {Type: AWS::SQS::Queue}\n";
    let event = "{Type: SQS, Properties: {Queue: !GetAtt Q.Arn, BatchSize: 5, MaximumBatchingWindowInSeconds: 3, \
                 FunctionResponseTypes: [ReportBatchItemFailures]}}";
    let template = parse(&format!("{queue}{}", function(event))).unwrap();
    let expected = QueueTrigger {
        function: "f".to_owned(),
        queue: "smrt-local-Q".to_owned(),
        batch_size: 5,
        batching_window: Duration::from_secs(3),
        reports_failures: true,
        concurrency: 1_000,
    };
    assert_eq!(template.queue_triggers, [expected]);
    let event = "{Type: SQS, Properties: {Queue: !GetAtt Q.Arn, ScalingConfig: {MaximumConcurrency: 5}}}";
    let template = parse(&format!("{queue}{}", function(event))).unwrap();
    assert_eq!(template.queue_triggers[0].concurrency, 5);

    for (expression, seconds) in [
        ("rate(1 minute)", Some(60)),
        ("rate(5 minutes)", Some(300)),
        ("rate(2 hours)", Some(7200)),
        ("rate(1 day)", Some(86_400)),
        ("rate(0 minutes)", None),
        ("rate(99999999999999999999 days)", None),
        ("rate(18446744073709551615 days)", None),
        ("cron(0 12 * * ? *)", None),
    ] {
        let event =
            format!("{{Type: ScheduleV2, Properties: {{ScheduleExpression: {expression}, Input: '{{\"a\":1}}'}}}}");
        let schedules = parse(&function(&event)).map(|template| template.schedules);
        let interval = schedules.as_ref().ok().map(|schedules| schedules[0].interval.as_secs());
        assert_eq!(interval, seconds, "{expression}: {schedules:?}");
    }
}

const TABLE: &str =
    "  T: {Type: AWS::DynamoDB::Table, Properties: {StreamSpecification: {StreamViewType: NEW_IMAGE}}}\n";

fn stream_event(more: &str, patterns: &[&str]) -> String {
    let filters: Vec<_> = patterns.iter().map(|pattern| format!("{{Pattern: '{pattern}'}}")).collect();
    let filters = filters.join(", ");
    format!(
        "{{Type: DynamoDB, Properties: {{Stream: !GetAtt T.StreamArn, \
         FilterCriteria: {{Filters: [{filters}]}}{more}}}}}"
    )
}

#[test]
fn a_stream_becomes_a_trigger() {
    let patterns = [
        r#"{"eventName":["INSERT"],"dynamodb":{"NewImage":{"outbox":{"S":["event"]}}}}"#,
        r#"{"eventName":["INSERT"],"dynamodb":{"NewImage":{"a":{"S":["b","c"]},"d":{"S":["e"]}}}}"#,
    ];
    let more = ", StartingPosition: TRIM_HORIZON, BatchSize: 7, MaximumBatchingWindowInSeconds: 0, \
                ParallelizationFactor: 10, BisectBatchOnFunctionError: true, MaximumRetryAttempts: -1, \
                MaximumRecordAgeInSeconds: -1, FunctionResponseTypes: [ReportBatchItemFailures], \
                DestinationConfig: {OnFailure: {Destination: !GetAtt T.Arn}}";
    let filter = |attributes: &[(&str, &[&str])]| {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        StreamFilter(attributes.iter().map(|(name, values)| ((*name).to_owned(), texts(values))).collect())
    };
    let expected = StreamTrigger {
        function: "f".to_owned(),
        table: "smrt-local-T".to_owned(),
        stream_arn: "arn:aws:dynamodb:us-east-1:000000000000:table/smrt-local-T/stream/2026-01-01T00:00:00.000"
            .to_owned(),
        batch_size: 7,
        reports_failures: true,
        filters: vec![filter(&[("outbox", &["event"])]), filter(&[("a", &["b", "c"]), ("d", &["e"])])],
    };
    let template = parse(&format!("{}\n{TABLE}", function(&stream_event(more, &patterns)))).unwrap();
    assert_eq!(template.stream_triggers, [expected]);
    assert!(template.tables[0].definition.get("StreamSpecification").is_none());
    let short = stream_event(", StartingPosition: TRIM_HORIZON", &patterns[..1]);
    let template = parse(&format!("{TABLE}{}", function(&short))).unwrap();
    assert_eq!((template.stream_triggers[0].batch_size, template.stream_triggers[0].reports_failures), (100, false));
}

#[test]
fn a_stream_that_cannot_be_served_is_named() {
    let start = ", StartingPosition: TRIM_HORIZON";
    let good = r#"{"eventName":["INSERT"],"dynamodb":{"NewImage":{"a":{"S":["b"]}}}}"#;
    let events = [
        (stream_event("", &[good]), "missing field `StartingPosition`"),
        (stream_event(", StartingPosition: LATEST", &[good]), "a stream that isn't read from its TRIM_HORIZON"),
        (stream_event(", StartingPosition: TRIM_HORIZON, TumblingWindowInSeconds: 1", &[good]), "unknown field"),
        (stream_event(start, &[]), "a stream without a filter"),
        (
            "{Type: DynamoDB, Properties: {Stream: !GetAtt T.Arn, StartingPosition: TRIM_HORIZON}}".to_owned(),
            "no table's stream",
        ),
        ("{Type: DynamoDB, Properties: {Stream: !GetAtt U.StreamArn}}".to_owned(), "nothing is known as U.StreamArn"),
        (stream_event(start, &[good]).replace("!GetAtt T.StreamArn", "'a:table/V/stream/x'"), "there is no table V"),
        (
            format!("{}, E2: {}", stream_event(start, &[good]), stream_event(start, &[good])),
            "a second event of a stream",
        ),
    ];
    for (event, expected) in events {
        let error = parse(&format!("{TABLE}  U: {{Type: AWS::DynamoDB::Table}}\n{}", function(&event)));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    for pattern in [
        "{}",
        "no JSON",
        r#"{"eventName":["INSERT"]}"#,
        r#"{"eventName":["INSERT"],"dynamodb":{"NewImage":{}}}"#,
        r#"{"eventName":["INSERT","MODIFY"],"dynamodb":{"NewImage":{"a":{"S":["b"]}}}}"#,
        r#"{"eventName":["INSERT"],"dynamodb":{"NewImage":{"a":{"N":["1"]}}}}"#,
        r#"{"eventName":["INSERT"],"dynamodb":{"NewImage":{"a":{"S":[{"prefix":"b"}]}}}}"#,
        r#"{"eventName":["INSERT"],"dynamodb":{"NewImage":{"a":{"S":["b"]}},"Keys":{"a":{"S":["b"]}}}}"#,
        r#"{"eventName":["INSERT"],"dynamodb":{"NewImage":{"a":{"S":["b"]}}},"userIdentity":{}}"#,
    ] {
        let error = parse(&format!("{TABLE}{}", function(&stream_event(start, &[good, pattern])))).unwrap_err();
        assert!(error.to_string().contains(&format!("can't serve the filter {pattern};")), "{error}");
    }
    for (from, to, expected) in [
        ("NEW_IMAGE", "KEYS_ONLY", "a stream of KEYS_ONLY"),
        ("NEW_IMAGE", "NEW_IMAGE, ResourcePolicy: {}", "unknown field `ResourcePolicy`"),
    ] {
        let error = parse(&TABLE.replace(from, to)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn what_cannot_be_served_is_named() {
    let table = [
        ("  B: {Type: AWS::S3::Bucket}", "Resources.B in the template: `cargo local` can't serve AWS::S3::Bucket."),
        ("  B: {Type: AWS::SQS::Queue, Condition: C}", "a resource with a Condition"),
        ("  F: {Type: AWS::Serverless::Function}", "it has no Metadata.BuildProperties.Binary"),
        ("  Q: {Properties: {}}", "Resources.Q in the template: it has no Type"),
        ("  Q: {Type: AWS::SQS::Queue, Properties: {QueueName: !Ref Nothing}}", "nothing is known as Nothing"),
        ("  Q: {Type: AWS::SQS::Queue, Properties: {QueueName: !Select [0, a]}}", "this use of Fn::Select"),
        ("  Q: {Type: AWS::SQS::Queue, Properties: {QueueName: !Sub '${A'}}", "a ${ has no end"),
        ("  Q: {Type: AWS::SQS::Queue, Properties: {QueueName: !If [C, a, b]}}", "there is no condition C"),
        ("  Q: {Type: AWS::SQS::Queue, Properties: {QueueName: !If [C, a]}}", "this use of Fn::If"),
        ("  Q: {Type: AWS::SQS::Queue, Properties: {QueueName: !Not [a]}}", "this use of Fn::Not"),
        ("  A: {Type: AWS::Serverless::HttpApi, Properties: {CorsConfiguration: true}}", "a CorsConfiguration"),
    ];
    for (resources, expected) in table {
        let error = parse(resources).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let events = [
        ("{Type: S3}", "Resources.F.Events.E in the template: `cargo local` can't serve an event of type S3."),
        ("{Type: SQS, Properties: {Queue: a, FilterCriteria: {}}}", "unknown field `FilterCriteria`"),
        ("{Type: SQS, Properties: {Queue: a, ScalingConfig: {MaximumConcurrency: 1}}}", "is not from 2 to 1000"),
        ("{Type: SQS, Properties: {Queue: a, ScalingConfig: {Maximum: 2}}}", "unknown field `Maximum`"),
        ("{Type: HttpApi, Properties: {Path: /a, Method: GET}}", "missing field `ApiId`"),
        ("{Type: ScheduleV2, Properties: {ScheduleExpression: cron(0 12 * * ? *)}}", "the schedule cron(0 12 * * ? *)"),
    ];
    for (event, expected) in events {
        let error = parse(&function(event)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(matches!(Template::parse(": [", URL), Err(TemplateError::Yaml(_))));
}

#[test]
fn references_are_filled_in() {
    let text = "
Parameters: {Stage: {Type: String}, Days: {Type: Number, Default: 3}}
Conditions: {IsLocal: !Equals [!Ref Stage, local], IsOther: !Equals [!Ref Stage, prod], IsNot: !Not [!Equals [a, b]]}
Globals: {Function: {Timeout: 7, Environment: {Variables: {A: !Ref Days, B: shared}}}}
Resources:
  K: {Type: AWS::KMS::Key, Condition: IsOther}
  T: {Type: AWS::DynamoDB::Table}
  F:
    Type: AWS::Serverless::Function
    Metadata: {BuildProperties: {Binary: f}}
    Properties:
      Environment:
        Variables: {B: own, C: !Sub '${Stage}-${AWS::Region}-${!x}', D: {Ref: T}, E: !GetAtt T.Arn, F: {Fn::GetAtt: [T, Arn]},
          G: !If [IsLocal, !Ref Days, ''], H: !If [IsOther, !GetAtt Nothing.Arn, ''], I: !If [IsNot, 'yes', 'no']}
";
    let template = Template::parse(text, URL).unwrap();
    let f = template.function("f").unwrap();
    assert_eq!(f.timeout, Duration::from_secs(7));
    let arn = "arn:aws:dynamodb:us-east-1:000000000000:table/smrt-local-T";
    let values: Vec<_> = f.environment.values().map(String::as_str).collect();
    assert_eq!(values, ["3", "own", "local-us-east-1-${x}", "smrt-local-T", arn, arn, "3", "", "yes"]);
}

#[test]
fn both_sides_must_have_the_same_functions() {
    let template = parse(&function("{Type: SQS, Properties: {Queue: q}}")).unwrap();
    let functions = |names: &[&str]| {
        names.iter().fold(Functions::default(), |functions, name| {
            functions.with(name, Arc::new(|event, _| Box::pin(async { Ok(event) })))
        })
    };
    assert_eq!(template.check(&functions(&["f"])), Ok(()));
    let differ = template.check(&functions(&["g", "h"])).unwrap_err();
    assert_eq!(
        differ.to_string(),
        "The template and this binary have different functions. Only in infra/template.yaml: f. Only in the binary: g, h."
    );
}
