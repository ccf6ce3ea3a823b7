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

/// What reserving calls gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// So many calls, at least one, are counted and may be made before `until`, when their minute ends.
    Calls {
        /// How many.
        calls: u32,
        /// Until when.
        until: Timestamp,
    },
    /// The limit of the minute is used up until it ends; nothing was counted.
    MinuteFull {
        /// When it ends.
        until: Timestamp,
    },
    /// The limit of the day is used up until it ends; nothing was counted.
    DayFull {
        /// When it ends.
        until: Timestamp,
    },
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

/// Calls that a minute and a day allow.
#[derive(Clone, Copy)]
struct Most {
    in_minute: i64,
    in_day: i64,
}

const MINUTE_SECONDS: i64 = 60;
const DAY_SECONDS: i64 = 86_400;

impl Window {
    fn at(now: Timestamp) -> Self {
        let seconds = now.as_second();
        let (minute, day) = (seconds.div_euclid(MINUTE_SECONDS), seconds.div_euclid(DAY_SECONDS));
        Self { minute, in_minute: 0, day, in_day: 0 }
    }

    fn minute_ends(self) -> Timestamp {
        end(self.minute, MINUTE_SECONDS)
    }

    fn day_ends(self) -> Timestamp {
        end(self.day, DAY_SECONDS)
    }

    fn reserved(self, calls: i64) -> Reserved {
        Reserved::Calls { calls: u32::try_from(calls).unwrap_or(0), until: self.minute_ends() }
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

/// When the window of this number ends.
fn end(number: i64, seconds: i64) -> Timestamp {
    Timestamp::from_second((number + 1) * seconds).unwrap_or(Timestamp::MAX)
}

impl Store {
    /// Counts one call at `key` if the limits allow, in one call to DynamoDB; in two for the first of a window.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails; the call may then have been counted.
    pub async fn count(&self, key: &Key, limits: Limits, now: Timestamp) -> Result<Counted, StoreError> {
        Ok(match self.reserve(key, limits, 1, now).await? {
            Reserved::Calls { .. } => Counted::Admitted,
            Reserved::MinuteFull { .. } => Counted::MinuteFull,
            Reserved::DayFull { .. } => Counted::DayFull,
        })
    }

    /// Counts up to `calls` calls at `key`, as many as the limits still allow; as [`Store::count`] in the number of calls
    /// to DynamoDB, and one more where fewer are left.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails; the calls may then have been counted.
    pub async fn reserve(&self, key: &Key, limits: Limits, calls: u32, now: Timestamp) -> Result<Reserved, StoreError> {
        let most = Most { in_minute: i64::from(limits.per_minute), in_day: i64::from(limits.per_day) };
        let mut current = Window::at(now);
        let mut wanted = i64::from(calls).min(most.in_minute).min(most.in_day);
        for round in 0..ROUNDS_MAX {
            if round == ROUNDS_MAX / 2 {
                wanted = 1; // others take what is left faster than we learn how much it is
            }
            let Err(found) = self.count_in(key, current, most, wanted).await? else {
                return Ok(current.reserved(wanted));
            };
            let known = found.as_ref().and_then(Window::of);
            let rolled = known.map_or(current, |known| known.rolled_to(Window::at(now)));
            if rolled.in_day >= most.in_day {
                return Ok(Reserved::DayFull { until: rolled.day_ends() });
            }
            if rolled.in_minute >= most.in_minute {
                return Ok(Reserved::MinuteFull { until: rolled.minute_ends() });
            }
            wanted = wanted.min(most.in_minute - rolled.in_minute).min(most.in_day - rolled.in_day);
            if known == Some(rolled) {
                current = rolled; // the stored window is ahead of this clock, or has room for fewer: count there
            } else if self.roll(key, found.is_some().then_some(known).flatten(), rolled, wanted).await? {
                return Ok(rolled.reserved(wanted));
            }
        }
        Err(StoreError::Unavailable { operation: "UpdateItem", reason: "too many copies count at once".into() })
    }

    /// The usual case: the window is the stored one. Gives the stored item where the condition didn't hold.
    async fn count_in(
        &self,
        key: &Key,
        at: Window,
        most: Most,
        calls: i64,
    ) -> Result<Result<(), Option<Item>>, StoreError> {
        let update = "SET mc = mc + :n, dc = dc + :n";
        let condition = "m = :m AND d = :d AND mc <= :pm AND dc <= :pd";
        let (per_minute, per_day) = (most.in_minute - calls, most.in_day - calls);
        let values = [(":n", calls), (":m", at.minute), (":d", at.day), (":pm", per_minute), (":pd", per_day)];
        self.update_numbers(key, update, condition, &values).await
    }

    /// The first calls of a window: starts it with their count, unless another copy did.
    async fn roll(&self, key: &Key, known: Option<Window>, to: Window, calls: i64) -> Result<bool, StoreError> {
        let update = "SET m = :m, mc = :mc, d = :d, dc = :dc, #ttl = :ttl";
        let ttl = ((to.day + 1) * DAY_SECONDS).saturating_add_unsigned(self.shared.counter_retention.as_secs());
        let (in_minute, in_day) = (to.in_minute + calls, to.in_day + calls);
        let mut values = vec![(":m", to.minute), (":mc", in_minute), (":d", to.day), (":dc", in_day), (":ttl", ttl)];
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
        let request =
            self.dynamodb().await?.update_item().table_name(&self.shared.table).set_key(Some(key.attributes()));
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

    /// Adds `n` to the counter at `key` and gives the new count. The item ends `ttl_seconds` after `now`.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails; it may then have been counted.
    pub async fn add(&self, key: &Key, n: i64, now: Timestamp, ttl_seconds: i64) -> Result<i64, StoreError> {
        let request =
            self.dynamodb().await?.update_item().table_name(&self.shared.table).set_key(Some(key.attributes()));
        let request = request.update_expression("SET #ttl = :ttl ADD n :n").return_values(ReturnValue::UpdatedNew);
        let request = request
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":n", AttributeValue::N(n.to_string()))
            .expression_attribute_values(":ttl", AttributeValue::N((now.as_second() + ttl_seconds).to_string()));
        let answer = request.send().await.map_err(|e| classify("UpdateItem", e))?;
        Ok(answer.attributes.map(Item).and_then(|i| i.get_number("n")).unwrap_or(0))
    }
}
