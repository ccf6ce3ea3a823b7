//! What must be true when the storm is over, told from what was sent alone, and read over the public API.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    endpoints::Endpoints,
    journal::{Admitted, Journal},
    plan::Plan,
    traffic::{Event, SYSTEMS, What, mark, number, terms},
};
use crate::world::{Tenant, World};

pub struct Model<'a> {
    pub world: &'a World,
    pub tenants: &'a [Tenant],
    pub plan: &'a Plan,
    pub journal: &'a Journal,
    pub endpoints: &'a Endpoints,
}

/// What the hub says of one tenant.
struct Told {
    /// Of each event, but for repeats: id and status, by system and identity.
    records: BTreeMap<(String, String), Vec<(String, String)>>,
    failures: Vec<Value>,
}

/// What a number's events add up to.
#[derive(Default)]
pub struct Expected {
    calls: BTreeMap<u32, Call>,
    pub payments: BTreeMap<u32, (u32, bool)>,
    tickets: usize,
}

#[derive(Default)]
struct Call {
    ended: Option<(u32, bool)>,
    transfers: usize,
}

impl Model<'_> {
    /// Looks at everything. When all is `settled`, what failed for the moment has been done too.
    pub async fn check(&self, settled: bool) {
        for (index, tenant) in self.tenants.iter().enumerate() {
            let told = self.told(index, tenant).await;
            let events = || self.plan.events.iter().enumerate().filter(move |(_, event)| event.tenant == index);
            let mut applied = Vec::new();
            for (position, event) in events() {
                if self.check_event(tenant, position, event, &told) {
                    applied.push(event);
                }
            }
            let expected: Vec<_> = (0..5).map(|phone| Expected::of(phone, &applied)).collect();
            let in_doubt = !settled && self.may_be_doubled(&told.failures);
            let mut exist = BTreeSet::new();
            for (phone, expected) in expected.iter().enumerate() {
                if self.check_number(tenant, phone, expected, in_doubt).await {
                    exist.insert(number(phone));
                }
            }
            self.check_outgoing(index, &expected, &told.failures, settled).await;
            if settled {
                self.check_failures(tenant, &told, &exist);
            }
            self.check_limits(tenant);
        }
    }

    pub fn violation(&self, tenant: &Tenant, what: &str) {
        self.journal.violation(format!("{}: {what}", tenant.id));
    }

    async fn told(&self, index: usize, tenant: &Tenant) -> Told {
        let mut records = BTreeMap::<_, Vec<_>>::new();
        let list = self.all(tenant, "/v1/inbound-events").await;
        let failures = self.all(tenant, "/v1/failures").await;
        let other = mark(1 - index);
        if list.iter().chain(&failures).any(|value| value.to_string().contains(other)) {
            self.violation(tenant, "holds data of the other tenant");
        }
        for record in list.iter().filter(|record| record["status"] != "duplicate") {
            let text = |name: &str| record[name].as_str().unwrap().to_owned();
            records.entry((text("system_id"), text("event_id"))).or_default().push((text("id"), text("status")));
        }
        Told { records, failures }
    }

    pub async fn all(&self, tenant: &Tenant, list: &str) -> Vec<Value> {
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.world.get(tenant, &format!("{list}?limit=100{cursor}")).await.body;
            all.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// Every event with a 2xx is there once: applied, ignored, or in the failures. Gives whether it is applied.
    fn check_event(&self, tenant: &Tenant, position: usize, event: &Event, told: &Told) -> bool {
        let replies = self.journal.replies(position);
        let name = format!("event {position} {:?}", event.what);
        let records = told.records.get(&(event.system().to_owned(), event.identity()));
        let records = records.map(Vec::as_slice).unwrap_or_default();
        let statuses: Vec<&str> = records.iter().map(|(_, status)| status.as_str()).collect();
        if replies.iter().any(|reply| reply.answer.status.is_success()) && records.len() != 1 {
            self.violation(tenant, &format!("{name} was taken, and has the records {statuses:?}"));
        }
        if statuses.contains(&"queued") {
            self.violation(tenant, &format!("{name} still waits"));
        }
        let failed = records.iter().find(|(_, status)| status == "failed");
        if failed.is_some_and(|(id, _)| !told.failures.iter().any(|f| f["inbound_event_id"] == id.as_str())) {
            self.violation(tenant, &format!("{name} failed, but isn't in the failures"));
        }
        let processed = replies.iter().filter(|reply| reply.answer.text("/status") == "processed").count();
        if processed > 1 {
            self.violation(tenant, &format!("{name} was answered `processed` {processed} times"));
        }
        let made: BTreeSet<String> =
            replies.iter().map(|reply| reply.answer.text("/data/interaction_id").to_owned()).collect();
        if made.iter().filter(|id| !id.is_empty()).count() > 1 {
            self.violation(tenant, &format!("{name} made several interactions: {made:?}"));
        }
        statuses == ["processed"]
    }

    /// Whether an interaction may be here twice: its creation in a CRM was given up in doubt, and the CRM told of it without our
    /// id. Both are made one when that failure is sent through again.
    fn may_be_doubled(&self, failures: &[Value]) -> bool {
        self.plan.crm.as_ref().is_some_and(|crm| !crm.names_our_id)
            && failures.iter().any(|failure| failure["operation"] == "sync_record")
    }

    /// The number's statistics, payments and history are what its applied events say; while interactions may be `doubled`,
    /// they aren't looked at. Gives whether there is such a number.
    async fn check_number(&self, tenant: &Tenant, phone: usize, expected: &Expected, doubled: bool) -> bool {
        let told = self.world.phone(tenant, &number(phone)).await;
        if expected.interactions().is_empty() {
            if told["code"] != "not_found" {
                self.violation(tenant, &format!("{} should not exist: {told}", number(phone)));
            }
            return false;
        }
        if doubled {
            return true;
        }
        let mut history: Vec<String> = self
            .all(tenant, &format!("/v1/phone-numbers/{}/interactions", number(phone)))
            .await
            .iter()
            .map(|i| {
                line(
                    &i["interaction_type"],
                    &i["outcome"],
                    &i["duration_seconds"],
                    i["metadata"]["transfers"].as_array().map_or(0, Vec::len),
                )
            })
            .collect();
        history.sort_unstable();
        for (what, told, expected) in [
            ("statistics", &told["statistics"], expected.statistics()),
            ("payments", &told["payments"], expected.payments()),
            ("history", &json!(history), json!(expected.interactions())),
        ] {
            // Of objects, only what the model knows.
            let told: Value = match &expected {
                Value::Object(fields) => fields.keys().map(|name| (name.clone(), told[name].clone())).collect(),
                _ => told.clone(),
            };
            if told != expected {
                self.violation(tenant, &format!("the {what} of {} are {told}, not {expected}", number(phone)));
            }
        }
        true
    }

    /// Only what can't be applied is left: payments of numbers that aren't there.
    fn check_failures(&self, tenant: &Tenant, told: &Told, exist: &BTreeSet<String>) {
        for failure in told.failures.iter().filter(|failure| failure["operation"] != "make_delivery") {
            let phone = failure["payload"]["data"]["object"]["metadata"]["customer_phone"].as_str().unwrap_or_default();
            if failure["code"] != "unknown_phone_number" || exist.contains(phone) {
                self.violation(tenant, &format!("a failure is left that could be mended: {failure}"));
            }
        }
    }

    fn check_limits(&self, tenant: &Tenant) {
        if !self.plan.jumps.is_empty() {
            return; // a minute that the clocks show twice, or not at all, is no minute to count in
        }
        for system in SYSTEMS {
            let limit = terms(system).per_minute;
            for (minute, admitted, uncounted) in self.journal.by_minute(&tenant.id, system) {
                if admitted > limit + uncounted {
                    let what = format!("{system} had {admitted} calls in minute {minute}, {uncounted} uncounted");
                    self.violation(tenant, &what);
                }
            }
        }
    }

    pub fn note_admitted(&self) {
        for (position, event) in self.plan.events.iter().enumerate() {
            let system = event.system();
            for reply in self.journal.replies(position) {
                let queued = reply.answer.text("/status") == "queued";
                // What waits for its window is admitted later.
                if reply.answer.status.is_success() && !(queued && terms(system).queues) {
                    self.journal.admitted(Admitted {
                        tenant: self.tenants[event.tenant].id.clone(),
                        system: system.to_owned(),
                        start: reply.start,
                        end: reply.end,
                    });
                }
            }
        }
    }

    pub async fn failures_left(&self) -> usize {
        let mut left = 0;
        for tenant in self.tenants {
            left += self.all(tenant, "/v1/failures").await.len();
        }
        left
    }

    /// Sends all failures through again, at once or one by one.
    pub async fn retry_failures(&self, at_once: bool) {
        for tenant in self.tenants {
            let mut paths = vec!["/v1/failures/retry".to_owned()];
            if !at_once {
                let failures = self.all(tenant, "/v1/failures").await;
                paths = failures.iter().map(|f| format!("/v1/failures/{}/retry", f["id"].as_str().unwrap())).collect();
            }
            for path in paths {
                let answer = self.world.post(tenant, &path).await;
                if answer.status != 202 {
                    self.violation(tenant, &format!("{path} was answered {}: {}", answer.status, answer.body));
                }
            }
        }
    }

    /// Replays some events, whatever became of them.
    pub async fn replay_some(&self) {
        for tenant in self.tenants {
            for record in self.all(tenant, "/v1/inbound-events").await.iter().step_by(7) {
                let path = format!("/v1/inbound-events/{}/replay", record["id"].as_str().unwrap());
                self.world.post(tenant, &path).await;
            }
        }
    }
}

/// An interaction in one line.
fn line(kind: &Value, outcome: &Value, seconds: &Value, transfers: usize) -> String {
    format!("{kind} {outcome} {seconds} {transfers}")
}

impl Expected {
    fn of(phone: usize, applied: &[&Event]) -> Self {
        let mut expected = Self::default();
        for event in applied.iter().filter(|event| event.number == phone) {
            expected.add(event.what);
        }
        expected
    }

    fn add(&mut self, what: What) {
        match what {
            What::CallStarted { call } | What::Recording { call } => {
                self.calls.entry(call).or_default();
            }
            What::CallTransferred { call, .. } => self.calls.entry(call).or_default().transfers += 1,
            What::CallEnded { call, seconds, interested } => {
                self.calls.entry(call).or_default().ended = Some((seconds, interested));
            }
            What::Payment { payment, amount, succeeded } => {
                let state = self.payments.entry(payment).or_insert((amount, false));
                state.1 |= succeeded;
            }
            What::Ticket { .. } => self.tickets += 1,
            What::Push { .. } => {}
        }
    }

    pub fn interactions(&self) -> Vec<String> {
        let calls = self.calls.values().map(|call| {
            let (seconds, outcome) = call.ended.map_or((json!(null), json!(null)), |(seconds, interested)| {
                (json!(seconds), json!(if interested { "interested" } else { "busy" }))
            });
            line(&json!("outbound_call"), &outcome, &seconds, call.transfers)
        });
        let payments = self.payments.values().map(|(_, succeeded)| {
            let outcome = if *succeeded { "payment_successful" } else { "payment_failed" };
            line(&json!("payment_processed"), &json!(outcome), &json!(null), 0)
        });
        let tickets = (0..self.tickets).map(|_| line(&json!("support_ticket"), &json!("open"), &json!(null), 0));
        let mut lines: Vec<_> = calls.chain(payments).chain(tickets).collect();
        lines.sort_unstable();
        lines
    }

    fn statistics(&self) -> Value {
        let ended: Vec<_> = self.calls.values().filter_map(|call| call.ended).collect();
        let mut outcomes = BTreeMap::<&str, usize>::new();
        for (_, interested) in &ended {
            *outcomes.entry(if *interested { "interested" } else { "busy" }).or_default() += 1;
        }
        for (_, succeeded) in self.payments.values() {
            *outcomes.entry(if *succeeded { "payment_successful" } else { "payment_failed" }).or_default() += 1;
        }
        if self.tickets > 0 {
            outcomes.insert("open", self.tickets);
        }
        json!({
            "total_interactions": self.interactions().len(),
            "total_calls": ended.len(),
            "total_duration_seconds": ended.iter().map(|(seconds, _)| seconds).sum::<u32>(),
            "outcomes": outcomes,
        })
    }

    fn payments(&self) -> Value {
        let paid: Vec<u32> = self.payments.values().filter(|(_, paid)| *paid).map(|(amount, _)| *amount).collect();
        let mut totals = json!({});
        if !paid.is_empty() {
            totals["USD"] = paid.iter().sum::<u32>().into();
        }
        json!({"succeeded": paid.len(), "failed": self.payments.len() - paid.len(), "totals": totals})
    }
}
