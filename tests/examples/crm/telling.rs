//! Tells the hub of changes, by webhooks in the form of `events/external_crm`, each until the hub takes it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Value, json};
use shared::{hub::Clock, signature::SignatureConfig};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use crate::{
    records::{Change, What},
    webhook::{Receiver, client},
};

/// Webhooks under way at once. So they come out of order now and then, as real ones do.
const AT_ONCE: usize = 8;
/// The first wait before a webhook is sent again; each next one is twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What became of the webhooks so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Told {
    pub waiting: u64,
    pub taken: u64,
    /// Answers other than 2xx, and none.
    pub refusals: u64,
    pub last_refusal: Option<String>,
}

/// Sends webhooks in the background.
pub struct Teller {
    queue: mpsc::UnboundedSender<Change>,
    told: Arc<Mutex<Told>>,
}

impl Teller {
    pub fn start(receiver: &Receiver, clock: &Clock) -> Self {
        let (queue, changes) = mpsc::unbounded_channel();
        let changes = Arc::new(AsyncMutex::new(changes));
        let told: Arc<Mutex<Told>> = Arc::default();
        let client = client();
        for _ in 0..AT_ONCE {
            let (changes, told) = (Arc::clone(&changes), Arc::clone(&told));
            let (client, receiver, clock) = (client.clone(), receiver.clone(), Arc::clone(clock));
            tokio::spawn(async move {
                let next = async || changes.lock().await.recv().await;
                while let Some(change) = next().await {
                    until_taken(&client, &receiver, &clock, &change, &told).await;
                }
            });
        }
        Self { queue, told }
    }

    pub fn tell(&self, change: Change) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).waiting += 1;
        // The other end lives as long as this process.
        let _ = self.queue.send(change);
    }

    pub fn told(&self) -> Told {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn until_taken(
    client: &reqwest::Client,
    receiver: &Receiver,
    clock: &Clock,
    change: &Change,
    told: &Mutex<Told>,
) {
    let body = body(change).to_string();
    let mut wait = FIRST_WAIT;
    loop {
        let id = change.number.to_string();
        let refusal = match receiver.post(client, &SignatureConfig::Custom {}, &id, body.clone(), clock()).await {
            Ok((status, _)) if (200..300).contains(&status) => None,
            Ok((status, text)) => Some(format!("{status} {text}")),
            Err(error) => Some(error.to_string()),
        };
        {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(refusal) = refusal else {
                told.waiting -= 1;
                told.taken += 1;
                return;
            };
            told.refusals += 1;
            told.last_refusal = Some(refusal);
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

fn body(change: &Change) -> Value {
    let what = match change.what {
        What::Created => "created",
        What::Updated => "updated",
        What::Deleted => "deleted",
    };
    let entity = change.entity.name();
    json!({
        "event_id": format!("crm_evt_{}", change.number),
        "event_type": format!("{entity}.{what}"),
        "timestamp": change.at.to_string(),
        "data": {entity: change.record},
    })
}
