//! DynamoDB's stream of one table: the new items that a function is to hear of, in the order in which they came to be.
//!
//! The embedded engine has streams too, but looks through all records so far at each write and forgets none. So they
//! are kept here: whatever puts an item that belongs into the stream puts its record into a table beside in the same
//! transaction, and the record is deleted when the function is done with it.

mod numbers;
mod put;
mod records;
mod spec;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::UNIX_EPOCH;

use dynoxide::actions::batch_write_item::{BatchWriteItemRequest, BatchWriteItemResponse};
use dynoxide::actions::execute_statement::{ExecuteStatementRequest, ExecuteStatementResponse};
use dynoxide::actions::list_tables::{ListTablesRequest, ListTablesResponse};
use dynoxide::actions::put_item::{PutItemRequest, PutItemResponse};
use dynoxide::actions::transact_write_items::{TransactWriteItemsRequest, TransactWriteItemsResponse};
use dynoxide::actions::update_item::{UpdateItemRequest, UpdateItemResponse};
use dynoxide::{Database, DynoxideError};
use serde_json::Value;
use tokio::sync::Notify;

use self::numbers::Numbers;
pub(super) use self::records::SIDE_TABLE;
pub(super) use self::spec::Spec;
use super::Aws;
use super::dynamodb::Engine;
use crate::Clock;

/// The most writes of one transaction
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html>).
const WRITES_MAX: usize = 100;

/// The stream, and how its records are numbered.
pub(super) struct Stream {
    /// What belongs into the stream. Nothing does before a template with a stream was provisioned.
    spec: RwLock<Option<Arc<Spec>>>,
    /// Held while a record is written, so that the order of the numbers is the order in which the items came to be.
    numbers: Mutex<Numbers>,
    clock: Option<Clock>,
    changed: Notify,
}

impl Aws {
    /// The oldest records of the table's stream that nobody is done with, as Lambda gives them to a function, oldest
    /// first. There may be fewer than `limit` for their size. This goes around the tap and an outage.
    ///
    /// # Errors
    /// The database's own message, when it can't.
    pub async fn stream_records(&self, limit: usize) -> Result<Vec<Value>, String> {
        self.engines.dynamodb.run(move |database, stream| stream.records(database, limit)).await?
    }

    /// Forgets the records with these `SequenceNumber`s: they are done.
    ///
    /// # Errors
    /// The database's own message, when it can't.
    pub async fn stream_done(&self, sequence_numbers: &[&str]) -> Result<(), String> {
        let numbers: Vec<_> = sequence_numbers.iter().map(ToString::to_string).collect();
        self.engines.dynamodb.run(move |database, _| records::delete(database, &numbers)).await?
    }

    /// Is done when a record was written since this was done last. One at a time can wait for it.
    pub async fn stream_changed(&self) {
        self.engines.dynamodb.stream().changed.notified().await;
    }
}

impl Engine {
    /// Keeps the records of this stream from now on. Those of a former process are still there.
    pub(super) async fn serve_stream(&self, spec: Spec) -> Result<(), String> {
        let served = self.run(move |database, stream| {
            records::create_table(database)?;
            stream.numbers().go_on_after(records::last_number(database)?);
            *stream.spec.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(spec));
            Ok(())
        });
        served.await?.map_err(|error: DynoxideError| error.to_string())
    }
}

impl Stream {
    /// `clock` keeps the numbers growing over a restart. Without one they start at 1.
    pub(super) fn new(clock: Option<Clock>) -> Self {
        Self { spec: RwLock::default(), numbers: Mutex::default(), clock, changed: Notify::new() }
    }

    fn spec(&self) -> Option<Arc<Spec>> {
        self.spec.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn numbers(&self) -> std::sync::MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn records(&self, database: &Database, limit: usize) -> Result<Vec<Value>, String> {
        let Some(spec) = self.spec() else { return Ok(Vec::new()) };
        records::read(database, &spec, limit).map_err(|error| error.to_string())
    }

    /// Carries out a transaction, with the records of what it inserts.
    pub(super) fn transact_write_items(
        &self,
        database: &Database,
        request: TransactWriteItemsRequest,
    ) -> Result<TransactWriteItemsResponse, DynoxideError> {
        match self.spec() {
            Some(spec) => self.transact(database, &spec, request),
            None => database.transact_write_items(request),
        }
    }

    /// The answer is as if there were no records.
    fn transact(
        &self,
        database: &Database,
        spec: &Spec,
        mut request: TransactWriteItemsRequest,
    ) -> Result<TransactWriteItemsResponse, DynoxideError> {
        let images = spec.inserted_by(&request.transact_items)?;
        if images.is_empty() {
            return database.transact_write_items(request);
        }
        let own = request.transact_items.len();
        if own <= WRITES_MAX && own + images.len() > WRITES_MAX {
            return Err(spec::refusal("a transaction whose writes and stream records are more than 100"));
        }
        let token = request.client_request_token.clone();
        let mut numbers = self.numbers();
        let drawn = numbers.draw(token.as_deref(), images.len() as u64, self.microseconds());
        let records = drawn.clone().zip(images).map(|(number, image)| records::put(number, spec.key_of(&image), image));
        request.transact_items.extend(records);
        let mut response = database.transact_write_items(request).map_err(|error| records::hide(error, own))?;
        // Only what was carried out is known by its token to the engine, too.
        if let Some(token) = token {
            numbers.remember(token, drawn);
        }
        self.changed.notify_one();
        if let Some(tables) = &mut response.consumed_capacity {
            tables.retain(|table| table.table_name != SIDE_TABLE);
        }
        Ok(response)
    }

    /// Puts an item; one that belongs into the stream by a transaction.
    pub(super) fn put_item(
        &self,
        database: &Database,
        request: PutItemRequest,
    ) -> Result<PutItemResponse, DynoxideError> {
        match self.spec().filter(|spec| spec.wants(&request.table_name, &request.item)) {
            Some(spec) => put::run(request, |transaction| self.transact(database, &spec, transaction)),
            None => database.put_item(request),
        }
    }

    pub(super) fn update_item(
        &self,
        database: &Database,
        request: UpdateItemRequest,
    ) -> Result<UpdateItemResponse, DynoxideError> {
        if let Some(spec) = self.spec() {
            spec.check_update_item(&request)?;
        }
        database.update_item(request)
    }

    pub(super) fn batch_write_item(
        &self,
        database: &Database,
        request: BatchWriteItemRequest,
    ) -> Result<BatchWriteItemResponse, DynoxideError> {
        if let Some(spec) = self.spec() {
            spec.check_batch(&request)?;
        }
        database.batch_write_item(request)
    }

    pub(super) fn execute_statement(
        &self,
        database: &Database,
        request: ExecuteStatementRequest,
    ) -> Result<ExecuteStatementResponse, DynoxideError> {
        if let Some(spec) = self.spec() {
            spec.check_statement(&request.statement)?;
        }
        database.execute_statement(request)
    }

    fn microseconds(&self) -> u64 {
        let time = self.clock.as_ref().map_or(UNIX_EPOCH, |clock| clock());
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_micros()).unwrap_or_default()
    }
}

/// The tables, without the one beside.
pub(super) fn list_tables(
    database: &Database,
    request: ListTablesRequest,
) -> Result<ListTablesResponse, DynoxideError> {
    let mut response = database.list_tables(request)?;
    response.table_names.retain(|name| name != SIDE_TABLE);
    Ok(response)
}
