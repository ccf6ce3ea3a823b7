//! What `infra/template.yaml` deploys and what the code has are the same. Which rights the functions need, the end-to-end test
//! shows (`tests/e2e/used.py`).

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::{env, fs, path::Path};

use local::template::{Route, Template};
use serde_json::Value;
use shared::hub::Settings;
use shared::{api, mapping};

fn template() -> Template {
    Template::bundled("http://aws").unwrap()
}

fn set<T: Into<String>>(names: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    names.into_iter().map(Into::into).collect()
}

#[test]
fn each_folder_of_functions_is_deployed_and_nothing_else() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions")).unwrap();
    let folders = set(folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
    assert_eq!(set(template().functions.into_iter().map(|function| function.name)), folders);
}

/// `{system_id}` or a built-in system's id, and its function.
fn webhooks() -> BTreeMap<String, String> {
    let systems = mapping::BUILTIN_SYSTEMS.into_iter().map(|id| (id, format!("webhook-{}", id.replace('_', "-"))));
    let routes = systems.chain([("{system_id}", "webhook-custom".to_owned())]);
    routes.map(|(system, function)| (format!("/webhooks/{{tenant_id}}/{system}"), function)).collect()
}

#[test]
fn each_source_has_its_route_and_its_function() {
    let (inbound, others): (Vec<_>, Vec<_>) =
        template().routes.into_iter().partition(|route| route.path.starts_with("/webhooks/"));
    for route in &inbound {
        assert_eq!((route.method.as_str(), route.authorizer.as_ref()), ("POST", None), "{route:?}");
    }
    assert_eq!(inbound.into_iter().map(|route| (route.path, route.function)).collect::<BTreeMap<_, _>>(), webhooks());
    assert_eq!(set(others.into_iter().map(|route| route.function)), set(["management-api"]));
}

/// The routes of `cargo lambda watch`, which reads no template.
#[test]
fn cargo_lambda_watch_has_the_same_routes_of_webhooks() {
    let manifest = include_str!("../../Cargo.toml");
    let (_, table) = manifest.split_once("[workspace.metadata.lambda.watch.router]\n").unwrap();
    let lines = table.lines().take_while(|line| line.starts_with('"'));
    let routes = lines.map(|line| line.split_once(" = ").unwrap());
    let routes = routes.map(|(path, function)| (path.trim_matches('"').into(), function.trim_matches('"').into()));
    assert_eq!(routes.collect::<BTreeMap<String, String>>(), webhooks());
}

#[test]
fn only_the_description_of_the_api_needs_no_key() {
    let paths = api::document()["paths"].as_object().unwrap();
    for (path, methods) in paths {
        assert!(path.starts_with("/v1/"), "{path}");
        let overridden = methods.as_object().unwrap().values().any(|operation| operation.get("security").is_some());
        assert!(!overridden, "{path} has rules of its own for who may call it");
    }
    let api = template().routes.into_iter().filter(|route| route.function == "management-api");
    let (keyed, unkeyed): (Vec<_>, Vec<_>) = api.partition(|route| route.authorizer.is_some());
    let named = |routes: Vec<Route>| set(routes.into_iter().map(|route| format!("{} {}", route.method, route.path)));
    assert_eq!(named(keyed), set(["ANY /v1/{proxy+}"]));
    assert_eq!(named(unkeyed), set(["GET /v1/openapi.json"]));
}

#[test]
fn each_queue_feeds_a_function_or_takes_what_one_gave_up() {
    let template = template();
    let fed = set(template.queue_triggers.iter().map(|trigger| trigger.queue.as_str()));
    let given_up = |attributes: &BTreeMap<String, String>| {
        let policy: Value = serde_json::from_str(attributes.get("RedrivePolicy")?).unwrap();
        policy["deadLetterTargetArn"].as_str().unwrap().rsplit(':').next().map(ToOwned::to_owned)
    };
    let mut dead_letters = BTreeSet::from(["smrt-local-PublishDeadLetters".to_owned()]);
    for queue in template.queues.iter().filter(|queue| fed.contains(&queue.name)) {
        dead_letters.insert(given_up(&queue.attributes).expect(&queue.name));
    }
    let unfed = template.queues.iter().filter(|queue| !fed.contains(&queue.name));
    assert_eq!(set(unfed.map(|queue| queue.name.as_str())), dead_letters);
    for function in &template.functions {
        let urls = function.environment.iter().filter(|(name, _)| name.ends_with("_QUEUE_URL"));
        assert_eq!(set(urls.map(|(_, url)| url.rsplit('/').next().unwrap())), fed, "{}", function.name);
    }
}

/// Deployed, these have the value that the code gives them, or come from the request.
const NOT_DEPLOYED: [&str; 4] = ["CONFIG_TTL_SECONDS", "LOOPBACK_EXEMPT", "PUBLIC_URL", "SECRETS_TTL_SECONDS"];
/// Read by [`shared::run`], before there are settings.
const BEFORE_SETTINGS: [&str; 1] = ["LOG_LEVEL"];

#[test]
fn each_setting_of_the_template_is_read_and_each_that_is_read_is_there() {
    let template = template();
    for function in &template.functions {
        let read = RefCell::new(set(BEFORE_SETTINGS));
        let settings = Settings::from_env(|name| {
            read.borrow_mut().insert(name.to_owned());
            function.environment.get(name).cloned()
        });
        assert!(settings.is_ok(), "{}: {:?}", function.name, settings.err());
        let mut given = set(function.environment.keys().map(String::as_str));
        given.extend(set(NOT_DEPLOYED));
        assert_eq!(read.into_inner(), given, "{}", function.name);
    }
}
