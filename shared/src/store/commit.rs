//! One `TransactWriteItems`: an event's whole effect, or nothing of it.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError},
    types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem, Update},
};

use super::{Item, Key, Store, StoreError, classify};

/// Values in a condition, by placeholder.
pub type Values = Vec<(&'static str, AttributeValue)>;

/// One write of a transaction.
#[derive(Clone, Debug)]
pub enum Write {
    /// Puts an item. `condition` with its values; empty for none.
    Put {
        /// The item.
        item: Item,
        /// On the item that was there.
        condition: &'static str,
        /// Values in the condition.
        values: Values,
    },
    /// Changes an item.
    Update {
        /// Which one.
        key: Key,
        /// `SET …`, without the word.
        set: Vec<(String, AttributeValue)>,
        /// Attributes that are set only where they are absent.
        set_once: Vec<(String, AttributeValue)>,
        /// Numbers that are added to.
        add: Vec<(String, i64)>,
        /// On the item that was there.
        condition: String,
        /// Values in the condition.
        values: Vec<(String, AttributeValue)>,
    },
}

/// Why one write of a transaction was refused: its condition didn't hold on this item (`None`: there was none).
pub type Refusal = Option<Item>;

/// What became of a transaction.
#[derive(Clone, Debug)]
pub enum Commit {
    /// All of it is stored.
    Done,
    /// None of it is stored. For each write, in order: `None`, or the refusal.
    Refused(Vec<Option<Refusal>>),
    /// None of it is stored: another transaction was at work on one of the items. Try again.
    Conflict,
}

impl Store {
    /// Writes everything in `writes` or nothing.
    ///
    /// The SDK repeats a call that got no answer with the same token, so that DynamoDB knows it again.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails. It may then have been written all the same.
    pub async fn commit(&self, writes: Vec<Write>) -> Result<Commit, StoreError> {
        let mut request = self.dynamodb.transact_write_items();
        for write in writes {
            request = request.transact_items(self.transact_item(write)?);
        }
        match request.send().await {
            Ok(_) => Ok(Commit::Done),
            Err(SdkError::ServiceError(context))
                if matches!(context.err(), TransactWriteItemsError::TransactionCanceledException(_)) =>
            {
                match context.into_err() {
                    TransactWriteItemsError::TransactionCanceledException(e) => {
                        cancelled(e.cancellation_reasons.unwrap_or_default())
                    }
                    _ => Ok(Commit::Conflict),
                }
            }
            Err(SdkError::ServiceError(context)) if is_conflict(context.err()) => Ok(Commit::Conflict),
            Err(error) => Err(classify("TransactWriteItems", error)),
        }
    }

    /// Puts one item if `condition` (empty for none) holds on what is there; else gives what is there. Half the price of a transaction.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails. It may then have been written all the same.
    pub async fn put(&self, item: Item, condition: &str, values: Values) -> Result<Result<(), Refusal>, StoreError> {
        let mut request = self.dynamodb.put_item().table_name(&self.table).set_item(Some(item.0));
        if !condition.is_empty() {
            request = request.condition_expression(condition).return_values_on_condition_check_failure(AllOld);
        }
        for (name, value) in values {
            request = request.expression_attribute_values(name, value);
        }
        match request.send().await {
            Ok(_) => Ok(Ok(())),
            Err(SdkError::ServiceError(context)) if context.err().is_conditional_check_failed_exception() => {
                match context.into_err() {
                    PutItemError::ConditionalCheckFailedException(e) => Ok(Err(e.item.map(Item))),
                    _ => Ok(Err(None)),
                }
            }
            Err(error) => Err(classify("PutItem", error)),
        }
    }

    /// Deletes an item, if it is there.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let request = self.dynamodb.delete_item().table_name(&self.table).set_key(Some(key.attributes()));
        request.send().await.map(|_| ()).map_err(|e| classify("DeleteItem", e))
    }

    fn transact_item(&self, write: Write) -> Result<TransactWriteItem, StoreError> {
        let built = match write {
            Write::Put { item, condition, values } => {
                let mut put = Put::builder().table_name(&self.table).set_item(Some(item.0));
                if !condition.is_empty() {
                    put = put.condition_expression(condition).return_values_on_condition_check_failure(AllOld);
                }
                for (name, value) in values {
                    put = put.expression_attribute_values(name, value);
                }
                put.build().map(|put| TransactWriteItem::builder().put(put).build())
            }
            Write::Update { key, set, set_once, add, condition, values } => {
                let mut expression = Expression::default();
                let set = set.into_iter().map(|(name, value)| expression.assign(&name, value, false));
                let mut sets: Vec<String> = set.collect();
                sets.extend(set_once.into_iter().map(|(name, value)| expression.assign(&name, value, true)));
                let adds: Vec<String> = add.iter().map(|(name, amount)| expression.add(name, *amount)).collect();
                let mut update = Update::builder()
                    .table_name(&self.table)
                    .set_key(Some(key.attributes()))
                    .update_expression(clauses(&sets, &adds));
                if !condition.is_empty() {
                    update = update.condition_expression(condition).return_values_on_condition_check_failure(AllOld);
                }
                expression.values.extend(values);
                let values = (!expression.values.is_empty()).then_some(expression.values);
                update = update
                    .set_expression_attribute_names(Some(expression.names))
                    .set_expression_attribute_values(values);
                update.build().map(|update| TransactWriteItem::builder().update(update).build())
            }
        };
        built.map_err(|e| StoreError::unbuildable("TransactWriteItems", &e))
    }
}

fn clauses(sets: &[String], adds: &[String]) -> String {
    let clause = |word: &str, parts: &[String]| {
        if parts.is_empty() { String::new() } else { format!("{word} {} ", parts.join(", ")) }
    };
    clause("SET", sets) + &clause("ADD", adds)
}

/// Names and values of an update expression. Attribute names hold outcomes and currencies, so all go in by placeholder.
#[derive(Default)]
struct Expression {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    fn place(&mut self, name: &str, value: AttributeValue) -> (String, String) {
        let n = self.names.len();
        self.names.insert(format!("#n{n}"), name.to_owned());
        self.values.insert(format!(":n{n}"), value);
        (format!("#n{n}"), format!(":n{n}"))
    }

    fn assign(&mut self, name: &str, value: AttributeValue, once: bool) -> String {
        let (name, value) = self.place(name, value);
        if once { format!("{name} = if_not_exists({name}, {value})") } else { format!("{name} = {value}") }
    }

    fn add(&mut self, name: &str, amount: i64) -> String {
        let (name, value) = self.place(name, AttributeValue::N(amount.to_string()));
        format!("{name} {value}")
    }
}

/// Reads a cancelled transaction. A refused condition is an answer; contention alone is worth another try.
fn cancelled(reasons: Vec<aws_sdk_dynamodb::types::CancellationReason>) -> Result<Commit, StoreError> {
    let code = |wanted: &str| reasons.iter().find(|r| r.code.as_deref() == Some(wanted));
    if let Some(reason) = code("ValidationError").or_else(|| code("ItemCollectionSizeLimitExceeded")) {
        let reason = reason.message.clone().unwrap_or_default();
        return Err(StoreError::Rejected { operation: "TransactWriteItems", reason });
    }
    if code("ConditionalCheckFailed").is_some() {
        let failed = |r: aws_sdk_dynamodb::types::CancellationReason| {
            (r.code.as_deref() == Some("ConditionalCheckFailed")).then(|| r.item.map(Item))
        };
        return Ok(Commit::Refused(reasons.into_iter().map(failed).collect()));
    }
    if code("TransactionConflict").is_some() {
        return Ok(Commit::Conflict);
    }
    Err(StoreError::Unavailable { operation: "TransactWriteItems", reason: "throttled".into() })
}

fn is_conflict(error: &TransactWriteItemsError) -> bool {
    use aws_sdk_dynamodb::error::ProvideErrorMetadata;
    error.is_transaction_in_progress_exception() || error.code() == Some("TransactionConflictException")
}
