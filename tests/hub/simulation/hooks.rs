//! Subscriptions: what a seed decides of them and of their endpoints, and which events they want.

use fastrand::Rng;
use http::StatusCode;
use serde_json::{Value, json};

use crate::world::{Tenant, World};

/// A subscription of a tenant, from before the storm.
#[derive(Clone, Debug)]
pub struct Hook {
    pub tenant: usize,
    /// Among its tenant's.
    pub number: usize,
    pub wants: Wants,
    /// Its own schedule, if it has one.
    pub schedule: Option<&'static [u32]>,
    pub rate_per_second: Option<f64>,
    pub mood: Mood,
}

/// Which events it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    All,
    Phones,
    Payments,
    Failures,
    /// Interactions with one outcome.
    Interested,
}

/// How its endpoint answers; once the storm is over all are well, but for those that are dead or gone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    Fine,
    /// Fails now and then, in any way.
    Fails(f64),
    /// Takes seconds.
    Slow,
    /// Doesn't answer in time now and then.
    Hangs(f64),
    /// Takes the first attempt at each event, and says that it didn't.
    Lies,
    /// Its answers get lost now and then.
    Deaf(f64),
    /// Fails for good.
    Dead,
    /// Answers 410 from so many requests on.
    Gone(usize),
}

/// What the API made of it.
#[derive(Debug)]
pub struct Subscription {
    pub hook: Hook,
    pub id: String,
    pub secret: String,
    pub url: String,
}

/// What both tenants subscribe to: half of the seeds have nothing of it.
pub fn hooks(rng: &mut Rng) -> Vec<Hook> {
    if rng.bool() {
        return Vec::new();
    }
    let mut hooks = Vec::new();
    for tenant in 0..2 {
        for number in 0..rng.choice([0, 1, 1, 2, 2, 3, 4]).unwrap() {
            hooks.push(hook(rng, tenant, number));
        }
    }
    hooks
}

fn hook(rng: &mut Rng, tenant: usize, number: usize) -> Hook {
    let share = rng.f64();
    let mood = match rng.u8(0..12) {
        0..3 => Mood::Fine,
        3..6 => Mood::Fails(share),
        6 => Mood::Slow,
        7 => Mood::Hangs(share),
        8 => Mood::Lies,
        9 => Mood::Deaf(share),
        10 => Mood::Dead,
        _ => Mood::Gone(rng.usize(0..10)),
    };
    let all = [Wants::All, Wants::All, Wants::Phones, Wants::Payments, Wants::Failures, Wants::Interested];
    // What fails for good is a failure that is told; were it told to itself, that would be one more each time.
    let some = [Wants::Payments, Wants::Interested];
    let wants = if mood == Mood::Dead { rng.choice(some) } else { rng.choice(all) }.unwrap();
    let short: [Option<&'static [u32]>; 4] = [Some(&[5, 60, 1200]), Some(&[1, 2]), Some(&[30]), Some(&[10, 1000, 10])];
    let own = rng.choice(short).unwrap();
    Hook {
        tenant,
        number,
        wants,
        // The contract's own takes 30 hours to end.
        schedule: if mood != Mood::Dead && rng.u8(0..4) == 0 { None } else { own },
        rate_per_second: if rng.u8(0..3) == 0 { rng.choice([0.5, 2.0, 20.0]) } else { None },
        mood,
    }
}

impl Hook {
    /// Whether it wants this event: the model's own opinion.
    pub fn wants(&self, event_type: &str, data: &Value) -> bool {
        match self.wants {
            Wants::All => true,
            Wants::Phones => event_type.starts_with("phone_number."),
            Wants::Payments => event_type == "payment.recorded",
            Wants::Failures => event_type == "operation.failed",
            Wants::Interested => {
                event_type.starts_with("phone_number.interaction.") && data["interaction"]["outcome"] == "interested"
            }
        }
    }

    /// The wait before a retry, without jitter, of the contract or its own.
    pub fn wait_seconds(&self, step: u32) -> Option<u32> {
        let schedule = self.schedule.unwrap_or(&[5, 300, 1_800, 7_200, 18_000, 36_000, 36_000]);
        schedule.get(usize::try_from(step).unwrap()).copied()
    }

    fn body(&self, url: &str) -> Value {
        let types = match self.wants {
            Wants::All => "*",
            Wants::Phones => "phone_number.*",
            Wants::Payments => "payment.recorded",
            Wants::Failures => "operation.failed",
            Wants::Interested => "phone_number.interaction.*",
        };
        let mut body = json!({"url": url, "event_types": [types]});
        if self.wants == Wants::Interested {
            body["filter"] = json!({"data.interaction.outcome": "interested"});
        }
        if let Some(schedule) = self.schedule {
            body["retry_policy"] = json!({"schedule_seconds": schedule});
        }
        if let Some(rate) = self.rate_per_second {
            body["rate_per_second"] = rate.into();
        }
        body
    }
}

/// Makes the subscriptions.
pub async fn subscribe(world: &World, tenants: &[Tenant], hooks: &[Hook]) -> Vec<Subscription> {
    let mut subscriptions = Vec::new();
    for hook in hooks {
        let tenant = &tenants[hook.tenant];
        let url = format!("https://example.com/{}/{}", tenant.id, hook.number);
        let made = world.subscribe(tenant, &hook.body(&url)).await;
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        subscriptions.push(Subscription { hook: hook.clone(), id: text("id"), secret: text("secret"), url });
    }
    subscriptions
}

/// A status that fails a delivery.
pub fn failing_status(rng: &mut Rng) -> StatusCode {
    StatusCode::from_u16(rng.choice([302, 400, 404, 429, 500, 503]).unwrap()).unwrap()
}
