//! What belongs into a stream, and which writes it can't be told of.

use std::collections::HashMap;

use dynoxide::actions::batch_write_item::BatchWriteItemRequest;
use dynoxide::actions::transact_write_items::{TransactPut, TransactUpdate, TransactWriteItem};
use dynoxide::actions::update_item::UpdateItemRequest;
use dynoxide::{AttributeValue, DynoxideError, Item};
use serde_json::Value;

use crate::template::{StreamFilter, StreamTrigger, Table};

/// Which new items of which table belong into the stream.
pub(in crate::aws) struct Spec {
    table: String,
    pub(super) arn: String,
    /// The names of the table's key attributes.
    keys: Vec<String>,
    filters: Vec<StreamFilter>,
}

/// An update, alone or of a transaction.
struct Update<'a> {
    table: &'a str,
    key: &'a Item,
    expression: &'a str,
    condition: Option<&'a str>,
    names: Option<&'a HashMap<String, String>>,
    values: Option<&'a Item>,
}

impl Spec {
    pub(in crate::aws) fn new(trigger: &StreamTrigger, tables: &[Table]) -> Self {
        let table = tables.iter().find(|table| table.name == trigger.table);
        let keys = table.and_then(|table| table.definition.get("KeySchema")?.as_array());
        let name = |key: &Value| key.get("AttributeName").and_then(Value::as_str).map(str::to_owned);
        Self {
            table: trigger.table.clone(),
            arn: trigger.stream_arn.clone(),
            keys: keys.into_iter().flatten().filter_map(name).collect(),
            filters: trigger.filters.clone(),
        }
    }

    /// Whether this item of this table belongs into the stream once it is inserted.
    pub(super) fn wants(&self, table: &str, item: &Item) -> bool {
        let has = |(name, texts): (&String, &Vec<String>)| is_one_of(item.get(name), texts);
        table == self.table && self.filters.iter().any(|filter| filter.0.iter().all(has))
    }

    /// The item's key attributes.
    pub(super) fn key_of(&self, item: &Item) -> Item {
        let attribute = |name: &String| Some((name.clone(), item.get(name)?.clone()));
        self.keys.iter().filter_map(attribute).collect()
    }

    /// What a transaction inserts for the stream, or a refusal of what can't be told to be an insertion.
    pub(super) fn inserted_by(&self, writes: &[TransactWriteItem]) -> Result<Vec<Item>, DynoxideError> {
        let mut images = Vec::new();
        for write in writes {
            if let Some(update) = &write.update {
                self.check_update(&update.into())?;
            }
            let Some(put) = write.put.as_ref().filter(|put| self.wants(&put.table_name, &put.item)) else { continue };
            if !self.is_insertion(put) {
                return Err(refusal("a put that may replace an item"));
            }
            images.push(put.item.clone());
        }
        Ok(images)
    }

    fn is_insertion(&self, put: &TransactPut) -> bool {
        let names = put.expression_attribute_names.as_ref();
        self.asks("attribute_not_exists", put.condition_expression.as_deref(), names)
    }

    pub(super) fn check_update_item(&self, request: &UpdateItemRequest) -> Result<(), DynoxideError> {
        if request.table_name == self.table && request.attribute_updates.is_some() {
            return Err(refusal("AttributeUpdates"));
        }
        self.check_update(&request.into())
    }

    /// Refuses an update that might insert what belongs into the stream.
    fn check_update(&self, update: &Update) -> Result<(), DynoxideError> {
        let might_insert = update.table == self.table
            && !self.asks("attribute_exists", update.condition, update.names)
            && self.filters.iter().any(|filter| filter.0.iter().all(|(name, texts)| update.might_give(name, texts)));
        if might_insert { Err(refusal("an update that may insert an item")) } else { Ok(()) }
    }

    pub(super) fn check_batch(&self, request: &BatchWriteItemRequest) -> Result<(), DynoxideError> {
        let writes =
            request.request_items.iter().flat_map(|(table, writes)| writes.iter().map(move |write| (table, write)));
        let mut puts = writes.filter_map(|(table, write)| Some((table, &write.put_request.as_ref()?.item)));
        if puts.any(|(table, item)| self.wants(table, item)) { Err(refusal("BatchWriteItem")) } else { Ok(()) }
    }

    /// What a statement inserts is hard to tell, so none may.
    pub(super) fn check_statement(&self, statement: &str) -> Result<(), DynoxideError> {
        let inserts = statement.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("insert"));
        if inserts && statement.contains(&self.table) { Err(refusal("an INSERT of PartiQL")) } else { Ok(()) }
    }

    /// Whether a condition asks just this of a key attribute: `attribute_exists(pk)`, `attribute_not_exists(#pk)`.
    fn asks(&self, function: &str, condition: Option<&str>, names: Option<&HashMap<String, String>>) -> bool {
        let condition: String = condition.into_iter().flat_map(str::split_whitespace).collect();
        let argument = condition.strip_prefix(function).and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'));
        argument.is_some_and(|argument| {
            let name = names.and_then(|names| names.get(argument)).map_or(argument, String::as_str);
            self.keys.iter().any(|key| key == name)
        })
    }
}

impl Update<'_> {
    /// Whether the item, if there was none before, might have one of these texts as this attribute.
    fn might_give(&self, name: &str, texts: &[String]) -> bool {
        let is_word_of_name = |character: char| character.is_alphanumeric() || "_-#:".contains(character);
        let resolved = |word| self.names.and_then(|names| names.get(word)).map_or(word, String::as_str);
        let mut words = self.expression.split(|character| !is_word_of_name(character));
        let has_text = || self.values.is_some_and(|values| values.values().any(|value| is_one_of(Some(value), texts)));
        is_one_of(self.key.get(name), texts) || (words.any(|word| resolved(word) == name) && has_text())
    }
}

impl<'a> From<&'a TransactUpdate> for Update<'a> {
    fn from(update: &'a TransactUpdate) -> Self {
        Self {
            table: &update.table_name,
            key: &update.key,
            expression: &update.update_expression,
            condition: update.condition_expression.as_deref(),
            names: update.expression_attribute_names.as_ref(),
            values: update.expression_attribute_values.as_ref(),
        }
    }
}

impl<'a> From<&'a UpdateItemRequest> for Update<'a> {
    fn from(update: &'a UpdateItemRequest) -> Self {
        Self {
            table: &update.table_name,
            key: &update.key,
            expression: update.update_expression.as_deref().unwrap_or_default(),
            condition: update.condition_expression.as_deref(),
            names: update.expression_attribute_names.as_ref(),
            values: update.expression_attribute_values.as_ref(),
        }
    }
}

/// The error for a write that would be lost for the stream.
pub(super) fn refusal(what: &str) -> DynoxideError {
    DynoxideError::ValidationException(format!(
        "cargo local can't write an item and its stream record at once by {what}. Put what belongs into a stream with \
         PutItem or TransactWriteItems, on the whole condition attribute_not_exists of a key attribute."
    ))
}

fn is_one_of(value: Option<&AttributeValue>, texts: &[String]) -> bool {
    matches!(value, Some(AttributeValue::S(text)) if texts.contains(text))
}
