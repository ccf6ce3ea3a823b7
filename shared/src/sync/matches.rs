//! By what a contact or a company is found that is the same as one over there, where neither side knows the other's id: its
//! e-mail address or domain, then its phone number.

use std::collections::BTreeSet;

use crate::{
    hub::Hub,
    ids::{TenantId, sha256_hex},
    process::Kind,
    record::Record,
    store::{Item, Key, Range, StoreError, Write},
};

/// The fields that tell one record from another, the surest first.
#[must_use]
pub fn telling(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Contact => &["email", "phone_number"],
        Kind::Company => &["domain", "phone_number"],
        Kind::Interaction | Kind::Merchant => &[],
    }
}

fn prefix(kind: Kind, field: &str, value: &str) -> String {
    let mut hash = sha256_hex(value.trim().to_lowercase().as_bytes());
    hash.truncate(32);
    format!("{}#{field}#{hash}#", kind.name())
}

fn partition(tenant: &TenantId) -> String {
    format!("{tenant}#match")
}

/// Under what a record is found.
fn entries(kind: Kind, id: &str, record: Option<&Record>) -> BTreeSet<String> {
    let Some(record) = record.filter(|record| !record.is_deleted()) else { return BTreeSet::new() };
    let entry = |field: &&str| {
        let value = record.text(field).filter(|text| !text.is_empty())?;
        Some(format!("{}{id}", prefix(kind, field, value)))
    };
    telling(kind).iter().filter_map(entry).collect()
}

/// The writes that let a record be found as it is after a change.
pub fn writes(
    tenant: &TenantId,
    kind: Kind,
    id: &str,
    (before, after): (Option<&Record>, &Record),
) -> impl Iterator<Item = Write> + use<> {
    let (old, new) = (entries(kind, id, before), entries(kind, id, Some(after)));
    let key = |sk: &String| Key { pk: partition(tenant), sk: sk.clone() };
    let put = |sk: &String| Write::Put { item: Item::new(&key(sk)), condition: "", values: Vec::new() };
    let puts: Vec<Write> = new.difference(&old).map(put).collect();
    let deletes: Vec<Write> = old.difference(&new).map(|sk| Write::Delete(key(sk))).collect();
    puts.into_iter().chain(deletes)
}

/// Our records that have the same value, by the first of the telling fields that finds any; at most ten.
///
/// # Errors
/// [`StoreError`] where DynamoDB fails.
pub async fn find<'f>(
    hub: &Hub,
    tenant: &TenantId,
    kind: Kind,
    field: impl Fn(&str) -> Option<&'f str>,
) -> Result<Vec<String>, StoreError> {
    for name in telling(kind) {
        let Some(value) = field(name).filter(|value| !value.is_empty()) else { continue };
        let ids = having(hub, tenant, kind, (name, value), 10).await?;
        if !ids.is_empty() {
            return Ok(ids);
        }
    }
    Ok(Vec::new())
}

/// Our records that have this value in a telling field; at most so many.
///
/// # Errors
/// [`StoreError`] where DynamoDB fails.
pub async fn having(
    hub: &Hub,
    tenant: &TenantId,
    kind: Kind,
    (name, value): (&str, &str),
    most: i32,
) -> Result<Vec<String>, StoreError> {
    let prefix = prefix(kind, name, value);
    let page = hub.store.range(&partition(tenant), &Range::prefixed(&prefix), &[], (None, most, true)).await?;
    let ids = page.items.iter().filter_map(|item| item.get_text("sk")?.strip_prefix(prefix.as_str()));
    Ok(ids.map(str::to_owned).collect())
}
