//! Secrets Manager, by `rustack`: an engine in memory, with a journal of the requests that changed it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use rustack_secretsmanager_core::config::SecretsManagerConfig;
use rustack_secretsmanager_core::handler::RustackSecretsManagerHandler;
use rustack_secretsmanager_core::provider::RustackSecretsManager;
use rustack_secretsmanager_http::SecretsManagerHandler;
use rustack_secretsmanager_http::response::error_to_response;
use rustack_secretsmanager_http::router::resolve_operation;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;

use super::OpenError;
use super::journal::Journal;

/// The secrets, and the journal that brings them back.
pub(super) struct Engine {
    handler: RustackSecretsManagerHandler,
    /// Locked while a change is made and written down, so that both happen in the same order.
    journal: Option<Mutex<Journal>>,
}

/// A request that changed a secret.
#[derive(Serialize, Deserialize)]
struct Change {
    operation: String,
    request: Value,
}

impl Engine {
    pub(super) fn in_memory() -> Self {
        let config = SecretsManagerConfig {
            default_region: super::REGION.to_owned(),
            default_account_id: super::ACCOUNT_ID.to_owned(),
            ..SecretsManagerConfig::default()
        };
        let provider = Arc::new(RustackSecretsManager::new(config));
        Self { handler: RustackSecretsManagerHandler::new(provider), journal: None }
    }

    /// Opens the journal at `path` and makes its changes again.
    pub(super) async fn open(path: &Path) -> Result<Self, OpenError> {
        let (journal, changes) = Journal::open::<Change>(path)?;
        let mut engine = Self::in_memory();
        for Change { operation, request } in changes {
            let response = engine.execute(&operation, request.to_string().into()).await;
            if !response.status().is_success() {
                let code = super::error_code(response.body());
                return Err(OpenError::Replay { path: path.to_owned(), operation, code });
            }
        }
        engine.journal = Some(Mutex::new(journal));
        Ok(engine)
    }

    pub(super) async fn call(&self, operation: &str, body: Bytes) -> Response<Bytes> {
        match &self.journal {
            Some(journal) if changes_something(operation) => self.change(journal, operation, &body).await,
            _ => self.execute(operation, body).await,
        }
    }

    /// Makes a change and writes it down before it is answered.
    async fn change(&self, journal: &Mutex<Journal>, operation: &str, body: &Bytes) -> Response<Bytes> {
        let mut journal = journal.lock().await;
        let response = self.execute(operation, body.clone()).await;
        if !response.status().is_success() {
            return response;
        }
        let request = repeatable(super::json_of(body), &super::json_of(response.body()));
        let written = journal.append(&Change { operation: operation.to_owned(), request });
        match written.and_then(|()| journal.sync()) {
            Ok(()) => response,
            Err(problem) => super::error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalServiceError",
                &format!("The change can't be written to the data directory: {problem}."),
            ),
        }
    }

    async fn execute(&self, operation: &str, body: Bytes) -> Response<Bytes> {
        let result = match resolve_operation(&super::target_header("secretsmanager", operation)) {
            Ok(operation) => self.handler.handle_operation(operation, body).await,
            Err(error) => Err(error),
        };
        super::buffered(result.unwrap_or_else(|error| error_to_response(&error, "local"))).await
    }
}

fn changes_something(operation: &str) -> bool {
    const READING: [&str; 5] = ["Get", "List", "Describe", "Batch", "Validate"];
    !READING.iter().any(|verb| operation.starts_with(verb))
}

/// Makes a request mean the same thing when it is made again: its version keeps the id that the answer gave it, and
/// its secret is named by name, because ARNs end in six characters that are drawn anew.
fn repeatable(mut request: Value, answer: &Value) -> Value {
    if let Value::Object(fields) = &mut request {
        if let Some(version) = answer.get("VersionId") {
            fields.insert("ClientRequestToken".to_owned(), version.clone());
        }
        let name = fields.get("SecretId").and_then(Value::as_str).and_then(name_in_arn).map(str::to_owned);
        if let Some(name) = name {
            fields.insert("SecretId".to_owned(), name.into());
        }
    }
    request
}

/// The name in `arn:aws:secretsmanager:<region>:<account>:secret:<name>-<6 characters>`.
fn name_in_arn(arn: &str) -> Option<&str> {
    let (name, suffix) = arn.strip_prefix("arn:")?.splitn(6, ':').nth(5)?.rsplit_once('-')?;
    (suffix.len() == 6).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn call(engine: &Engine, operation: &str, request: Value) -> Value {
        let response = engine.call(operation, request.to_string().into()).await;
        assert_eq!(response.status(), 200, "{operation}: {:?}", response.body());
        serde_json::from_slice(response.body()).unwrap()
    }

    #[tokio::test]
    async fn secrets_and_their_versions_outlive_the_process() {
        let directory = crate::testing::Directory::new();
        let path = directory.path().join("secrets");
        let engine = Engine::open(&path).await.unwrap();
        let created = call(&engine, "CreateSecret", json!({"Name": "a/b", "SecretString": "one"})).await;
        // By ARN and without a token, as a person may do it with the CLI.
        let put = json!({"SecretId": created["ARN"], "SecretString": "two"});
        call(&engine, "PutSecretValue", put).await;
        call(&engine, "CreateSecret", json!({"Name": "gone", "SecretString": "x"})).await;
        let delete = json!({"SecretId": "gone", "ForceDeleteWithoutRecovery": true});
        call(&engine, "DeleteSecret", delete).await;
        let read = |stage: &str| json!({"SecretId": "a/b", "VersionStage": stage});
        let before = call(&engine, "GetSecretValue", read("AWSCURRENT")).await;
        drop(engine);

        let engine = Engine::open(&path).await.unwrap();
        let current = call(&engine, "GetSecretValue", read("AWSCURRENT")).await;
        assert_eq!(current["SecretString"], "two");
        assert_eq!(current["VersionId"], before["VersionId"]);
        assert_eq!(call(&engine, "GetSecretValue", read("AWSPREVIOUS")).await["SecretString"], "one");
        let list = call(&engine, "ListSecrets", json!({})).await;
        assert_eq!(list["SecretList"].as_array().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn refused_requests_are_not_written_down() {
        let directory = crate::testing::Directory::new();
        let path = directory.path().join("secrets");
        let engine = Engine::open(&path).await.unwrap();
        let response = engine.call("PutSecretValue", r#"{"SecretId":"none","SecretString":"x"}"#.into()).await;
        assert_eq!(response.status(), 400);
        assert_eq!(super::super::error_code(response.body()), "ResourceNotFoundException");
        assert!(std::fs::read(&path).unwrap().is_empty());
    }

    #[test]
    fn names_are_found_in_arns() {
        let arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:smrt/dev/tenant/a-b-Ab12Cd";
        assert_eq!(name_in_arn(arn), Some("smrt/dev/tenant/a-b"));
        assert_eq!(name_in_arn("smrt/dev/tenant/a-b"), None);
    }
}
