//! The steps of the walk, each of which says what it expected where it fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    Counts, Unmet,
    hub::Hub,
    source::{self, SOURCE},
};
use crate::{
    crm::Crm,
    records::{Entity, Fields},
};

/// Events in one webhook; the hub takes no more.
const BATCH: usize = 100;
/// How often to look.
pub const POLL: Duration = Duration::from_millis(500);
/// How long a single change may take from one side to the other.
const CHANGE: Duration = Duration::from_mins(1);

/// The hub's ids of the records that were sent, in their order.
pub type Ids = BTreeMap<Entity, Vec<String>>;

pub struct Walk {
    pub hub: Hub,
    pub crm: Arc<Crm>,
    pub counts: Counts,
}

impl Walk {
    /// Sends all records as webhooks of `source`.
    pub async fn send(&self) -> Result<Ids, Unmet> {
        let start = Instant::now();
        let receiver = self.hub.receiver(SOURCE)?;
        let at = (self.crm.clock)();
        let mut ids = Ids::new();
        for entity in Entity::ALL {
            let numbers: Vec<usize> = (0..self.counts.of(entity)).collect();
            for (batch, numbers) in numbers.chunks(BATCH).enumerate() {
                let events: Vec<Value> =
                    numbers.iter().map(|number| source::event(entity, *number, self.counts, at)).collect();
                let results = self.hub.send(&receiver, &format!("{}_{batch}", entity.name()), &events).await?;
                let name = format!("{}_id", entity.name());
                for result in results {
                    let Some(id) = result["data"][&name].as_str() else {
                        return Err(Unmet::new("Send records", format!("data.{name} in each result"), result));
                    };
                    ids.entry(entity).or_default().push(id.to_owned());
                }
            }
        }
        println!("Sent {} webhooks of {SOURCE} in {} s.", self.counts.total(), start.elapsed().as_secs());
        Ok(ids)
    }

    /// Every record is in the CRM once, none failed, and the CRM's echoes made nothing in the hub.
    pub async fn each_once(&self, ids: &Ids) -> Result<(), Unmet> {
        const STEP: &str = "Compare both sides";
        // Whatever the echoes set in motion has come to rest, too.
        self.settle(STEP, self.counts).await?;
        self.same_records(STEP, ids)?;
        let seen = self.see(STEP).await?;
        if seen.total("failed") != Some(0) {
            return Err(Unmet::new(STEP, "no failed record in any sync state", seen.states));
        }
        self.no_failures(STEP).await?;
        let path = format!("/v1/phone-numbers/{}", source::phone(0));
        let number = self.hub.get(&path).await?.expect(200, STEP, &format!("GET {path}"))?;
        let interactions = source::interactions_of(0, self.counts);
        if number["statistics"]["total_interactions"] != json!(interactions) {
            let expected = format!("total_interactions {interactions} of the first contact's number");
            return Err(Unmet::new(STEP, expected, number));
        }
        println!("Each record is in the CRM once, none failed, and what the CRM told the hub of them doubled nothing.");
        Ok(())
    }

    /// The CRM has exactly the records with these ids of the hub, each once.
    fn same_records(&self, step: &'static str, ids: &Ids) -> Result<(), Unmet> {
        self.no_duplicates(step)?;
        for (entity, ids) in ids {
            let expected: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
            let (missing, unknown) = self.crm.with_records(|records| {
                let there: BTreeSet<&str> = records.smrt_ids(*entity).map(|(id, _)| id).collect();
                let few = |ids: Vec<&&str>| format!("{} {:?}", ids.len(), &ids[..ids.len().min(3)]);
                let difference = |a: &BTreeSet<&str>, b: &BTreeSet<&str>| few(a.difference(b).collect());
                (difference(&expected, &there), difference(&there, &expected))
            });
            if missing != "0 []" || unknown != "0 []" {
                let expected = format!("{} {} with the hub's ids", expected.len(), entity.plural());
                return Err(Unmet::new(step, expected, format!("missing {missing}; unknown {unknown}")));
            }
        }
        Ok(())
    }

    /// No record of the hub is twice in the CRM.
    pub fn no_duplicates(&self, step: &'static str) -> Result<(), Unmet> {
        let twice = self.crm.report().duplicates;
        let Some(first) = twice.first() else { return Ok(()) };
        Err(Unmet::new(step, "no record twice in the CRM", format!("{} of them, the first {first:?}", twice.len())))
    }

    /// A contact is edited in the CRM: the hub has it, and doesn't send it back.
    pub async fn edited_there(&self, ids: &Ids) -> Result<(), Unmet> {
        const STEP: &str = "Edit a contact in the CRM";
        let id = &ids[&Entity::Contact][0];
        let set = Fields::from_iter([("first_name".to_owned(), "Edited there".into())]);
        let edited = self.crm.user_edits(Entity::Contact, &self.own_id(STEP, id)?, set).unwrap_or_default();
        let start = Instant::now();
        self.until_in_hub(STEP, id, 200, ("first_name", "Edited there")).await?;
        let seconds = start.elapsed().as_secs_f32();
        self.settle(STEP, self.counts).await?;
        let now = self.in_crm(STEP, id)?;
        if now != edited {
            return Err(Unmet::new(STEP, format!("not sent back, so {}", Value::from(edited)), Value::from(now)));
        }
        println!("A contact edited in the CRM was so in the hub after {seconds:.1} s, and was not sent back.");
        Ok(())
    }

    /// The same contact is edited in the hub: the CRM has it.
    pub async fn edited_here(&self, ids: &Ids) -> Result<(), Unmet> {
        const STEP: &str = "Edit a contact in the hub";
        let id = &ids[&Entity::Contact][0];
        let path = format!("/v1/contacts/{id}");
        let contact = self.hub.get(&path).await?.expect(200, STEP, &format!("GET {path}"))?;
        // What the contract lets a caller write: neither ids nor times.
        let names = ["first_name", "last_name", "phone_number", "email", "company_id", "company_name", "custom_fields"];
        let whole = names.iter().filter(|name| !contact[**name].is_null()).map(|name| (*name, contact[*name].clone()));
        let mut whole: BTreeMap<&str, Value> = whole.collect();
        whole.insert("last_name", "Edited here".into());
        self.hub.put(&path, &json!(whole)).await?.expect(200, STEP, &format!("PUT {path}"))?;
        let start = Instant::now();
        self.ask(STEP).await?;
        let expected = json!(["Edited there", "Edited here"]);
        loop {
            let record = self.in_crm(STEP, id)?;
            if json!([record.get("first_name"), record.get("last_name")]) == expected {
                break;
            }
            if start.elapsed() > CHANGE {
                let expected = format!("first_name and last_name {expected} in the CRM within {} s", CHANGE.as_secs());
                return Err(Unmet::new(STEP, expected, Value::from(record)));
            }
            sleep(POLL).await;
        }
        let seconds = start.elapsed().as_secs_f32();
        self.settle(STEP, self.counts).await?;
        self.until_in_hub(STEP, id, 200, ("last_name", "Edited here")).await?;
        println!("The same contact edited in the hub was so in the CRM after {seconds:.1} s.");
        Ok(())
    }

    /// A contact is deleted in the CRM: the hub has it no longer.
    pub async fn deleted_there(&self, ids: &Ids) -> Result<(), Unmet> {
        const STEP: &str = "Delete a contact in the CRM";
        let Some(id) = ids[&Entity::Contact].last() else { return Ok(()) };
        self.crm.user_removes(Entity::Contact, &self.own_id(STEP, id)?);
        let start = Instant::now();
        self.until_in_hub(STEP, id, 404, ("code", "not_found")).await?;
        println!("A contact deleted in the CRM was gone from the hub after {:.1} s.", start.elapsed().as_secs_f32());
        Ok(())
    }

    /// All others are where they were, and the deleted one didn't come back.
    pub async fn nothing_else_changed(&self, ids: &Ids) -> Result<(), Unmet> {
        const STEP: &str = "Compare both sides at the end";
        self.settle(STEP, Counts { contacts: self.counts.contacts - 1, ..self.counts }).await?;
        let mut ids = ids.clone();
        ids.entry(Entity::Contact).or_default().pop();
        self.same_records(STEP, &ids)?;
        self.no_failures(STEP).await
    }

    async fn no_failures(&self, step: &'static str) -> Result<(), Unmet> {
        let failures = self.hub.get("/v1/failures").await?.expect(200, step, "GET /v1/failures")?;
        let none = failures["data"] == json!([]);
        if none { Ok(()) } else { Err(Unmet::new(step, "no failures in /v1/failures", failures)) }
    }

    pub fn summary(&self) {
        let report = self.crm.report();
        let (failures, webhooks) = (&report.failures, &report.webhooks);
        println!(
            "\nThe CRM's calls, of which {} failed before and {} after the effect:",
            failures.before, failures.after
        );
        for (call, count) in &report.calls {
            println!("  {count:>7} {call}");
        }
        println!("  {:>7} tokens given", report.tokens);
        println!("It told the hub {} changes; {} webhooks had to be repeated.", webhooks.taken, webhooks.refusals);
    }

    /// The contact's record in the CRM.
    fn in_crm(&self, step: &'static str, id: &str) -> Result<Fields, Unmet> {
        let record =
            self.crm.with_records(|records| records.with_smrt_id(Entity::Contact, id).first().copied().cloned());
        record.ok_or_else(|| Unmet::new(step, format!("a contact with custom_fields.smrt_crm_id {id}"), "none"))
    }

    fn own_id(&self, step: &'static str, id: &str) -> Result<String, Unmet> {
        Ok(self.in_crm(step, id)?["id"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the hub answers so for a contact.
    async fn until_in_hub(
        &self,
        step: &'static str,
        id: &str,
        status: u16,
        (field, value): (&str, &str),
    ) -> Result<(), Unmet> {
        let start = Instant::now();
        let path = format!("/v1/contacts/{id}");
        loop {
            let answer = self.hub.get(&path).await?;
            if answer.status == status && answer.body[field] == value {
                return Ok(());
            }
            if start.elapsed() > CHANGE {
                let within = CHANGE.as_secs();
                let expected = format!("{status} with {field} {value:?} to GET {path} within {within} s");
                return Err(answer.unmet(step, &format!("{expected} (webhooks: {:?})", self.crm.report().webhooks)));
            }
            sleep(POLL).await;
        }
    }
}
