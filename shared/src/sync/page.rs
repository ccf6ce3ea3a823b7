//! A page of records that are marked, with what is to be done of each over there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    fields::{nested, shown, values},
    known::fingerprint,
    link::{Fields, Link, Need, Place},
    state::Scope,
};
use crate::{
    connector::{Action, EntityPlan, Outgoing},
    hub::Hub,
    ids::SystemId,
    mapping::Nulls,
    phone::E164,
    process::{phone_key, stored},
    record::DELETED,
    store::{Item, Key, StoreError},
    view,
};

/// Records of a page: with their links they are what one `BatchGetItem` reads.
pub(super) const PAGE: usize = 50;

/// A record on its way.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    pub place: Place,
    pub link: Link,
    /// What it is here; `None` where it is to be nothing over there.
    pub values: Option<Fields>,
    pub need: Need,
}

/// Reads records and their links, and finds what differs. What isn't marked any more is left out, and so is what changed
/// between the two reads: its mark stays.
///
/// # Errors
/// [`StoreError`] where DynamoDB fails.
pub(super) async fn load(
    hub: &Hub,
    scope: &Scope,
    ids: &[String],
    (plan, success_outcomes): (&EntityPlan, &[String]),
) -> Result<Vec<Sending>, StoreError> {
    let places: Vec<Place> = ids.iter().map(|id| scope.place(id)).collect();
    let record_key = |place: &Place| Key::of(&scope.tenant, scope.entity.kind().name(), place.record_id.clone());
    let keys: Vec<Key> = places.iter().flat_map(|place| [record_key(place), place.key()]).collect();
    let found = hub.store.get_many(&keys).await?;
    let mut loaded = Vec::new();
    for (place, items) in places.into_iter().zip(found.chunks(2)) {
        let [record, link] = items else { continue };
        let link = link.as_ref().map(Link::from_item).unwrap_or_default();
        let stored = record.as_ref().and_then(stored);
        if link.mark.is_none() || stored.as_ref().is_some_and(|(version, _)| *version < link.dirty) {
            continue;
        }
        let system = record.as_ref().and_then(|item| SystemId::parse(item.get_text("sys")?).ok());
        let system = system.unwrap_or_else(|| scope.system.clone());
        let view = stored.and_then(|(_, record)| shown(scope.entity, &place.record_id, &system, &record));
        loaded.push((place, link, view));
    }
    let numbers = statistics(hub, scope, loaded.iter().filter_map(|(_, _, view)| view.as_ref()), plan).await?;
    let sendings = loaded.into_iter().map(|(place, link, view)| {
        let is_wanted = link.is_there() || view.as_ref().is_none_or(|view| plan.takes(view));
        let values = view.map(|view| values(plan, &completed(view, &place.record_id, &numbers, success_outcomes)));
        let need = if is_wanted { link.need(values.as_ref(), plan.deletes()) } else { Need::Nothing };
        Sending { place, link, values, need }
    });
    Ok(sendings.collect())
}

/// The fields that come of the statistics of a record's number.
const OF_NUMBERS: [&str; 2] = ["last_contact_at", "success_rate"];

type Numbers = BTreeMap<E164, Item>;

fn number(view: &Map<String, Value>) -> Option<E164> {
    E164::try_from(view.get("phone_number")?.as_str()?.to_owned()).ok()
}

/// The statistics of the records' numbers, where the mapping sends any.
async fn statistics(
    hub: &Hub,
    scope: &Scope,
    views: impl Iterator<Item = &Map<String, Value>>,
    plan: &EntityPlan,
) -> Result<Numbers, StoreError> {
    if !plan.fields().any(|name| OF_NUMBERS.contains(&name)) {
        return Ok(Numbers::new());
    }
    let phones: BTreeSet<E164> = views.filter_map(number).collect();
    let keys: Vec<Key> = phones.iter().map(|phone| phone_key(&scope.tenant, phone)).collect();
    let items = hub.store.get_many(&keys).await?;
    Ok(phones.into_iter().zip(items).filter_map(|(phone, item)| Some((phone, item?))).collect())
}

/// A record with what we add to it over there.
fn completed(
    mut view: Map<String, Value>,
    id: &str,
    numbers: &Numbers,
    success_outcomes: &[String],
) -> Map<String, Value> {
    view.insert("smrt_crm_id".into(), id.into());
    let statistics = number(&view).and_then(|phone| {
        let shown = view::phone_number(&phone, numbers.get(&phone)?, success_outcomes);
        shown.get("statistics").cloned()
    });
    for name in OF_NUMBERS {
        let value = statistics.as_ref().and_then(|statistics| statistics.get(name)).cloned();
        view.insert(name.to_owned(), value.unwrap_or_default());
    }
    view
}

impl Sending {
    /// The fields that are sent.
    pub(super) fn sent(&self) -> impl Iterator<Item = (&String, &Value)> {
        let is_sent = |name: &String| match &self.need {
            Need::Create => true,
            Need::Update(changed) => changed.contains(name),
            Need::Nothing | Need::Delete => false,
        };
        self.values.iter().flatten().filter(move |(name, _)| is_sent(name))
    }

    /// What is sent, for the connector; `None` where there is nothing to send.
    pub(super) fn outgoing(&self, plan: &EntityPlan) -> Option<Outgoing> {
        let action = match &self.need {
            Need::Nothing => return None,
            Need::Create => {
                let given = self.sent().filter(|(_, value)| !value.is_null());
                let key = format!("smrt-{}-{}", self.place.record_id, self.link.creations);
                Action::Create { key, body: plan.body(&nested(given), Nulls::Skip).value }
            }
            Need::Update(_) => {
                let body = plan.body(&nested(self.sent()), Nulls::Send).value;
                // No field has a form over there.
                body.as_object().filter(|body| !body.is_empty())?;
                Action::Update { external_id: self.link.external_id.clone()?, body }
            }
            Need::Delete => Action::Delete { external_id: self.link.external_id.clone()? },
        };
        Some(Outgoing { id: self.place.record_id.clone(), action })
    }

    /// The fingerprints of what is sent, whether the record is there among them.
    pub(super) fn fingerprints(&self) -> BTreeMap<String, String> {
        let is_deleted = fingerprint(&(self.need == Need::Delete).into());
        let sent = self.sent().map(|(name, value)| (name.clone(), fingerprint(value)));
        sent.chain([(DELETED.to_owned(), is_deleted)]).collect()
    }
}
