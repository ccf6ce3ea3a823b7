//! Feeds a table's new items to a function, as Lambda's event source mappings do
//! (<https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>): in order, one batch at a time, and never giving up.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{failures, stopped, text};
use crate::aws::Aws;
use crate::lambda::Lambda;
use crate::template::StreamTrigger;

/// The wait before a batch that failed is tried again, which doubles each time.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// A stream that feeds a function.
struct Mapping {
    trigger: StreamTrigger,
    aws: Aws,
    lambda: Arc<Lambda>,
}

/// What became of a batch.
enum Batch {
    /// There were no records.
    Empty,
    /// It is done.
    Done,
    /// Its end, or all of it, is to be tried again.
    Failed {
        /// Whether its beginning is done.
        partly: bool,
    },
}

/// Runs one trigger until it is time to stop.
pub(super) async fn run(trigger: StreamTrigger, aws: Aws, lambda: Arc<Lambda>, mut stop: watch::Receiver<bool>) {
    let mapping = Mapping { trigger, aws, lambda };
    // The first look is for what a former process left.
    let mut batch = Batch::Done;
    let mut pause = PAUSE_MIN;
    loop {
        let next = async {
            match batch {
                Batch::Empty => mapping.aws.stream_changed().await,
                Batch::Done => {}
                Batch::Failed { .. } => sleep(pause).await,
            }
        };
        tokio::select! {
            biased;
            () = stopped(&mut stop) => return,
            () = next => {}
        }
        let before = batch;
        batch = mapping.batch().await;
        pause = match (before, &batch) {
            (Batch::Failed { .. }, Batch::Failed { partly: false }) => (pause * 2).min(PAUSE_MAX),
            _ => PAUSE_MIN,
        };
    }
}

impl Mapping {
    /// Hands the oldest records to the function, and forgets those that it is done with.
    async fn batch(&self) -> Batch {
        let records = match self.aws.stream_records(self.trigger.batch_size).await {
            Ok(records) if records.is_empty() => return Batch::Empty,
            Ok(records) => records,
            Err(error) => {
                tracing::error!(table = self.trigger.table, error, "a stream can't be read");
                return Batch::Failed { partly: false };
            }
        };
        let number =
            |record: &Value| record.get("dynamodb").map_or("", |change| text(change, "SequenceNumber")).to_owned();
        let numbers: Vec<String> = records.iter().map(number).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let done = self.process(records, &numbers).await;
        let (done, left) = numbers.split_at_checked(done).unwrap_or((&numbers, &[]));
        if let Err(error) = self.aws.stream_done(done).await {
            tracing::error!(table = self.trigger.table, error, "a stream's records can't be deleted");
            return Batch::Failed { partly: false };
        }
        if left.is_empty() { Batch::Done } else { Batch::Failed { partly: !done.is_empty() } }
    }

    /// Invokes the function and returns how many records it is done with: those before the first that it names as
    /// failed (<https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>).
    async fn process(&self, records: Vec<Value>, numbers: &[&str]) -> usize {
        let function = &self.trigger.function;
        let answer = match self.lambda.invoke(function, json!({"Records": records})).await {
            Ok(answer) if self.trigger.reports_failures => answer,
            Ok(_) => return numbers.len(),
            Err(error) => {
                tracing::error!(function, %error, records = numbers.len(), "a batch failed");
                return 0;
            }
        };
        let Some(failed) = failures(&answer, numbers) else {
            tracing::error!(function, records = numbers.len(), "a batch failed: its answer names no records of it");
            return 0;
        };
        numbers.iter().position(|number| failed.contains(number)).unwrap_or(numbers.len())
    }
}
