//! Turns: a rate that holds exactly across all copies of all functions. Each caller takes the next free turn, so nobody
//! asks in vain and the same turn is never given twice.

use std::collections::HashMap;

use aws_sdk_dynamodb::{error::SdkError, types::AttributeValue};
use jiff::Timestamp;

use super::{Item, Key, Store, StoreError, classify};

/// Who comes first after a pause is decided in one round; more mean that something else is wrong.
const ROUNDS_MAX: usize = 8;

/// Turns are forgotten a day after the last one.
const TTL_SECONDS: i64 = 86_400;

impl Store {
    /// Takes the next turn at `key`, where turns are `interval_ms` apart, and gives its time: `now` or later.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails; a turn may then have been taken, and pass unused.
    pub async fn turn(&self, key: &Key, interval_ms: i64, now: Timestamp) -> Result<Timestamp, StoreError> {
        let now_ms = now.as_millisecond();
        for _ in 0..ROUNDS_MAX {
            // Usually others came before, or it was quiet for a while: both are one call.
            let after_others = ("SET turn = turn + :step, #ttl = :ttl", "turn > :now");
            if let Some(free) = self.take_turn(key, after_others, interval_ms, now_ms).await? {
                return Ok(Timestamp::from_millisecond(free - interval_ms).unwrap_or(now));
            }
            let first = ("SET turn = :next, #ttl = :ttl", "attribute_not_exists(turn) OR turn <= :now");
            if self.take_turn(key, first, interval_ms, now_ms).await?.is_some() {
                return Ok(now);
            }
        }
        Err(StoreError::Unavailable { operation: "UpdateItem", reason: "too many copies take turns at once".into() })
    }

    /// When the turn after the one that was taken is free; `None` where the condition doesn't hold.
    async fn take_turn(
        &self,
        key: &Key,
        (update, condition): (&str, &str),
        interval_ms: i64,
        now_ms: i64,
    ) -> Result<Option<i64>, StoreError> {
        let n = |n: i64| AttributeValue::N(n.to_string());
        let step = if update.contains(":step") { (":step", interval_ms) } else { (":next", now_ms + interval_ms) };
        let ttl = now_ms / 1000 + TTL_SECONDS;
        let values = [step, (":now", now_ms), (":ttl", ttl)].map(|(name, value)| (name.to_owned(), n(value)));
        let request =
            self.dynamodb().await?.update_item().table_name(&self.shared.table).set_key(Some(key.attributes()));
        let request = request
            .update_expression(update)
            .condition_expression(condition)
            .expression_attribute_names("#ttl", "ttl")
            .set_expression_attribute_values(Some(HashMap::from(values)))
            .return_values(aws_sdk_dynamodb::types::ReturnValue::UpdatedNew);
        match request.send().await {
            Ok(answer) => Ok(answer.attributes.map(Item).and_then(|item| item.get_number("turn"))),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => Ok(None),
            Err(error) => Err(classify("UpdateItem", error)),
        }
    }
}
