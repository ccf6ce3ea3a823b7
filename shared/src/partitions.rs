//! The partitions of a tenant's data: the one list of what there is (`docs/architecture.md` says what each holds).
//!
//! Whoever has to reach all of a tenant's data goes by it: what exports, what deletes. A test compares it with a table in which
//! everything has happened.

use std::collections::BTreeSet;

use crate::{
    ids::{SystemId, TenantId},
    registry::integration_of,
    store::{Item, Key, Store, StoreError, Write},
    subscription::subscription_partition,
};

/// What there is one partition of.
pub const KINDS: [&str; 19] = [
    "con",
    "com",
    "int",
    "phone",
    "mer",
    "in",
    "fail",
    "evt",
    "wait",
    "idem",
    "match",
    "limit",
    "refused",
    "pace",
    "key",
    SYNCS,
    GONE,
    SUBSCRIPTIONS,
    CONFIG,
];
/// What there is a partition of for each system: `{kind}#{system}`.
pub const OF_SYSTEMS: [&str; 2] = ["link", "ext"];
/// What there is a partition of for each subscription: `{kind}#{subscription}`.
pub const OF_SUBSCRIPTIONS: [&str; 1] = ["dlv"];

/// Those that say which systems and subscriptions there are, or were: to be deleted last, and in this order.
pub const SOURCES: [&str; 4] = [SYNCS, GONE, SUBSCRIPTIONS, CONFIG];

const SYNCS: &str = "sync";
const GONE: &str = "gone";
const SUBSCRIPTIONS: &str = "sub";
const CONFIG: &str = "config";

/// The order in which partitions are gone through, by their kinds: those that say which there are come last.
#[must_use]
pub fn rank(kind: &str) -> usize {
    let all =
        KINDS.iter().take(KINDS.len() - SOURCES.len()).chain(&OF_SYSTEMS).chain(&OF_SUBSCRIPTIONS).chain(&SOURCES);
    all.into_iter().position(|known| *known == kind).unwrap_or(usize::MAX)
}

/// What a list of sources is read in.
const PAGE: i32 = 1_000;

/// A partition: its kind, and whose of the kind it is, where there are several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Partition {
    /// One of the kinds above.
    pub kind: &'static str,
    /// The system or subscription.
    pub of: Option<String>,
}

impl Partition {
    /// Its partition key.
    #[must_use]
    pub fn key(&self, tenant: &TenantId) -> String {
        match &self.of {
            None => format!("{tenant}#{}", self.kind),
            Some(of) => format!("{tenant}#{}#{of}", self.kind),
        }
    }

    /// Which one a partition key names, and of which tenant; `None` where it is none of ours.
    #[must_use]
    pub fn of_key(pk: &str) -> Option<(TenantId, Self)> {
        let mut parts = pk.splitn(3, '#');
        let (tenant, kind, of) = (TenantId::parse(parts.next()?).ok()?, parts.next()?, parts.next());
        let known: &[&'static str] = match of {
            None => &KINDS,
            Some(of) if of.starts_with("sub_") => &OF_SUBSCRIPTIONS,
            Some(_) => &OF_SYSTEMS,
        };
        let kind = known.iter().copied().find(|known| *known == kind)?;
        Some((tenant, Self { kind, of: of.map(str::to_owned) }))
    }
}

/// The systems and subscriptions that a tenant has, or had: those of which something is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    /// Systems.
    pub systems: BTreeSet<SystemId>,
    /// Subscriptions.
    pub subscriptions: BTreeSet<String>,
}

impl Owners {
    /// Reads them.
    ///
    /// # Errors
    /// [`StoreError`] where DynamoDB fails.
    pub async fn of(store: &Store, tenant: &TenantId) -> Result<Self, StoreError> {
        // Records of `external_crm` may have been linked before removed systems were noted.
        let mut owners = Self { systems: SystemId::parse("external_crm").into_iter().collect(), ..Self::default() };
        for kind in SOURCES {
            let pk = Partition { kind, of: None }.key(tenant);
            let mut after = None;
            loop {
                let page = store.whole(&pk, after, PAGE).await?;
                page.items.iter().for_each(|item| owners.note(kind, item));
                after = page.next.map(|(sk, _)| sk);
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(owners)
    }

    fn note(&mut self, kind: &str, item: &Item) {
        let sk = item.get_text("sk").unwrap_or_default();
        let (name, _) = sk.split_once('#').unwrap_or((sk, ""));
        let system = match kind {
            CONFIG => integration_of(sk),
            SYNCS => SystemId::parse(name).ok(),
            GONE => sk.strip_prefix(GONE_SYSTEM).and_then(|system| SystemId::parse(system).ok()),
            _ => None,
        };
        self.systems.extend(system);
        self.subscriptions.extend(sk.starts_with("sub_").then(|| sk.to_owned()));
    }

    /// All partitions; those that say which there are come last.
    #[must_use]
    pub fn partitions(&self) -> Vec<Partition> {
        let of_systems = OF_SYSTEMS.into_iter().flat_map(|kind| {
            self.systems.iter().map(move |system| Partition { kind, of: Some(system.as_str().to_owned()) })
        });
        let of_subscriptions = OF_SUBSCRIPTIONS.into_iter().flat_map(|kind| {
            self.subscriptions.iter().map(move |subscription| Partition { kind, of: Some(subscription.clone()) })
        });
        let (sources, others): (Vec<_>, Vec<_>) = KINDS.into_iter().partition(|kind| SOURCES.contains(kind));
        let plain = |kind| Partition { kind, of: None };
        others
            .into_iter()
            .map(plain)
            .chain(of_systems)
            .chain(of_subscriptions)
            .chain(sources.into_iter().map(plain))
            .collect()
    }
}

const GONE_SYSTEM: &str = "system#";

/// The write that notes that a system was removed: what ties records to it stays, and must be found again.
#[must_use]
pub fn system_gone(tenant: &TenantId, system: &SystemId) -> Write {
    let item = Item::new(&Key::of(tenant, GONE, format!("{GONE_SYSTEM}{system}")));
    Write::Put { item, condition: "", values: Vec::new() }
}

/// The item that notes that a subscription was removed: its deliveries stay for a while, at the latest until `end`, in seconds
/// since 1970.
#[must_use]
pub fn subscription_gone(tenant: &TenantId, subscription: &str, end: i64) -> Item {
    Item::new(&Key::of(tenant, GONE, subscription)).number("ttl", end)
}

/// The key of the mark that a tenant is suspended, beside its subscriptions: who makes deliveries reads it with them.
#[must_use]
pub fn suspended_key(tenant: &TenantId) -> Key {
    Key { pk: subscription_partition(tenant), sk: SUSPENDED.to_owned() }
}

/// Sorts after all subscriptions.
pub const SUSPENDED: &str = "suspended";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_comes_back_from_its_key() {
        let tenant = TenantId::parse("acme").unwrap();
        let systems = BTreeSet::from([SystemId::parse("crm").unwrap()]);
        let owners = Owners { systems, subscriptions: BTreeSet::from(["sub_1".to_owned()]) };
        let all = owners.partitions();
        assert_eq!(all.len(), KINDS.len() + 3);
        assert_eq!(all.last().map(|last| last.kind), Some("config"));
        for partition in all {
            assert_eq!(Partition::of_key(&partition.key(&tenant)), Some((tenant.clone(), partition)));
        }
        for other in ["", "acme", "acme#other", "acme#con#x", "_unknown#refused", "acme#dlv#crm", "acme#link#sub_1"] {
            assert_eq!(Partition::of_key(other), None, "{other}");
        }
    }
}
