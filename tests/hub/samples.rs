//! Every sample of `events/`, sent as its sender does, gets the answer that its file's folder promises.

use serde_json::{Value, json};

use crate::world::{TENANT, World, sample};

fn files() -> Vec<(String, String)> {
    let root = format!("{}/../events", env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for system in std::fs::read_dir(root).unwrap().map(|e| e.unwrap()).filter(|e| e.path().is_dir()) {
        for file in std::fs::read_dir(system.path()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            files.push((system.file_name().into_string().unwrap(), name.trim_end_matches(".json").to_owned()));
        }
    }
    files.sort_by_key(|(system, name)| (system != "sarah_ai", system.clone(), name.clone()));
    files
}

#[tokio::test]
async fn every_sample_is_applied_or_ignored_and_its_repeat_changes_nothing() {
    let world = World::new().await;
    let limits = json!({"per_minute": 1000, "per_day": 1000});
    let mut integrations: Vec<Value> = ["sarah_ai", "payment_processor", "stripe", "github", "external_crm"]
        .map(|s| json!({"system_id": s, "limits": limits}))
        .into();
    let mut helpdesk = sample("helpdesk", "integration");
    helpdesk["system_id"] = json!("helpdesk");
    integrations.push(helpdesk);
    let tenant = world.provision(TENANT, &integrations).await;
    let mut sent = 0;
    for (system, name) in files().into_iter().filter(|(system, name)| system != "lambda" && name != "integration") {
        let file = sample(&system, &name);
        let headers: Vec<(String, String)> = file["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(n, v)| (n.clone(), v.as_str().unwrap().to_owned()))
            .collect();
        let headers: Vec<(&str, &str)> =
            headers.iter().filter(|(n, _)| n != "content-type").map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let body = file["body"].to_string();
        let expected = if system == "github" { ("ignored", "ignored") } else { ("processed", "duplicate") };
        let first = world.send_with(&tenant, &system, &headers, &body).await;
        let second = world.send_with(&tenant, &system, &headers, &body).await;
        assert_eq!(
            (first.text("/status"), second.text("/status")),
            expected,
            "{system}/{name}: {:?} {:?}",
            first.body,
            second.body
        );
        sent += 1;
    }
    assert!(sent >= 25, "only {sent} samples");
}
