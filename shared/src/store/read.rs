//! Reading: one item, a few items, a page of a list.

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};

use super::{BY_TIME, Item, Key, Store, StoreError, classify};

/// One page of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The items, newest first.
    pub items: Vec<Item>,
    /// Where the next page begins: the sort key on the index of the last item looked at.
    pub next: Option<(String, Key)>,
}

impl Store {
    /// One item, read consistently.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let request = self.dynamodb.get_item().table_name(&self.table).set_key(Some(key.attributes()));
        let answer = request.consistent_read(true).send().await.map_err(|e| classify("GetItem", e))?;
        Ok(answer.item.map(Item))
    }

    /// Several items in one call, each `None` where there is none. At most 100 keys, all different.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails or is too busy to answer for all keys.
    pub async fn get_all<const N: usize>(&self, keys: [&Key; N]) -> Result<[Option<Item>; N], StoreError> {
        let wanted = keys.iter().fold(KeysAndAttributes::builder(), |b, key| b.keys(key.attributes()));
        let wanted = wanted.build().map_err(|e| classify_build("BatchGetItem", &e))?;
        let request = self.dynamodb.batch_get_item().request_items(&self.table, wanted);
        let answer = request.send().await.map_err(|e| classify("BatchGetItem", e))?;
        if answer.unprocessed_keys.is_some_and(|keys| !keys.is_empty()) {
            return Err(StoreError::Unavailable { operation: "BatchGetItem", reason: "throttled".into() });
        }
        let found = answer.responses.and_then(|mut tables| tables.remove(&self.table)).unwrap_or_default();
        let mut found: Vec<Item> = found.into_iter().map(Item).collect();
        Ok(keys.map(|key| {
            let at =
                found.iter().position(|i| i.get_text("pk") == Some(&key.pk) && i.get_text("sk") == Some(&key.sk))?;
            Some(found.swap_remove(at))
        }))
    }

    /// A page of the list `g1pk` on the index by time, newest first: at most `limit` items, after `after`, not older than
    /// `since` (a beginning of a sort key), only those with the given texts.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn list(
        &self,
        g1pk: &str,
        since: &str,
        filters: &[(&str, &str)],
        after: Option<(String, Key)>,
        limit: i32,
    ) -> Result<Page, StoreError> {
        let text = |t: &str| AttributeValue::S(t.to_owned());
        let mut request = self.dynamodb.query().table_name(&self.table).index_name(BY_TIME).limit(limit);
        request = request.scan_index_forward(false).expression_attribute_values(":pk", text(g1pk));
        request = if since.is_empty() {
            request.key_condition_expression("g1pk = :pk")
        } else {
            let range = request.key_condition_expression("g1pk = :pk AND g1sk >= :since");
            range.expression_attribute_values(":since", text(since))
        };
        let mut conditions = Vec::new();
        for (i, (name, value)) in filters.iter().enumerate() {
            conditions.push(format!("#f{i} = :f{i}"));
            request = request.expression_attribute_names(format!("#f{i}"), *name);
            request = request.expression_attribute_values(format!(":f{i}"), text(value));
        }
        if !conditions.is_empty() {
            request = request.filter_expression(conditions.join(" AND "));
        }
        if let Some((g1sk, key)) = after {
            let mut start = key.attributes();
            start.insert("g1pk".to_owned(), text(g1pk));
            start.insert("g1sk".to_owned(), AttributeValue::S(g1sk));
            request = request.set_exclusive_start_key(Some(start));
        }
        let answer = request.send().await.map_err(|e| classify("Query", e))?;
        let last = answer.last_evaluated_key.map(Item);
        let next = last.and_then(|last| {
            let key = Key { pk: last.get_text("pk")?.to_owned(), sk: last.get_text("sk")?.to_owned() };
            Some((last.get_text("g1sk")?.to_owned(), key))
        });
        Ok(Page { items: answer.items.unwrap_or_default().into_iter().map(Item).collect(), next })
    }
}

/// A request that can't even be built is refused for its content.
pub(super) fn classify_build(operation: &'static str, error: &impl std::error::Error) -> StoreError {
    StoreError::Rejected { operation, reason: error.to_string() }
}
