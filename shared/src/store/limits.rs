//! Counters of calls, exact across all copies of all functions: conditional updates on one item.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure::AllOld},
};
use jiff::Timestamp;

use super::{ABSENT, Item, Key, Store, StoreError, classify};
use crate::integration::Limits;

/// What counting a call gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Within the limits, and counted.
    Admitted,
    /// Over the limit of the minute; not counted.
    MinuteFull,
    /// Over the limit of the day; not counted.
    DayFull,
}

/// Windows roll over under contention: one copy wins, the others find the new window at once. More rounds than this
/// mean that something else is wrong.
const ROUNDS_MAX: usize = 8;

/// The state of a counter's item: window numbers since 1970 and counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    minute: i64,
    in_minute: i64,
    day: i64,
    in_day: i64,
}

impl Window {
    fn at(now: Timestamp) -> Self {
        let seconds = now.as_second();
        Self { minute: seconds.div_euclid(60), in_minute: 0, day: seconds.div_euclid(86_400), in_day: 0 }
    }

    fn of(item: &Item) -> Option<Self> {
        let n = |name| item.get_number(name);
        Some(Self { minute: n("m")?, in_minute: n("mc")?, day: n("d")?, in_day: n("dc")? })
    }

    /// This window rolled on to `now`; a clock behind the stored one counts in the stored window.
    fn rolled_to(self, now: Self) -> Self {
        let minute = self.minute.max(now.minute);
        let day = self.day.max(now.day);
        Self {
            minute,
            in_minute: if minute == self.minute { self.in_minute } else { 0 },
            day,
            in_day: if day == self.day { self.in_day } else { 0 },
        }
    }
}

impl Store {
    /// Counts one call at `key` if the limits allow, in one call to DynamoDB; in two for the first of a window.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails; the call may then have been counted.
    pub async fn count(&self, key: &Key, limits: Limits, now: Timestamp) -> Result<Counted, StoreError> {
        let (per_minute, per_day) = (i64::from(limits.per_minute), i64::from(limits.per_day));
        let mut current = Window::at(now);
        for _ in 0..ROUNDS_MAX {
            let Err(found) = self.count_in(key, current, per_minute, per_day).await? else {
                return Ok(Counted::Admitted);
            };
            let known = found.as_ref().and_then(Window::of);
            let rolled = known.map_or(current, |known| known.rolled_to(Window::at(now)));
            if rolled.in_day >= per_day {
                return Ok(Counted::DayFull);
            }
            if rolled.in_minute >= per_minute {
                return Ok(Counted::MinuteFull);
            }
            if known == Some(rolled) {
                current = rolled; // the stored window is ahead of this clock: count there
            } else if self.roll(key, found.is_some().then_some(known).flatten(), rolled).await? {
                return Ok(Counted::Admitted);
            }
        }
        Err(StoreError::Unavailable { operation: "UpdateItem", reason: "too many copies count at once".into() })
    }

    /// The usual case: the window is the stored one. Gives the stored item where the condition didn't hold.
    async fn count_in(
        &self,
        key: &Key,
        at: Window,
        per_minute: i64,
        per_day: i64,
    ) -> Result<Result<(), Option<Item>>, StoreError> {
        let update = "SET mc = mc + :one, dc = dc + :one";
        let condition = "m = :m AND d = :d AND mc < :pm AND dc < :pd";
        let values = [(":one", 1), (":m", at.minute), (":d", at.day), (":pm", per_minute), (":pd", per_day)];
        self.update_numbers(key, update, condition, &values).await
    }

    /// The first call of a window: starts it with a count of one, unless another copy did.
    async fn roll(&self, key: &Key, known: Option<Window>, to: Window) -> Result<bool, StoreError> {
        let update = "SET m = :m, mc = :mc, d = :d, dc = :dc, #ttl = :ttl";
        let ttl = ((to.day + 1) * 86_400).saturating_add_unsigned(self.counter_retention.as_secs());
        let mut values =
            vec![(":m", to.minute), (":mc", to.in_minute + 1), (":d", to.day), (":dc", to.in_day + 1), (":ttl", ttl)];
        let condition = match known {
            None => ABSENT,
            Some(old) => {
                values.extend([(":om", old.minute), (":omc", old.in_minute), (":od", old.day), (":odc", old.in_day)]);
                "m = :om AND mc = :omc AND d = :od AND dc = :odc"
            }
        };
        Ok(self.update_numbers(key, update, condition, &values).await?.is_ok())
    }

    async fn update_numbers(
        &self,
        key: &Key,
        update: &str,
        condition: &str,
        values: &[(&str, i64)],
    ) -> Result<Result<(), Option<Item>>, StoreError> {
        let number = |n: &i64| AttributeValue::N(n.to_string());
        let values: HashMap<_, _> = values.iter().map(|(name, n)| ((*name).to_owned(), number(n))).collect();
        let names = update.contains("#ttl").then(|| HashMap::from([("#ttl".to_owned(), "ttl".to_owned())]));
        let request = self.dynamodb.update_item().table_name(&self.table).set_key(Some(key.attributes()));
        let request = request.update_expression(update).condition_expression(condition);
        let request = request.set_expression_attribute_values(Some(values)).set_expression_attribute_names(names);
        match request.return_values_on_condition_check_failure(AllOld).send().await {
            Ok(_) => Ok(Ok(())),
            Err(SdkError::ServiceError(context)) if context.err().is_conditional_check_failed_exception() => {
                match context.into_err() {
                    UpdateItemError::ConditionalCheckFailedException(e) => Ok(Err(e.item.map(Item))),
                    _ => Ok(Err(None)),
                }
            }
            Err(error) => Err(classify("UpdateItem", error)),
        }
    }

    /// Adds one to the counter at `key` and gives the new count. The item ends `ttl_seconds` after `now`.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails; it may then have been counted.
    pub async fn increment(&self, key: &Key, now: Timestamp, ttl_seconds: i64) -> Result<i64, StoreError> {
        let request = self.dynamodb.update_item().table_name(&self.table).set_key(Some(key.attributes()));
        let request = request.update_expression("SET #ttl = :ttl ADD n :one").return_values(ReturnValue::UpdatedNew);
        let request = request
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":one", AttributeValue::N("1".into()))
            .expression_attribute_values(":ttl", AttributeValue::N((now.as_second() + ttl_seconds).to_string()));
        let answer = request.send().await.map_err(|e| classify("UpdateItem", e))?;
        Ok(answer.attributes.map(Item).and_then(|i| i.get_number("n")).unwrap_or(0))
    }
}
