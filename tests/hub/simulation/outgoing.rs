//! What must be true of outgoing webhooks when the storm is over: told from the events that are in the table, which must be
//! those that what was applied asks for, and from what arrived at the endpoints.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use shared::{
    event::events_of,
    signature::{Scheme, SignatureConfig, SignedRequest},
};

use super::{
    endpoints::Told,
    hooks::{Mood, Subscription},
    model::{Expected, Model},
    traffic::{mark, number},
};
use crate::world::Tenant;

/// After so long, every copy of a function knows that a subscription is disabled, and what was under way has arrived.
const GRACE_SECONDS: i64 = 120;

/// An event that was committed.
struct Committed {
    event_type: String,
    data: Value,
}

/// A tenant's events by their ids.
type Events = BTreeMap<String, Committed>;

/// What must hold at one subscription.
struct Check<'a> {
    model: &'a Model<'a>,
    tenant: &'a Tenant,
    subscription: &'a Subscription,
    /// The events that it wants.
    wanted: BTreeMap<&'a String, &'a Committed>,
    /// The deliveries by event.
    deliveries: BTreeMap<String, Value>,
    /// The ids of the tenant's failures.
    failures: BTreeSet<&'a str>,
    settled: bool,
}

impl Model<'_> {
    /// Looks at a tenant's events, deliveries and requests. When all is `settled`, no failure is left but for good reason.
    pub async fn check_outgoing(&self, index: usize, expected: &[Expected], failures: &[Value], settled: bool) {
        let tenant = &self.tenants[index];
        let events = self.events(index).await;
        let own = || self.journal.subscriptions().iter().filter(move |s| s.hook.tenant == index);
        let failed: Vec<&Value> = failures.iter().filter(|failure| failure["operation"] == "make_delivery").collect();
        if own().next().is_some() {
            self.check_events(tenant, &events, expected, failures);
        } else if !events.is_empty() {
            self.violation(tenant, "has events, and never a subscription");
        }
        let mut held = BTreeSet::new();
        for subscription in own() {
            let list = self.all(tenant, &format!("/v1/subscriptions/{}/deliveries", subscription.id)).await;
            let view = self.world.get(tenant, &format!("/v1/subscriptions/{}", subscription.id)).await.body;
            held.extend(list.iter().filter_map(|d| d["failure_id"].as_str().map(str::to_owned)));
            let deliveries = list.into_iter().map(|d| (d["event_id"].as_str().unwrap().to_owned(), d));
            let check = Check {
                model: self,
                tenant,
                subscription,
                wanted: events.iter().filter(|(_, e)| subscription.hook.wants(&e.event_type, &e.data)).collect(),
                deliveries: deliveries.collect(),
                failures: failed.iter().map(|failure| failure["id"].as_str().unwrap()).collect(),
                settled,
            };
            self.endpoints.told(&subscription.url, |told| check.check(told, &view));
        }
        for failure in failed.iter().filter(|f| settled && !held.contains(f["id"].as_str().unwrap())) {
            self.violation(tenant, &format!("no delivery knows of the failure {failure}"));
        }
    }

    async fn events(&self, index: usize) -> Events {
        let partition = format!("{}#evt", self.tenants[index].id);
        let items = self.world.items().await;
        let items = items.iter().filter(|item| item.get_text("pk") == Some(&partition));
        let events = items.flat_map(|item| events_of(item).unwrap());
        let committed = |(id, event): (String, shared::event::Event)| {
            let data = serde_json::from_str(&event.data).unwrap();
            (id, Committed { event_type: event.event_type.as_str().to_owned(), data })
        };
        events.map(committed).collect()
    }

    /// The events are those of what was applied.
    fn check_events(&self, tenant: &Tenant, events: &Events, expected: &[Expected], failures: &[Value]) {
        for (phone, expected) in expected.iter().enumerate() {
            let number = number(phone);
            let of = |kind: &str| -> Vec<&Committed> {
                events.values().filter(|e| e.event_type == kind && e.data["phone_number"] == *number).collect()
            };
            let (known, created) = (of("phone_number.created").len(), of("phone_number.interaction.created"));
            let distinct: BTreeSet<String> = created.iter().map(|e| e.data["interaction"]["id"].to_string()).collect();
            let interactions = expected.interactions().len();
            if known != usize::from(interactions > 0) {
                self.violation(tenant, &format!("{number} was told to be new {known} times"));
            }
            // Of what a CRM tells without our id before we know its own, another one is made, until both are made one.
            let may_be_more = self.plan.crm.as_ref().is_some_and(|crm| !crm.names_our_id);
            let is_more = may_be_more && created.len() == distinct.len() && distinct.len() > interactions;
            if (created.len(), distinct.len()) != (interactions, interactions) && !is_more {
                let what = format!(
                    "of {number}'s {interactions} interactions {} of {} are told",
                    distinct.len(),
                    created.len()
                );
                self.violation(tenant, &what);
            }
            let paid = of("payment.recorded");
            let paid: BTreeSet<String> = paid.iter().map(|e| e.data["payment"]["interaction_id"].to_string()).collect();
            if paid.len() != expected.payments.len() {
                self.violation(tenant, &format!("of {number}'s payments {} are told", paid.len()));
            }
        }
        let told: BTreeSet<&str> = events.values().filter_map(|e| e.data["failure"]["id"].as_str()).collect();
        for failure in failures {
            let about = failure["payload"]["event_type"].as_str();
            if about != Some("operation.failed") && !told.contains(failure["id"].as_str().unwrap()) {
                self.violation(tenant, &format!("nobody is told of the failure {failure}"));
            }
        }
    }
}

impl Check<'_> {
    fn violation(&self, what: &str) {
        self.model.violation(self.tenant, &format!("{} {:?}: {what}", self.subscription.id, self.subscription.hook));
    }

    fn check(&self, told: &[Told], view: &Value) {
        self.check_health(told, view);
        for id in self.wanted.keys() {
            self.check_delivery(id, told);
        }
        for id in self.deliveries.keys().filter(|id| !self.wanted.contains_key(id)) {
            self.violation(&format!("it has a delivery of {id}, which it doesn't want"));
        }
        let scheme = SignatureConfig::Standard {}.compile().unwrap();
        let mut before = BTreeMap::new();
        for told in told {
            self.check_arrival(told, &scheme, before.entry(told.arrival.id().to_owned()).or_default());
        }
    }

    /// It is disabled if its endpoint said that it is gone, and gets nothing any more then.
    fn check_health(&self, told: &[Told], view: &Value) {
        let is_gone = told.iter().any(|told| told.status.is_some_and(|status| status == 410));
        if view["is_active"] != !is_gone {
            self.violation(&format!("gone: {is_gone}, but it is {view}"));
        }
        let Some(at) = view["disabled_at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok()) else { return };
        let is_late = |told: &&Told| told.arrival.at.duration_since(at).as_secs() > GRACE_SECONDS;
        if self.model.plan.jumps.is_empty()
            && let Some(late) = told.iter().find(is_late)
        {
            self.violation(&format!(
                "it is disabled since {at}, and was told {} at {}",
                late.arrival.id(),
                late.arrival.at
            ));
        }
    }

    /// It got the event, or there is a failure that says why not.
    fn check_delivery(&self, id: &str, told: &[Told]) {
        let mood = self.subscription.hook.mood;
        let is_gone = matches!(mood, Mood::Gone(_));
        let Some(delivery) = self.deliveries.get(id) else {
            if !is_gone {
                self.violation(&format!("it was never told {id}"));
            }
            return;
        };
        let own: Vec<&Told> = told.iter().filter(|told| told.arrival.id() == id).collect();
        let attempts = delivery["attempts"].as_array().unwrap();
        let taken = attempts.iter().any(|a| a["status_code"].as_u64().is_some_and(|s| (200..300).contains(&s)));
        let failure = delivery["failure_id"].as_str();
        let is_kept = failure.is_some_and(|id| self.failures.contains(id));
        let wrong = match delivery["status"].as_str().unwrap() {
            "succeeded" => [
                (!own.iter().any(|told| told.succeeded()), "it never took it"),
                // Copies of the first message that fail later push it out of the attempts that are kept.
                (!taken && attempts.len() < 20, "no attempt says that it took it"),
                (failure.is_some() && self.settled, "it has a failure"),
            ],
            "exhausted" => [
                (attempts.is_empty() && !is_gone, "it was never tried"),
                (!is_kept && !is_gone, "it isn't among the failures"),
                (self.settled && mood != Mood::Dead && !is_gone, "it could be mended"),
            ],
            _ => [(true, "it should be settled"), (false, ""), (false, "")],
        };
        for (_, what) in wrong.iter().filter(|(is_wrong, _)| *is_wrong) {
            self.violation(&format!("{what}: {delivery}"));
        }
        if attempts.len() > own.len() {
            self.violation(&format!("{} attempts arrived: {delivery}", own.len()));
        }
    }

    /// `before` is how often it was told the same.
    fn check_arrival(&self, told: &Told, scheme: &Scheme, before: &mut u64) {
        let (arrival, body) = (&told.arrival, told.arrival.json());
        let id = arrival.id();
        let Some(event) = self.wanted.get(&id.to_owned()) else {
            return self.violation(&format!("it doesn't want what it was told: {body}"));
        };
        let request =
            SignedRequest { method: "POST", url: "", headers: &arrival.headers, body: arrival.body.as_bytes() };
        let signed = scheme.verify(&request, &[self.subscription.secret.as_str()], arrival.at).is_ok();
        for (holds, what) in [
            (signed, "isn't signed"),
            (body["event_id"] == id, "has another id inside"),
            (body["tenant_id"] == *self.tenant.id, "is of another tenant"),
            (body["event_type"] == *event.event_type && body["data"] == event.data, "says something else"),
            (!arrival.body.contains(mark(1 - self.subscription.hook.tenant)), "bears the other tenant's mark"),
            (
                body["metadata"]["retry_count"].as_u64().is_some_and(|count| count <= *before),
                "counts attempts that never came",
            ),
        ] {
            if !holds {
                self.violation(&format!("{id} {what}: {body}"));
            }
        }
        *before += 1;
    }
}
