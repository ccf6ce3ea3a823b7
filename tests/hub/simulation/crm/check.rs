//! What must be true of both sides once all is quiet, told from what was done on each and what is there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Crms, SYSTEM,
    people::{Edit, our_id},
    record::{Fields, Kind},
    server::History,
};
use crate::{
    simulation::model::Model,
    world::{Tenant, World},
};

/// The records of one kind of a tenant, on both sides, by our ids.
struct Sides {
    here: BTreeMap<String, Fields>,
    /// Those that are there, with their ids there.
    there: BTreeMap<String, Vec<(String, Fields)>>,
    /// All that ever were there.
    histories: BTreeMap<String, Vec<History>>,
}

/// A value that somebody gave a field: as early as the one moment, and as late as the other.
struct Given {
    from: i64,
    to: i64,
    value: Value,
}

impl Crms {
    /// Looks at everything.
    pub async fn check(&self, model: &Model<'_>) {
        let ids = ids(model.world).await;
        for (index, tenant) in model.tenants.iter().enumerate() {
            for kind in Kind::ALL {
                let sides = self.sides(model, index, kind, &ids).await;
                check_agreement(model, tenant, &sides);
                if model.plan.jumps.is_empty() {
                    self.check_latest(model, index, kind, &sides);
                }
            }
            self.check_interactions(model, index, &ids).await;
            self.check_state(model, index).await;
        }
    }

    async fn sides(&self, model: &Model<'_>, index: usize, kind: Kind, ids: &BTreeSet<(String, String)>) -> Sides {
        let tenant = &model.tenants[index];
        let (mut here, mut there, mut histories) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let partition = format!("{}#{}", tenant.id, kind.prefix());
        for (_, id) in ids.iter().filter(|(pk, _)| *pk == partition) {
            let answer = model.world.get(tenant, &format!("/v1/{}/{id}", kind.plural())).await;
            if answer.status.is_success() {
                here.insert(id.clone(), kind.read_here(&answer.body));
            }
        }
        self.all[index].look(|kept| {
            for (id, history) in kept.records.iter().filter(|(_, history)| history.entity == kind.name()) {
                let ours = history.our_id().map_or_else(|| our_id(kind, &tenant.id, id), str::to_owned);
                let records: &mut Vec<_> = there.entry(ours.clone()).or_default();
                records.extend(history.now().map(|now| (id.clone(), kind.read_there(now))));
                histories.entry(ours).or_insert_with(Vec::new).push(history.clone());
            }
        });
        Sides { here, there, histories }
    }

    /// No change was lost to an older one.
    fn check_latest(&self, model: &Model<'_>, index: usize, kind: Kind, sides: &Sides) {
        let edits = self.edits.lock().unwrap();
        let all: BTreeSet<&String> = edits
            .iter()
            .filter(|edit| edit.tenant == index && edit.kind == kind)
            .map(|edit| &edit.id)
            .chain(sides.histories.keys())
            .collect();
        for id in all {
            let ours: Vec<&Edit> = edits.iter().filter(|edit| edit.tenant == index && edit.id == **id).collect();
            let theirs = sides.histories.get(id).map(Vec::as_slice).unwrap_or_default();
            let lives = given("$deleted", &ours, theirs, kind);
            let is_here = sides.here.get(id);
            let is = Value::from(is_here.is_none());
            if !may_be(&lives, &is) {
                model.violation(&model.tenants[index], &format!("{id} is deleted ({is}) against {}", shown(&lives)));
            }
            for (field, here) in kind.fields().filter_map(|field| Some((field, is_here?))) {
                let (given, is) = (given(field, &ours, theirs, kind), here.get(field).cloned().unwrap_or_default());
                if !may_be(&given, &is) {
                    let what = format!("{field} of {id} is {is}, and was given {}", shown(&given));
                    model.violation(&model.tenants[index], &what);
                }
            }
        }
    }

    /// Every interaction of a number is there once, and is the same.
    async fn check_interactions(&self, model: &Model<'_>, index: usize, ids: &BTreeSet<(String, String)>) {
        const FIELDS: [(&str, &str); 4] = [
            ("interaction_type", "type"),
            ("outcome", "outcome"),
            ("duration_seconds", "duration_seconds"),
            ("phone_number", "phone"),
        ];
        let tenant = &model.tenants[index];
        let partition = format!("{}#int", tenant.id);
        let mut there = self.all[index].look(|kept| {
            let own = kept.records.values().filter(|history| history.entity == "interaction");
            let mut there = BTreeMap::<Option<String>, Vec<Value>>::new();
            for history in own {
                let id = history.our_id().map(str::to_owned);
                there.entry(id).or_default().extend(history.now().cloned());
            }
            there
        });
        for (_, id) in ids.iter().filter(|(pk, _)| *pk == partition) {
            let here = model.world.get(tenant, &format!("/v1/interactions/{id}")).await;
            let records = there.remove(&Some(id.clone())).unwrap_or_default();
            let is_here = here.status.is_success() && !here.body["phone_number"].is_null();
            let is_same = |there: &Value| FIELDS.iter().all(|(ours, theirs)| here.body[*ours] == there[*theirs]);
            if records.len() != usize::from(is_here) || !records.iter().all(is_same) {
                model.violation(tenant, &format!("{id} is {} here and {records:?} there", here.body));
            }
        }
        if there.values().any(|records| !records.is_empty()) {
            model.violation(tenant, &format!("there are interactions of nobody: {there:?}"));
        }
    }

    /// Nothing waits, limits were kept, and nothing was written over and over.
    async fn check_state(&self, model: &Model<'_>, index: usize) {
        let (tenant, crm) = (&model.tenants[index], &self.all[index]);
        let states = model.world.get(tenant, &format!("/v1/sync/{SYSTEM}")).await;
        let states = states.body["data"].as_array().cloned().unwrap_or_default();
        if states.len() != 3 || states.iter().any(|state| state["waiting"] != 0) {
            model.violation(tenant, &format!("the syncs are {states:?}"));
        }
        if model.plan.jumps.is_empty() {
            let mut minutes = BTreeMap::<i64, usize>::new();
            crm.look(|kept| {
                for call in &kept.calls {
                    *minutes.entry(call.as_second().div_euclid(60)).or_default() += 1;
                }
            });
            let most = crm.plan.terms.per_minute;
            for (minute, calls) in minutes.into_iter().filter(|(_, calls)| *calls > most) {
                model.violation(
                    tenant,
                    &format!("its CRM had {calls} calls in minute {minute}, and {most} are allowed"),
                );
            }
        }
        let (writes, vain, theirs) = crm.look(|kept| {
            let versions = kept.records.values().flat_map(|history| &history.versions);
            (kept.writes, kept.vain, versions.filter(|version| !version.by_hub).count())
        });
        let ours = self.edits.lock().unwrap().iter().filter(|edit| edit.tenant == index).count();
        let events = model.plan.events.iter().filter(|event| event.tenant == index).count();
        let most = 2 * (ours + theirs + events + vain) + 20;
        if writes > most {
            let what = format!(
                "its CRM had {writes} writes, {vain} of them in vain, for {ours} changes here, {theirs} there and {events} events"
            );
            model.violation(tenant, &what);
        }
    }
}

/// All that the table has: partition and sort key.
async fn ids(world: &World) -> BTreeSet<(String, String)> {
    world.items().await.iter().filter_map(shared::store::Item::key).map(|key| (key.pk, key.sk)).collect()
}

/// What a field was given, on both sides. What stood over there counts until the last time that the record was reported with
/// it: a report says of all fields only when the record changed.
fn given(field: &str, ours: &[&Edit], theirs: &[History], kind: Kind) -> Vec<Given> {
    let value = |fields: Option<Fields>| match (field, fields) {
        ("$deleted", fields) => Some(fields.is_none().into()),
        (_, None) => None,
        (name, Some(fields)) => Some(fields.get(name).cloned().unwrap_or_default()),
    };
    let here =
        ours.iter().filter_map(|edit| Some(Given { from: edit.from, to: edit.to, value: value(edit.fields.clone())? }));
    let mut all: Vec<Given> = here.collect();
    for history in theirs {
        let mut standing: Option<(Given, bool)> = None;
        for version in &history.versions {
            let Some(now) = value(version.fields.as_ref().map(|fields| kind.read_there(fields))) else { continue };
            match &mut standing {
                Some((given, _)) if given.value == now => given.to = version.at,
                _ => {
                    let before =
                        standing.replace((Given { from: version.at, to: version.at, value: now }, version.by_hub));
                    all.extend(before.filter(|(_, by_hub)| !by_hub).map(|(given, _)| given));
                }
            }
        }
        all.extend(standing.filter(|(_, by_hub)| !by_hub).map(|(given, _)| given));
    }
    all
}

/// Whether a field may have a value: nothing else was given for sure later than it.
fn may_be(given: &[Given], value: &Value) -> bool {
    let latest = given.iter().map(|given| given.from).max().unwrap_or(i64::MIN);
    given.iter().any(|given| given.value == *value && given.to >= latest)
}

fn shown(given: &[Given]) -> String {
    let lines: Vec<String> =
        given.iter().map(|Given { from, to, value }| format!("{value} at {from} to {to}")).collect();
    lines.join(", ")
}

/// Each record is there once and here once, and is the same.
fn check_agreement(model: &Model<'_>, tenant: &Tenant, sides: &Sides) {
    let all: BTreeSet<&String> = sides.here.keys().chain(sides.there.keys()).collect();
    for id in all {
        let (here, there) = (sides.here.get(id), sides.there.get(id).map(Vec::as_slice).unwrap_or_default());
        match (here, there) {
            (None, []) => {}
            (Some(here), [(_, there)]) if here == there => {}
            _ => model.violation(tenant, &format!("{id} is {here:?} here and {there:?} there")),
        }
    }
}
