//! One `TransactWriteItems`: an event's whole effect, or nothing of it.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{put_item::PutItemError, transact_write_items::TransactWriteItemsError, update_item::UpdateItemError},
    types::{
        AttributeValue, Delete, Put, ReturnValue, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem,
        Update as TransactUpdate,
    },
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
    Update(Update),
    /// Deletes an item, if it is there.
    Delete(Key),
}

/// A change of an item, which is made where there is none.
#[derive(Clone, Debug)]
pub struct Update {
    /// Which one.
    pub key: Key,
    /// Attributes that are set.
    pub set: Vec<(String, AttributeValue)>,
    /// Attributes that are set only where they are absent.
    pub set_once: Vec<(String, AttributeValue)>,
    /// Numbers that are added to.
    pub add: Vec<(String, i64)>,
    /// Attributes that are removed.
    pub remove: Vec<String>,
    /// On the item that was there; empty for none.
    pub condition: String,
    /// Values in the condition.
    pub values: Vec<(String, AttributeValue)>,
}

impl Update {
    /// One that changes nothing yet.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        Self {
            key: key.clone(),
            set: Vec::new(),
            set_once: Vec::new(),
            add: Vec::new(),
            remove: Vec::new(),
            condition: String::new(),
            values: Vec::new(),
        }
    }

    /// Sets an attribute.
    #[must_use]
    pub fn set(mut self, name: &str, value: AttributeValue) -> Self {
        self.set.push((name.to_owned(), value));
        self
    }

    /// Sets an attribute where it is absent.
    #[must_use]
    pub fn set_once(mut self, name: &str, value: AttributeValue) -> Self {
        self.set_once.push((name.to_owned(), value));
        self
    }

    /// Adds to a number; 0 changes nothing.
    #[must_use]
    pub fn add(mut self, name: &str, amount: i64) -> Self {
        if amount != 0 {
            self.add.push((name.to_owned(), amount));
        }
        self
    }

    /// Removes an attribute.
    #[must_use]
    pub fn remove(mut self, name: &str) -> Self {
        self.remove.push(name.to_owned());
        self
    }

    /// Only where this holds on the item that was there.
    #[must_use]
    pub fn when(mut self, condition: &str, values: &[(&str, AttributeValue)]) -> Self {
        condition.clone_into(&mut self.condition);
        self.values.extend(values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self
    }

    /// The expression with its names and values.
    fn expression(&self) -> (String, Expression) {
        let mut expression = Expression::default();
        let mut sets = Vec::new();
        for (list, once) in [(&self.set, false), (&self.set_once, true)] {
            sets.extend(list.iter().map(|(name, value)| expression.assign(name, value.clone(), once)));
        }
        let adds: Vec<String> = self.add.iter().map(|(name, amount)| expression.add(name, *amount)).collect();
        let removes: Vec<String> = self.remove.iter().map(|name| expression.name(name)).collect();
        expression.values.extend(self.values.iter().cloned());
        (clauses(&sets, &adds, &removes), expression)
    }
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
        let mut request = self.dynamodb().await?.transact_write_items();
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
        let mut request = self.dynamodb().await?.put_item().table_name(&self.shared.table).set_item(Some(item.0));
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

    /// Changes one item if its condition holds, and gives the whole item as it is then; else gives what is there.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails. It may then have been changed all the same.
    pub async fn update(&self, change: Update) -> Result<Result<Item, Refusal>, StoreError> {
        let (text, Expression { names, values }) = change.expression();
        let mut request =
            self.dynamodb().await?.update_item().table_name(&self.shared.table).set_key(Some(change.key.attributes()));
        request = request
            .update_expression(text)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values((!values.is_empty()).then_some(values))
            .return_values(ReturnValue::AllNew);
        if !change.condition.is_empty() {
            request = request.condition_expression(change.condition).return_values_on_condition_check_failure(AllOld);
        }
        match request.send().await {
            Ok(answer) => Ok(Ok(answer.attributes.map(Item).unwrap_or_default())),
            Err(SdkError::ServiceError(context)) if context.err().is_conditional_check_failed_exception() => {
                match context.into_err() {
                    UpdateItemError::ConditionalCheckFailedException(e) => Ok(Err(e.item.map(Item))),
                    _ => Ok(Err(None)),
                }
            }
            Err(error) => Err(classify("UpdateItem", error)),
        }
    }

    /// Deletes an item, if it is there.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let request =
            self.dynamodb().await?.delete_item().table_name(&self.shared.table).set_key(Some(key.attributes()));
        request.send().await.map(|_| ()).map_err(|e| classify("DeleteItem", e))
    }

    /// Deletes an item, where this holds on it; `false` where it doesn't.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn delete_if(&self, key: &Key, condition: &str, values: Values) -> Result<bool, StoreError> {
        let request =
            self.dynamodb().await?.delete_item().table_name(&self.shared.table).set_key(Some(key.attributes()));
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<HashMap<_, _>>();
        let request = request.condition_expression(condition);
        match request.set_expression_attribute_values((!values.is_empty()).then_some(values)).send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(context)) if context.err().is_conditional_check_failed_exception() => Ok(false),
            Err(error) => Err(classify("DeleteItem", error)),
        }
    }

    fn transact_item(&self, write: Write) -> Result<TransactWriteItem, StoreError> {
        let built = match write {
            Write::Put { item, condition, values } => {
                let mut put = Put::builder().table_name(&self.shared.table).set_item(Some(item.0));
                if !condition.is_empty() {
                    put = put.condition_expression(condition).return_values_on_condition_check_failure(AllOld);
                }
                for (name, value) in values {
                    put = put.expression_attribute_values(name, value);
                }
                put.build().map(|put| TransactWriteItem::builder().put(put).build())
            }
            Write::Update(change) => {
                let (text, Expression { names, values }) = change.expression();
                let mut update = TransactUpdate::builder()
                    .table_name(&self.shared.table)
                    .set_key(Some(change.key.attributes()))
                    .update_expression(text)
                    .set_expression_attribute_names(Some(names))
                    .set_expression_attribute_values((!values.is_empty()).then_some(values));
                if !change.condition.is_empty() {
                    update =
                        update.condition_expression(change.condition).return_values_on_condition_check_failure(AllOld);
                }
                update.build().map(|update| TransactWriteItem::builder().update(update).build())
            }
            Write::Delete(key) => {
                let delete = Delete::builder().table_name(&self.shared.table).set_key(Some(key.attributes()));
                delete.build().map(|delete| TransactWriteItem::builder().delete(delete).build())
            }
        };
        built.map_err(|e| StoreError::unbuildable("TransactWriteItems", &e))
    }
}

fn clauses(sets: &[String], adds: &[String], removes: &[String]) -> String {
    let clause = |word: &str, parts: &[String]| {
        if parts.is_empty() { String::new() } else { format!("{word} {} ", parts.join(", ")) }
    };
    clause("SET", sets) + &clause("ADD", adds) + &clause("REMOVE", removes)
}

/// Names and values of an update expression. Attribute names hold outcomes and currencies, so all go in by placeholder.
#[derive(Default)]
struct Expression {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#n{}", self.names.len());
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn place(&mut self, name: &str, value: AttributeValue) -> (String, String) {
        let (name, placeholder) = (self.name(name), format!(":n{}", self.values.len()));
        self.values.insert(placeholder.clone(), value);
        (name, placeholder)
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
