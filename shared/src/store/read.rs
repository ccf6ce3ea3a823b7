//! Reading: one item, a few items, a page of a list.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    operation::query::builders::QueryFluentBuilder,
    types::{AttributeValue, KeysAndAttributes, builders::KeysAndAttributesBuilder},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BY_TIME, Item, Key, Store, StoreError, classify};
use crate::time::millis_text;

/// One page of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The items, in the order of the list.
    pub items: Vec<Item>,
    /// Where the next page begins: the sort key on the index of the last item looked at.
    pub next: Option<(String, Key)>,
}

/// A span of time, its ends included; open where they are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A range of sort keys, its ends included.
#[derive(Clone, Debug)]
pub struct Range {
    /// Its beginning.
    pub from: String,
    /// Its end.
    pub to: String,
}

impl Range {
    /// All sort keys that begin with `prefix`.
    #[must_use]
    pub fn prefixed(prefix: &str) -> Self {
        // `~` is greater than every character of our ids.
        Self { from: prefix.to_owned(), to: format!("{prefix}~") }
    }
}

type Attributes = HashMap<String, AttributeValue>;

impl Page {
    /// Out of a query on an index that sorts by `sort`.
    pub(super) fn of(items: Option<Vec<Attributes>>, last: Option<Attributes>, sort: &str) -> Self {
        let next = last.map(Item).and_then(|last| Some((last.get_text(sort)?.to_owned(), last.key()?)));
        Self { items: items.unwrap_or_default().into_iter().map(Item).collect(), next }
    }
}

impl Store {
    /// One item, read consistently.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let request = self.dynamodb().await?.get_item().table_name(&self.shared.table).set_key(Some(key.attributes()));
        let answer = request.consistent_read(true).send().await.map_err(|e| classify("GetItem", e))?;
        Ok(answer.item.map(Item))
    }

    /// Several items in one call, each `None` where there is none. All keys must differ.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails or is too busy to answer for all keys.
    pub async fn get_all<const N: usize>(&self, keys: [&Key; N]) -> Result<[Option<Item>; N], StoreError> {
        let wanted = keys.iter().fold(KeysAndAttributes::builder(), |b, key| b.keys(key.attributes()));
        let (mut found, left) = self.batch(wanted).await?;
        if left.is_some() {
            return Err(throttled());
        }
        Ok(keys.map(|key| take(&mut found, key)))
    }

    /// At most 100 items, read consistently, each `None` where there is none; in several calls where they are large. All
    /// keys must differ.
    ///
    /// # Errors
    /// As [`Store::get_all`].
    pub async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Item>>, StoreError> {
        let builder = KeysAndAttributes::builder().consistent_read(true);
        let mut wanted = Some(keys.iter().fold(builder, |b, key| b.keys(key.attributes())));
        let mut found = Vec::with_capacity(keys.len());
        while let Some(keys) = wanted.take().filter(|_| !keys.is_empty()) {
            let (items, left) = self.batch(keys).await?;
            if items.is_empty() && left.is_some() {
                return Err(throttled());
            }
            found.extend(items);
            wanted = left.map(|left| KeysAndAttributes::builder().consistent_read(true).set_keys(Some(left.keys)));
        }
        Ok(keys.iter().map(|key| take(&mut found, key)).collect())
    }

    /// One `BatchGetItem`: what was found, and what DynamoDB left out.
    async fn batch(
        &self,
        wanted: KeysAndAttributesBuilder,
    ) -> Result<(Vec<Item>, Option<KeysAndAttributes>), StoreError> {
        let wanted = wanted.build().map_err(|e| StoreError::unbuildable("BatchGetItem", &e))?;
        let request = self.dynamodb().await?.batch_get_item().request_items(&self.shared.table, wanted);
        let answer = request.send().await.map_err(|e| classify("BatchGetItem", e))?;
        let found = answer.responses.and_then(|mut tables| tables.remove(&self.shared.table)).unwrap_or_default();
        let left = answer.unprocessed_keys.and_then(|mut tables| tables.remove(&self.shared.table));
        Ok((found.into_iter().map(Item).collect(), left))
    }

    /// A page of the list `g1pk` on the index by time, newest first: at most `limit` items, after `after`, within `span`,
    /// only those with the given texts.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn list(
        &self,
        g1pk: &str,
        span: &Span,
        filters: &[(&str, &str)],
        after: Option<(String, Key)>,
        limit: i32,
    ) -> Result<Page, StoreError> {
        // DynamoDB refuses what ends before it begins.
        if span.since.zip(span.until).is_some_and(|(since, until)| since > until) {
            return Ok(Page::default());
        }
        let text = |t: &str| AttributeValue::S(t.to_owned());
        let mut request =
            self.dynamodb().await?.query().table_name(&self.shared.table).index_name(BY_TIME).limit(limit);
        request = request.scan_index_forward(false).expression_attribute_values(":pk", text(g1pk));
        // `~` is greater than everything that follows a time in a sort key.
        let until = span.until.map_or_else(|| "~".to_owned(), |until| format!("{}~", millis_text(until)));
        request = request
            .key_condition_expression("g1pk = :pk AND g1sk BETWEEN :since AND :until")
            .expression_attribute_values(":since", text(&span.since.map_or_else(|| "0".into(), millis_text)))
            .expression_attribute_values(":until", text(&until));
        request = filtered(request, filters);
        if let Some((g1sk, key)) = after {
            let mut start = key.attributes();
            start.insert("g1pk".to_owned(), text(g1pk));
            start.insert("g1sk".to_owned(), AttributeValue::S(g1sk));
            request = request.set_exclusive_start_key(Some(start));
        }
        let answer = request.send().await.map_err(|e| classify("Query", e))?;
        Ok(Page::of(answer.items, answer.last_evaluated_key, "g1sk"))
    }
}

impl Store {
    /// A page of the partition `pk`, in the order of its sort keys or against it: at most `limit` items within `range`,
    /// after the sort key `after`, only those with the given texts. Read consistently.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn range(
        &self,
        pk: &str,
        range: &Range,
        filters: &[(&str, &str)],
        (after, limit, forward): (Option<String>, i32, bool),
    ) -> Result<Page, StoreError> {
        if range.from > range.to {
            return Ok(Page::default());
        }
        let text = |t: &str| AttributeValue::S(t.to_owned());
        let mut request =
            self.dynamodb().await?.query().table_name(&self.shared.table).limit(limit).scan_index_forward(forward);
        request = request
            .consistent_read(true)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", text(pk))
            .expression_attribute_values(":from", text(&range.from))
            .expression_attribute_values(":to", text(&range.to));
        request = filtered(request, filters);
        if let Some(sk) = after {
            let start = Key { pk: pk.to_owned(), sk };
            request = request.set_exclusive_start_key(Some(start.attributes()));
        }
        let answer = request.send().await.map_err(|e| classify("Query", e))?;
        Ok(Page::of(answer.items, answer.last_evaluated_key, "sk"))
    }
}

impl Store {
    /// A page of the partition `pk`, whatever its sort keys are: at most `limit` items, after the sort key `after`. Read
    /// consistently.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn whole(&self, pk: &str, after: Option<String>, limit: i32) -> Result<Page, StoreError> {
        let mut request =
            self.dynamodb().await?.query().table_name(&self.shared.table).limit(limit).consistent_read(true);
        request = request
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()));
        if let Some(sk) = after {
            let start = Key { pk: pk.to_owned(), sk };
            request = request.set_exclusive_start_key(Some(start.attributes()));
        }
        let answer = request.send().await.map_err(|e| classify("Query", e))?;
        Ok(Page::of(answer.items, answer.last_evaluated_key, "sk"))
    }

    /// A page of the whole table, of items with the sort key `sk` only, after the key `after`. It costs what reading the table
    /// costs: for what is done once in a deployment's life.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn scan(&self, sk: &str, after: Option<Key>) -> Result<Page, StoreError> {
        let request = self.dynamodb().await?.scan().table_name(&self.shared.table).filter_expression("sk = :sk");
        let request = request.expression_attribute_values(":sk", AttributeValue::S(sk.to_owned()));
        let answer = request.set_exclusive_start_key(after.map(|key| key.attributes())).send().await;
        let answer = answer.map_err(|e| classify("Scan", e))?;
        Ok(Page::of(answer.items, answer.last_evaluated_key, "sk"))
    }
}

/// Only items with these texts.
fn filtered(mut request: QueryFluentBuilder, filters: &[(&str, &str)]) -> QueryFluentBuilder {
    let mut conditions = Vec::new();
    for (i, (name, value)) in filters.iter().enumerate() {
        conditions.push(format!("#f{i} = :f{i}"));
        request = request.expression_attribute_names(format!("#f{i}"), *name);
        request = request.expression_attribute_values(format!(":f{i}"), AttributeValue::S((*value).to_owned()));
    }
    if conditions.is_empty() { request } else { request.filter_expression(conditions.join(" AND ")) }
}

/// Takes the item with this key out of `found`.
fn take(found: &mut Vec<Item>, key: &Key) -> Option<Item> {
    let at = found.iter().position(|item| item.key().as_ref() == Some(key))?;
    Some(found.swap_remove(at))
}

fn throttled() -> StoreError {
    StoreError::Unavailable { operation: "BatchGetItem", reason: "throttled".into() }
}
