//! Erasing a phone number with all that hangs on it, at the request of the person whose it is.
//!
//! All of a tenant's partitions are gone through, records first: a contact that names the number, or an interaction with it,
//! becomes what only says that it is gone and which events it had seen. Then whatever names the number, or such a record, goes:
//! events, deliveries, failures, what waits. Of an inbound event its mark stays, for good and without what it said, so that its
//! repeat has no effect. What ties erased records to CRMs goes last, in an invocation of its own: until then each invocation says
//! what they are called over there, so that a lost answer loses nothing.

mod kept;
mod number;
mod records;

use std::collections::HashSet;

use serde_json::{Value, json};

use self::number::Number;
use super::{
    AdministerError, Done, Order, cursor, living,
    page::{self, Budget, Counts, Place, label},
};
use crate::{
    hub::Hub,
    integration::FieldError,
    keys,
    partitions::{Owners, Partition, rank},
    process::phone_key,
    store::{Item, Key, Values},
    tenant::TenantContext,
};

/// Others change the same item at the same time at most so often in a row.
const ROUNDS_MAX: u32 = 10;
/// What is on its way through a queue isn't seen; after this time it is in the table, or done.
const AGAIN_SECONDS: i64 = 900;

/// An erasure at work.
struct Erasing<'a> {
    hub: &'a Hub,
    context: &'a TenantContext,
    number: Number,
    dry_run: bool,
    owners: Owners,
    counts: Counts,
    /// What erased records are called at CRMs.
    external: Vec<Value>,
    /// What names the number and is the tenant's own to change.
    left: Vec<Value>,
}

/// When a kind's turn is: records; deliveries, as long as their events are there; what else may name them; what ties them to
/// CRMs; the number itself.
fn turn(kind: &str) -> usize {
    match kind {
        "con" | "int" | "com" | "mer" => 0,
        "dlv" => 1,
        "link" | "ext" => WAYS,
        "phone" => 4,
        _ => 2,
    }
}

const WAYS: usize = 3;

fn order_of(kind: &str) -> usize {
    1_000 * turn(kind) + rank(kind).min(999)
}

/// Erases as much as this invocation may; in a dry run, counts what would be.
pub(super) async fn run(
    hub: &Hub,
    context: &TenantContext,
    order: &Order,
    budget: Budget<'_>,
) -> Result<Done, AdministerError> {
    let Some(number) = order.number.clone() else {
        return Err(AdministerError::Invalid(vec![FieldError::new("phone_number", "is required")]));
    };
    let (_, tenant) = living(hub, context).await?;
    let owners = Owners::of(&hub.store, context.tenant()).await?;
    let mut work = Erasing {
        hub,
        context,
        number: Number::new(number, tenant.default_region),
        dry_run: order.dry_run,
        owners,
        counts: Counts::default(),
        external: Vec::new(),
        left: Vec::new(),
    };
    let next = work.walk(cursor::decode(order)?, &budget).await?;
    Ok(work.answer(next))
}

impl Erasing<'_> {
    async fn walk(&mut self, place: Option<Place>, budget: &Budget<'_>) -> Result<Option<String>, AdministerError> {
        let (partitions, mut after) = page::from(self.owners.partitions(), order_of, place);
        for partition in partitions {
            // The operator is to have the names over there before they are forgotten.
            if turn(partition.kind) == WAYS && !self.external.is_empty() && !self.dry_run {
                return Ok(Some(cursor::encode(&Place::new(&partition, None))));
            }
            if partition.kind == "phone" {
                return self.phone().await;
            }
            loop {
                if budget.is_over() {
                    return Ok(Some(cursor::encode(&Place::new(&partition, after))));
                }
                let pk = partition.key(self.context.tenant());
                let page = self.hub.store.whole(&pk, after.take(), budget.page()).await?;
                budget.spend(page.items.len());
                let gone = self.gone(&partition, &page.items).await?;
                for item in page.items {
                    Box::pin(self.item(&partition, item, &gone)).await?;
                }
                after = page.next.map(|(sk, _)| sk);
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(None)
    }

    async fn item(&mut self, partition: &Partition, item: Item, gone: &HashSet<Key>) -> Result<(), AdministerError> {
        let refers = || self.references(partition, &item).iter().any(|key| gone.contains(key));
        match partition.kind {
            "con" | "com" | "int" | "mer" => self.record(partition.kind, item).await,
            "in" if item.get_bytes("body").is_none() && !self.number.in_item(&item) => Ok(()),
            "in" if self.number.in_item(&item) || refers() => self.inbound(item).await,
            "evt" | "fail" | "dlv" if self.number.in_item(&item) || refers() => {
                self.delete(partition.kind, &item).await
            }
            "idem" if self.number.in_item(&item) => self.answer_kept(item).await,
            "wait" => self.waiting(&item).await,
            "sync" if self.number.in_item(&item) => self.sync_state(&item).await,
            "link" | "ext" if refers() => self.delete(partition.kind, &item).await,
            "in" | "evt" | "fail" | "dlv" | "idem" | "sync" | "link" | "ext" => Ok(()),
            kind => {
                if self.number.in_item(&item) {
                    let id = keys::view(&item).filter(|_| kind == "key").and_then(|view| view.get("id").cloned());
                    let id = id.unwrap_or_else(|| item.get_text("sk").into());
                    self.left.push(json!({"kind": label(kind), "id": id}));
                }
                Ok(())
            }
        }
    }

    /// The number itself, once no interaction counts for it any more. Where one came meanwhile, the walk begins anew.
    async fn phone(&mut self) -> Result<Option<String>, AdministerError> {
        let key = phone_key(self.context.tenant(), self.number.e164());
        let Some(item) = self.hub.store.get(&key).await? else { return Ok(None) };
        self.counts.add("phone");
        if self.dry_run {
            return Ok(None);
        }
        if item.get_number("n").unwrap_or_default() > 0 && !self.has_none().await? {
            let first = Partition { kind: "con", of: None };
            return Ok(Some(cursor::encode(&Place::new(&first, None))));
        }
        let (condition, values): (_, Values) = match item.0.get("n") {
            Some(count) => ("n = :n", vec![(":n", count.clone())]),
            None => ("attribute_not_exists(n)", Vec::new()),
        };
        let is_deleted = self.hub.store.delete_if(&key, condition, values).await?;
        let first = Partition { kind: "con", of: None };
        Ok((!is_deleted).then(|| cursor::encode(&Place::new(&first, None))))
    }

    /// Whether no interaction with the number is listed, whatever its counters say.
    async fn has_none(&self) -> Result<bool, AdministerError> {
        let list = crate::process::interactions_list(self.context.tenant(), self.number.e164());
        let span = crate::store::Span::default();
        Ok(self.hub.store.list(&list, &span, &[], None, 1).await?.items.is_empty())
    }

    async fn delete(&mut self, kind: &str, item: &Item) -> Result<(), AdministerError> {
        self.counts.add(kind);
        if let Some(key) = item.key().filter(|_| !self.dry_run) {
            self.hub.store.delete(&key).await?;
        }
        Ok(())
    }

    fn answer(self, next: Option<String>) -> Done {
        let counts = self.counts.json();
        let mut answer = json!({
            "done": next.is_none(),
            "counts": counts,
            "external_records": self.external,
            "left": self.left,
        });
        if let Some(fields) = answer.as_object_mut().filter(|_| next.is_none() && !self.dry_run) {
            fields.insert("repeat_after_seconds".into(), AGAIN_SECONDS.into());
        }
        Done::page(answer, &counts, next)
    }
}
