//! DynamoDB, by `dynoxide`: an engine on SQLite, in memory or in a file.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use dynoxide::{Database, DynoxideError};
use http::{Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::OpenError;
use super::stream::{self, Stream};
use crate::Clock;

/// The database, and whether its calls wait for a disk.
pub(super) struct Engine {
    database: Database,
    stream: Arc<Stream>,
    on_disk: bool,
}

impl Engine {
    pub(super) fn in_memory() -> Result<Self, OpenError> {
        let database = Database::memory().map_err(|error| OpenError::Database(error.to_string()))?;
        Ok(Self { database, stream: Arc::new(Stream::new(None)), on_disk: false })
    }

    pub(super) fn open(path: &Path, clock: Clock) -> Result<Self, OpenError> {
        let database =
            Database::new(&path.to_string_lossy()).map_err(|error| OpenError::Database(error.to_string()))?;
        Ok(Self { database, stream: Arc::new(Stream::new(Some(clock))), on_disk: true })
    }

    /// Carries out one operation. What waits for a disk gets a thread of its own; what doesn't lets other tasks run
    /// before, so that concurrent callers interleave call by call even on a runtime of one thread.
    pub(super) async fn call(&self, operation: &str, body: Bytes) -> Response<Bytes> {
        let operation = operation.to_owned();
        let answer = self.run(move |database, stream| execute(database, stream, &operation, &body)).await;
        match answer.unwrap_or_else(|error| Err(internal(error))) {
            Ok(json) => super::answer(StatusCode::OK, json),
            Err(error) => {
                let status = StatusCode::from_u16(error.status_code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                super::answer(status, error.to_json())
            }
        }
    }

    pub(super) async fn sweep_expired(&self) -> Result<usize, String> {
        let swept = self.run(|database, _| database.sweep_ttl()).await?;
        swept.map_err(|error| error.to_string())
    }

    /// The stream of one of the tables.
    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Does something with the database and the stream of one of its tables.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database, &Stream) -> T + Send + 'static,
    ) -> Result<T, String> {
        if !self.on_disk {
            tokio::task::yield_now().await;
            return Ok(work(&self.database, &self.stream));
        }
        let (database, stream) = (self.database.clone(), Arc::clone(&self.stream));
        tokio::task::spawn_blocking(move || work(&database, &stream)).await.map_err(|error| error.to_string())
    }
}

/// Carries out one operation. Those that might insert what belongs into the stream go by way of it.
fn execute(database: &Database, stream: &Stream, operation: &str, body: &[u8]) -> Result<String, DynoxideError> {
    fn run<I: DeserializeOwned, O: Serialize>(
        body: &[u8],
        work: impl FnOnce(I) -> Result<O, DynoxideError>,
    ) -> Result<String, DynoxideError> {
        let request = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
        serde_json::to_string(&work(request)?).map_err(internal)
    }
    match operation {
        "BatchGetItem" => run(body, |request| database.batch_get_item(request)),
        "BatchWriteItem" => run(body, |request| stream.batch_write_item(database, request)),
        "CreateTable" => run(body, |request| database.create_table(request)),
        "DeleteItem" => run(body, |request| database.delete_item(request)),
        "DeleteTable" => run(body, |request| database.delete_table(request)),
        "DescribeTable" => run(body, |request| database.describe_table(request)),
        "DescribeTimeToLive" => run(body, |request| database.describe_time_to_live(request)),
        "ExecuteStatement" => run(body, |request| stream.execute_statement(database, request)),
        "GetItem" => run(body, |request| database.get_item(request)),
        "ListTables" => run(body, |request| stream::list_tables(database, request)),
        "ListTagsOfResource" => run(body, |request| database.list_tags_of_resource(request)),
        "PutItem" => run(body, |request| stream.put_item(database, request)),
        "Query" => run(body, |request| database.query(request)),
        "Scan" => run(body, |request| database.scan(request)),
        "TagResource" => run(body, |request| database.tag_resource(request)),
        "TransactGetItems" => run(body, |request| database.transact_get_items(request)),
        "TransactWriteItems" => run(body, |request| stream.transact_write_items(database, request)),
        "UntagResource" => run(body, |request| database.untag_resource(request)),
        "UpdateItem" => run(body, |request| stream.update_item(database, request)),
        "UpdateTable" => run(body, |request| database.update_table(request)),
        "UpdateTimeToLive" => run(body, |request| database.update_time_to_live(request)),
        _ => Err(DynoxideError::UnsupportedCapability(format!("cargo local's DynamoDB has no {operation}."))),
    }
}

/// The engine refuses bad values while it reads a request, and marks those refusals in the reader's message.
fn malformed(error: &serde_json::Error) -> DynoxideError {
    let message = error.to_string();
    match message.split_once(':') {
        Some((marker, refusal)) if marker.starts_with("VALIDATION") => {
            DynoxideError::ValidationException(refusal.to_owned())
        }
        _ if message.starts_with("missing field") || message.contains("AttributeValue") => {
            DynoxideError::ValidationException(message)
        }
        _ => DynoxideError::SerializationException(message),
    }
}

fn internal(error: impl Display) -> DynoxideError {
    DynoxideError::InternalServerError(error.to_string())
}
