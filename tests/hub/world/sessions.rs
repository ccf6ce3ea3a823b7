//! What IAM does where tenants have sessions: a call by a session reaches only keys that begin with its tenant, and one by a
//! function's own role only what comes before a tenant is known, or is nobody's.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard},
};

use local::aws::{Aws, Call, Fate, Fault, Service, Session};
use serde_json::Value;

/// The role that sessions take on.
pub const ROLE_ARN: &str = "arn:aws:iam::000000000000:role/tenant";

/// What each function reaches by its own role: kinds of partitions, and an index that is no tenant's. The table of
/// docs/isolation.md, and the policies of infra/template.yaml.
pub const BY_OWN_ROLE: [(&str, &[&str]); 8] = [
    ("webhook-", &["config", "refused"]),
    ("authorize-api-key", &["config", "key"]),
    ("management-api", &["index due"]),
    ("release-waiting", &["index due", "wait"]),
    ("sweep-events", &["index due"]),
    ("sync-", &["index due"]),
    ("schedule-syncs", &["index due"]),
    ("administer-tenant", &["config", "index due", "scan"]),
];

/// Whether all worlds are to have sessions: `HUB_TENANT_SESSIONS=true cargo test -p tests --test hub`.
#[expect(clippy::disallowed_methods, reason = "it decides how the tests run, not what the hub does")]
pub fn are_asked_for() -> bool {
    std::env::var("HUB_TENANT_SESSIONS").is_ok_and(|value| value == "true")
}

/// Stands between the functions and the table.
pub struct Guard {
    aws: Aws,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    sessions: Vec<String>,
    /// By which session or function what was reached.
    reached: BTreeSet<(String, String)>,
    refused: Vec<String>,
    is_out: bool,
}

impl Guard {
    pub fn new(aws: &Aws) -> Self {
        Self { aws: aws.clone(), seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Which functions asked for a session since the last look.
    pub fn sessions(&self) -> Vec<String> {
        std::mem::take(&mut self.seen().sessions)
    }

    /// What was reached so far, by which tenant's session or function's own role.
    pub fn reached(&self) -> BTreeSet<(String, String)> {
        self.seen().reached.clone()
    }

    /// The calls that were refused so far.
    pub fn refused(&self) -> Vec<String> {
        self.seen().refused.clone()
    }

    /// From now on STS fails, or doesn't any more.
    pub fn fail_sessions(&self, is_out: bool) {
        self.seen().is_out = is_out;
    }

    /// What becomes of a call, where that is this one's to say.
    pub fn judge(&self, call: &Call) -> Option<Fate> {
        let mut seen = self.seen();
        match call.service {
            Service::Sts => {
                seen.sessions.push(call.access_key.to_owned());
                let refusal = Fault::Refuse { status: 503, code: "ServiceUnavailable" };
                Some(if seen.is_out { refusal } else { Fault::None }.into())
            }
            Service::DynamoDb if call.access_key != "local" => {
                let session = self.aws.session(call.access_key);
                let places = places(call);
                let may = |place: &Place| match &session {
                    Some(session) => is_own(session, place),
                    None => is_function(call.access_key, place),
                };
                let who = session.as_ref().map_or(call.access_key, |session| &session.tags["tenant"]);
                seen.reached.extend(places.iter().map(|place| (who.to_owned(), place.name())));
                if !places.is_empty() && places.iter().all(may) {
                    return None;
                }
                seen.refused.push(format!("{who}: {} {places:?}", call.operation));
                Some(Fault::Refuse { status: 400, code: "AccessDeniedException" }.into())
            }
            _ => None,
        }
    }
}

/// What a call reaches.
#[derive(Debug)]
enum Place {
    /// A partition of the table, or of the index by time, by its key.
    Partition(String),
    Due,
    Scan,
}

impl Place {
    /// What is reached, whosever it is.
    fn name(&self) -> String {
        match self {
            Self::Partition(key) => key.split('#').nth(1).unwrap_or_default().to_owned(),
            Self::Due => "index due".to_owned(),
            Self::Scan => "scan".to_owned(),
        }
    }
}

/// Whether a session opens a key.
pub fn opens(session: &Session, key: &str) -> bool {
    is_own(session, &Place::Partition(key.to_owned()))
}

/// The policy of the sessions' role.
fn is_own(session: &Session, place: &Place) -> bool {
    let tenant = &session.tags["tenant"];
    matches!(place, Place::Partition(key) if key.starts_with(&format!("{tenant}#")))
}

fn is_function(function: &str, place: &Place) -> bool {
    let reached = place.name();
    BY_OWN_ROLE.iter().any(|(name, places)| function.starts_with(name) && places.contains(&reached.as_str()))
}

/// What `dynamodb:LeadingKeys` is made of.
fn places(call: &Call) -> Vec<Place> {
    let body: Value = serde_json::from_slice(call.body).unwrap();
    let of = |key: &Value| Place::Partition(key["pk"]["S"].as_str().expect("a key has a partition").to_owned());
    let table = |name: &str| body[name].as_object().expect("tables").values().next().expect("a table").clone();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    match call.operation {
        "Scan" => vec![Place::Scan],
        "Query" if body["IndexName"] == "due" => vec![Place::Due],
        "Query" => vec![Place::Partition(body["ExpressionAttributeValues"][":pk"]["S"].as_str().unwrap().to_owned())],
        "GetItem" | "UpdateItem" | "DeleteItem" => vec![of(&body["Key"])],
        "PutItem" => vec![of(&body["Item"])],
        "BatchGetItem" => list(&table("RequestItems")["Keys"]).iter().map(of).collect(),
        "BatchWriteItem" => list(&table("RequestItems")).iter().map(|write| of(written(write))).collect(),
        "TransactWriteItems" => list(&body["TransactItems"]).iter().map(|write| of(written(write))).collect(),
        other => panic!("{other} is new: say what it reaches"),
    }
}

/// The key, or the item with its key, of one write of several.
fn written(write: &Value) -> &Value {
    let write = write.as_object().unwrap().values().next().unwrap();
    write.get("Item").or_else(|| write.get("Key")).unwrap()
}
