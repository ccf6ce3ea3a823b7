//! What AWS asks for: list prices (`prices.json`) times what was measured.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use crate::functions::Figures;
use crate::scenario::{DELIVERIES, Fallible};

/// Prices and what isn't measured here.
#[derive(Deserialize)]
struct Prices {
    date: String,
    of: String,
    dollars: BTreeMap<String, f64>,
    assumed: BTreeMap<String, f64>,
}

/// A delivery whose endpoint never answers well is tried so often (contract §5), the first time not counted among the retries …
const TRIES: f64 = 8.0;
/// … and so often waits for longer than SQS can delay: as an item that is put, found by an index, and deleted.
const WAITS_IN_TABLE: f64 = 5.0;
/// What each of these takes: 2 units put and deleted, and the same of the index; 2 read.
const WAIT_UNITS: (f64, f64) = (4.0, 2.0);
/// Sending, receiving and deleting, in tens.
const SQS_REQUESTS: f64 = 0.3;

/// Rows of one table, and their sum.
struct Bill {
    table: String,
    sum: f64,
}

impl Bill {
    fn of(what: &str) -> Self {
        Self { table: format!("| {what} | units | $ |\n| --- | --- | --- |\n"), sum: 0.0 }
    }

    fn add(&mut self, what: &str, units: &str, dollars: f64) {
        self.sum += dollars;
        let _ = writeln!(self.table, "| {what} | {units} | {dollars:.2} |");
    }

    fn total(mut self) -> (String, f64) {
        let _ = writeln!(self.table, "| together | | **{:.2}** |", self.sum);
        (self.table, self.sum)
    }
}

impl Prices {
    fn read() -> Fallible<Self> {
        Ok(serde_json::from_str(include_str!("../prices.json"))?)
    }

    fn dollars(&self, name: &str) -> Fallible<f64> {
        Ok(*self.dollars.get(name).ok_or_else(|| format!("prices.json has no price {name}"))?)
    }

    fn assumed(&self, name: &str) -> Fallible<f64> {
        Ok(*self.assumed.get(name).ok_or_else(|| format!("prices.json doesn't say {name}"))?)
    }

    /// Milliseconds that Lambda bills for a warm invocation: its CPU on the share of a core that its memory brings, and the
    /// time that others take.
    #[expect(clippy::cast_precision_loss, reason = "few calls")]
    fn billed_ms(&self, figures: &Figures, others_ms: f64) -> Fallible<f64> {
        let share = (self.assumed("memory_mb")? / self.assumed("memory_mb_of_a_core")?).min(1.0);
        let cpu = figures.warm.cpu.as_secs_f64() * 1e3 / share;
        Ok((cpu + figures.warm.calls as f64 * self.assumed("aws_call_ms")? + others_ms).ceil())
    }

    fn lambda(&self, bill: &mut Bill, invocations: f64, ms: f64) -> Fallible<()> {
        let gigabytes = self.assumed("memory_mb")? / 1024.0;
        let seconds = invocations * 1e6 * ms / 1e3 * gigabytes;
        bill.add("Lambda, requests", &format!("{invocations} million"), invocations * self.dollars("lambda_million")?);
        let units = format!("{invocations} million × {ms:.0} ms × {gigabytes} GB = {seconds:.0} GB-s");
        bill.add("Lambda, time", &units, seconds * self.dollars("lambda_gb_second")?);
        Ok(())
    }
}

/// What the tables say, and their sums.
pub struct Money {
    pub tables: String,
    /// Dollars for a million webhooks.
    pub webhooks: f64,
    /// Dollars for a million deliveries that succeed at once.
    pub deliveries: f64,
}

/// A million webhooks, a million deliveries, and what nothing costs.
#[expect(clippy::cast_precision_loss, reason = "bytes of a line")]
pub fn money(webhook: &Figures, deliveries: &Figures) -> Fallible<Money> {
    let prices = Prices::read()?;
    let mut bill = Bill::of("a million inbound webhooks (`call.ended`, warm)");
    bill.add("HTTP API", "1 million requests", prices.dollars("http_api_million")?);
    prices.lambda(&mut bill, 1.0, prices.billed_ms(webhook, 0.0)?)?;
    let written = webhook.units.written;
    bill.add("DynamoDB, writes", &format!("{written} million"), written * prices.dollars("write_units_million")?);
    let read = webhook.units.read;
    bill.add("DynamoDB, reads", &format!("{read} million"), read * prices.dollars("read_units_million")?);
    let logged = webhook.warm.logged as f64;
    bill.add("the function's log", &format!("{logged} B each"), logged / 1e3 * prices.dollars("log_gb")?);
    let line = prices.assumed("access_log_line_bytes")?;
    let infrequent = prices.dollars("log_infrequent_access_gb")?;
    bill.add("the access log", &format!("{line} B each"), line / 1e3 * infrequent);
    let (webhooks, of_webhooks) = bill.total();

    let batch = DELIVERIES as f64;
    let mut bill = Bill::of("a million deliveries that succeed at once, in batches of ten");
    bill.add("SQS", &format!("{SQS_REQUESTS} million requests"), SQS_REQUESTS * prices.dollars("sqs_million")?);
    prices.lambda(&mut bill, 1.0 / batch, prices.billed_ms(deliveries, prices.assumed("endpoint_ms")?)?)?;
    let written = deliveries.units.written / batch;
    bill.add("DynamoDB, writes", &format!("{written} million"), written * prices.dollars("write_units_million")?);
    let logged = deliveries.warm.logged as f64 / batch;
    bill.add("the function's log", &format!("{logged:.0} B each"), logged / 1e3 * prices.dollars("log_gb")?);
    let out = prices.assumed("delivery_bytes_out")?;
    bill.add("traffic", &format!("{out} B each"), out / 1e3 * prices.dollars("traffic_out_gb")?);
    let (succeeding, each) = bill.total();

    let (write, read) = WAIT_UNITS;
    let waits = WAITS_IN_TABLE
        * (write * prices.dollars("write_units_million")? + read * prices.dollars("read_units_million")?);
    let dead = TRIES * each + waits;
    let (secret, gigabyte) = (prices.dollars("secret_month")?, prices.dollars("table_gb_month")?);
    let backup = prices.dollars("backup_gb_month")?;
    let (memory, core) = (prices.assumed("memory_mb")?, prices.assumed("memory_mb_of_a_core")?);
    let (call, endpoint) = (prices.assumed("aws_call_ms")?, prices.assumed("endpoint_ms")?);
    let tables = format!(
        "List prices of {}: {}. Capacity, log lines and CPU are the measured ones above. Assumed, as it can only be measured \
         there: {memory} MB are {memory}/{core} of a core as fast as this one; {call} ms for a call to AWS, {endpoint} ms for an \
         endpoint.\n\n{webhooks}\n{succeeding}\n\
         | what else | $ |\n| --- | --- |\n\
         | a million deliveries to a dead endpoint: {TRIES} tries each, {WAITS_IN_TABLE} of them after a wait in the table | {dead:.2} |\n\
         | one event to a dead endpoint | {:.6} |\n\
         | a tenant that does nothing, a month: its document of secrets | {secret:.2} |\n\
         | a gigabyte in the table, a month, with its point-in-time recovery | {:.2} |\n",
        prices.date,
        prices.of,
        dead / 1e6,
        gigabyte + backup,
    );
    Ok(Money { tables, webhooks: of_webhooks, deliveries: each })
}
