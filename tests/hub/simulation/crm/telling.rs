//! A CRM tells the hub of every change: late, out of order, twice, and until it is taken.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::server::{Crm, News};

impl Crm {
    /// Sends a webhook in the background.
    pub fn tell(self: &Arc<Self>, news: News) {
        *self.untold.lock().unwrap() += 1;
        tokio::spawn(Arc::clone(self).until_taken(news));
    }

    async fn until_taken(self: Arc<Self>, news: News) {
        let rng = &mut Rng::with_seed(self.plan.seed ^ (u64::from(news.number) << 8) ^ self.tenant as u64);
        let body = self.body(news).to_string();
        let latest = self.plan.telling_ms;
        if latest > 0 && !self.look(|kept| kept.is_calm) {
            sleep(Duration::from_millis(rng.u64(0..latest))).await;
        }
        let mut attempt = 0;
        loop {
            let taken = self.send(&body).await;
            // Some send again although they were told that all is well.
            if taken && (rng.u8(0..6) > 0 || self.look(|kept| kept.is_calm)) {
                break;
            }
            sleep(Duration::from_millis(rng.u64(500..20_000) << attempt.min(3))).await;
            attempt += 1;
        }
        *self.untold.lock().unwrap() -= 1;
    }

    fn body(&self, news: News) -> Value {
        let mut record = news.record;
        if !self.plan.names_our_id
            && let Some(custom) = record["custom_fields"].as_object_mut()
        {
            custom.remove("smrt_crm_id");
        }
        json!({
            "event_id": format!("crm-{}", news.number),
            "event_type": news.event_type,
            "timestamp": Timestamp::from_millisecond(news.at).unwrap().to_string(),
            "data": {news.entity: record},
        })
    }

    /// Whether the answer was a 2xx.
    async fn send(&self, body: &str) -> bool {
        let Some(world) = self.world.upgrade() else { return true };
        let signed = (self.sign)(body, self.journal.time());
        let own = signed.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let headers: Vec<_> = std::iter::once(("content-type", "application/json")).chain(own).collect();
        let answer = world.request(Method::POST, &self.path, &headers, body.to_owned()).await;
        let (status, verdict) = (answer.status.as_u16(), answer.text("/status"));
        self.journal.say(&format!("the hub is told {body}: {status} {verdict}"));
        if !matches!(status, 200 | 202 | 401 | 429 | 500 | 502 | 503 | 504) || verdict == "failed" {
            self.journal.violation(format!("a CRM's {body} was answered {status}: {}", answer.body));
        }
        answer.status.is_success()
    }
}
