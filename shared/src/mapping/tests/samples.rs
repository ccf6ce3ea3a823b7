//! Every file of `events/` through its rule.

use std::path::{Path, PathBuf};

use super::expected::table;
use super::*;

/// A sample's body and its headers.
struct Sample {
    body: Value,
    headers: Map<String, Value>,
}

fn events_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../events")
}

fn read(path: &str) -> Value {
    let text = std::fs::read_to_string(events_dir().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn sample(path: &str) -> Sample {
    let file = read(path);
    let headers = file["headers"].as_object().cloned().unwrap_or_default();
    Sample { body: file["body"].clone(), headers }
}

fn rule_of(system_id: &str) -> CompiledRule {
    match system_id {
        "helpdesk" => compiled(&read("helpdesk/integration.json")["mapping"]),
        _ => builtin_rule(system_id),
    }
}

fn outcome(path: &str) -> Outcome {
    let (system_id, _) = path.split_once('/').expect("a sample lies in its system's folder");
    let (rule, sample) = (rule_of(system_id), sample(path));
    let event_type = rule.event_type(&sample.body, &|name| sample.headers.get(name).and_then(Value::as_str));
    rule.map(event_type.as_deref(), &sample.body, &Region::default())
}

#[test]
fn every_sample_says_what_the_table_says() {
    for (path, (record, action, key, at, rank, fields)) in table() {
        let mapped = mapped(outcome(&path));
        let got = match &mapped.target {
            Target::Interaction { interaction_type } => interaction_type,
            Target::Contact => "contact",
            Target::Company => "company",
            Target::Merchant => "merchant",
        };
        assert_eq!(got, record, "{path}");
        assert_eq!(json!(mapped.action), json!(action), "{path}");
        assert_eq!(mapped.key.as_deref(), Some(key), "{path}");
        assert_eq!(mapped.occurred_at.map(|time| time.to_string()).as_deref(), Some(at), "{path}");
        assert_eq!(mapped.rank, rank, "{path}");
        assert_eq!(mapped.counts_as_call, path.contains("call_ended"), "{path}");
        assert_eq!(json!(values(&mapped)), fields, "{path}");
        assert_eq!(mapped.warnings, [""; 0], "{path}");
    }
}

#[test]
fn github_samples_are_ignored_until_a_mapping_names_them() {
    let table = [
        ("ping", "ping"),
        ("push", "push"),
        ("issues_opened", "issues.opened"),
        ("pull_request", "pull_request.opened"),
        ("star", "star.created"),
    ];
    for (name, event_type) in table {
        let expected = Outcome::Ignored { event_type: event_type.to_owned() };
        assert_eq!(outcome(&format!("github/{name}.json")), expected, "{name}");
    }
}

#[test]
fn no_sample_is_forgotten() {
    let mut files: Vec<String> = Vec::new();
    for folder in std::fs::read_dir(events_dir()).expect("the folder of samples").flatten() {
        let system = folder.file_name().to_string_lossy().into_owned();
        let Ok(samples) = std::fs::read_dir(folder.path()) else {
            continue;
        };
        let names = samples.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
        files.extend(names.filter(|name| name != "integration.json").map(|name| format!("{system}/{name}")));
    }
    files.retain(|path| !path.starts_with("github/") && !path.starts_with("lambda/"));
    files.sort();
    let mut tested: Vec<String> = table().into_iter().map(|(path, _)| path).collect();
    tested.sort();
    assert_eq!(files, tested);
}

#[test]
fn the_spellings_of_the_original_description_are_both_taken() {
    let rule = builtin_rule("sarah_ai");
    for (duration, agent, recording) in
        [("duration", "name", "url"), ("duration_seconds", "display_name", "download_url")]
    {
        let payload = json!({"event_type": "call.ended",
            "call": {"id": "c", "destination_number": "4155550132", duration: 61, "disposition": "SALE"},
            "agent": {agent: "Sarah"}, "recording": {recording: "https://a.example/r"}});
        let mapped = mapped(map(&rule, &payload));
        assert_eq!(
            json!(values(&mapped)),
            json!({"phone_number": "+14155550132", "duration_seconds": 61, "outcome": "sale", "agent_name": "Sarah",
                "metadata.sarah_call_id": "c", "metadata.recording_url": "https://a.example/r"})
        );
    }
}
