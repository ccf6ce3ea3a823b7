//! The path of a webhook, up to where it is ours: size, source address, tenant and system, signature, limit, body.
//!
//! Each check has its answer (contract §2). What passes all of them goes to [`crate::process`]; where AWS fails then, to
//! the retry queue.

pub mod body;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use http::{HeaderMap, header::CONTENT_TYPE};
use jiff::Timestamp;
use serde_json::Value;

use self::body::{Event, Events};
use crate::{
    hub::{Edge, Hub},
    ids::{SystemId, TenantId},
    inbound::{InboundEvent, KEPT_HEADERS},
    integration::WhenExceeded,
    limits::{
        Admission, inbound,
        source::{Caller, UNKNOWN},
    },
    operation::{Reason, Waiting},
    problem::{Code, Problem},
    process::{Verdict, give_up, process, queued},
    registry::Target,
    schedule::{self, KEEP_AGAIN},
    signature::{SignatureError, SignedRequest, Verified},
    tenant::TenantContext,
};

/// A webhook as it came in. Nothing in it is to be trusted yet.
pub struct Call<'a> {
    /// From the path, unchecked.
    pub tenant: &'a str,
    /// From the path or the function, unchecked.
    pub system: &'a str,
    /// The HTTP method.
    pub method: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
    /// The raw body.
    pub body: &'a [u8],
    /// The caller's address as the gateway reports it.
    pub source: Option<IpAddr>,
}

/// The answer to a webhook that passed the checks.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// One event.
    One(Verdict),
    /// Several, in their order.
    Batch(Vec<Verdict>),
    /// Slack's challenge, to be sent back.
    Challenge(String),
}

/// Why a webhook is refused. One variant for each answer that a sender can tell apart.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    /// 413
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// 429
    #[error("the source address is over its limit")]
    SourceLimit {
        /// Seconds.
        retry_after: i64,
    },
    /// 404, the same for an unknown and an inactive tenant or system.
    #[error("no such webhook")]
    NotFound,
    /// 401, the same for a signature that is missing, wrong or too old; the reason is for the log only.
    #[error("{0}")]
    Unauthorized(SignatureError),
    /// 429
    #[error("the system is over its limit")]
    Limit {
        /// Seconds.
        retry_after: i64,
    },
    /// 400
    #[error("{0}")]
    Body(body::BodyError),
    /// 503: neither stored nor queued, or configuration can't be read.
    #[error("{0}")]
    Unavailable(String),
}

/// After so many seconds a sender should try again when nothing works.
const UNAVAILABLE_RETRY_AFTER: i64 = 30;

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let text = refused.to_string();
        match refused {
            Refused::TooLarge(_) => Self::new(Code::BodyTooLarge, text),
            Refused::SourceLimit { retry_after } => {
                Self::new(Code::SourceRateLimited, "too many calls from this address; wait").retry_after(retry_after)
            }
            Refused::NotFound => Self::new(Code::NotFound, "there is no such webhook; check the URL"),
            Refused::Unauthorized(_) => Self::new(
                Code::InvalidSignature,
                "the signature is missing, wrong or too old; check the secret, the scheme and the clock",
            ),
            Refused::Limit { retry_after } => {
                Self::new(Code::RateLimited, "this system is over its limit of calls; wait").retry_after(retry_after)
            }
            Refused::Body(_) => Self::new(Code::InvalidBody, text),
            Refused::Unavailable(_) => Self::new(Code::Unavailable, "nothing was stored; send the webhook again")
                .retry_after(UNAVAILABLE_RETRY_AFTER),
        }
    }
}

/// Takes a webhook.
///
/// # Errors
/// [`Refused`]: nothing of it is stored.
pub async fn receive(edge: &Edge, call: &Call<'_>) -> Result<Answer, Refused> {
    let received_at = edge.now();
    if call.body.len() > edge.settings.body_bytes_max {
        return Err(Refused::TooLarge(edge.settings.body_bytes_max));
    }
    let name = TenantId::parse(call.tenant).ok().zip(SystemId::parse(call.system).ok());
    let known = name.as_ref().is_some_and(|(tenant, system)| edge.registry.knows(tenant, system));
    if let Some(caller) = caller(call, known) {
        edge.sources.admit(&caller, received_at).map_err(|retry_after| Refused::SourceLimit { retry_after })?;
    }
    let target = match &name {
        Some((tenant, system)) => {
            let found = edge.registry.find(&edge.store, tenant, system, received_at).await;
            found.map_err(|e| Refused::Unavailable(e.to_string()))?
        }
        None => None,
    };
    let Some(target) = target else { return Err(count_refused(edge, call, false, Refused::NotFound).await) };
    let (context, verified) = match verify(edge, call, &target, received_at).await {
        Ok(verified) => verified,
        Err(refused @ Refused::Unauthorized(_)) => return Err(count_refused(edge, call, true, refused).await),
        Err(refused) => return Err(refused),
    };
    let hub = &edge.acting_for(&context);
    let over = admit(hub, &target, received_at).await?;
    let content_type = call.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let events = body::read(call.body, content_type, target.integration.batch).map_err(Refused::Body)?;
    let take = |event, signed_id| Taken::new(call, &target, event, signed_id, received_at);
    match events {
        Events::One(event) => {
            let taken = take(event, verified.signed_id);
            if let Some(challenge) = target.integration.scheme.challenge(&taken.payload) {
                return Ok(Answer::Challenge(challenge.to_owned()));
            }
            handle(hub, &context, &target, &taken, over).await.map(Answer::One)
        }
        Events::Batch(events) => {
            let mut verdicts = Vec::with_capacity(events.len());
            for event in events {
                // The signed id is the batch's; it doesn't tell one event from another.
                verdicts.push(handle(hub, &context, &target, &take(event, None), over).await?);
            }
            Ok(Answer::Batch(verdicts))
        }
    }
}

/// Who calls what, as far as the limits by source address tell apart.
fn caller(call: &Call<'_>, known: bool) -> Option<Caller> {
    let target = if known { format!("{}/{}", call.tenant, call.system) } else { UNKNOWN.to_owned() };
    Some(Caller { address: call.source?, target })
}

async fn count_refused(edge: &Edge, call: &Call<'_>, known: bool, refused: Refused) -> Refused {
    let Some(caller) = caller(call, known) else { return refused };
    match edge.sources.refused(&edge.store, &caller, edge.now()).await {
        Ok(()) => refused,
        Err(retry_after) => Refused::SourceLimit { retry_after },
    }
}

/// Verifies the signature with the tenant's own secrets. Only this makes a webhook's [`TenantContext`].
async fn verify(
    edge: &Edge,
    call: &Call<'_>,
    target: &Target,
    now: Timestamp,
) -> Result<(TenantContext, Verified), Refused> {
    let integration = &target.integration;
    let url = integration.config.public_url.as_deref().unwrap_or_default();
    let request = SignedRequest { method: call.method, url, headers: call.headers, body: call.body };
    let unavailable = |e: crate::store::StoreError| Refused::Unavailable(e.to_string());
    let document = edge.secrets.get(&target.tenant_id, now).await.map_err(unavailable)?;
    let check = |document: &crate::secrets::Document| {
        let secrets = document.webhook_secrets(&integration.system_id, now);
        integration.scheme.verify(&request, &secrets, now)
    };
    let verified = match check(&document) {
        Err(SignatureError::Mismatch) => match edge.secrets.changed(&target.tenant_id, &document, now).await {
            Some(document) => check(&document),
            None => Err(SignatureError::Mismatch),
        },
        verified => verified,
    };
    let verified = verified.map_err(Refused::Unauthorized)?;
    Ok((TenantContext::authenticated(target.tenant_id.clone()), verified))
}

/// The URL of a system's webhooks.
#[must_use]
pub fn webhook_url(public_url: &str, tenant: &TenantId, system: &SystemId) -> String {
    format!("{public_url}/webhooks/{tenant}/{system}")
}

/// Counts the call. `Some(seconds)` if it is over the limit and is to wait in the queue.
async fn admit(hub: &Hub, target: &Arc<Target>, now: Timestamp) -> Result<Option<i64>, Refused> {
    let integration = &target.integration;
    match inbound(&hub.store, &target.tenant_id, &integration.system_id, integration.limits, now).await {
        Admission::Admitted | Admission::Uncounted => Ok(None),
        Admission::Refused { retry_after_seconds } => match integration.when_exceeded {
            WhenExceeded::Queue => Ok(Some(retry_after_seconds)),
            WhenExceeded::Reject => Err(Refused::Limit { retry_after: retry_after_seconds }),
        },
    }
}

/// Longer headers are cut.
const KEPT_HEADER_CHARS_MAX: usize = 200;

/// An event that is ours, with its payload.
struct Taken {
    event: InboundEvent,
    payload: Value,
}

impl Taken {
    fn new(
        call: &Call<'_>,
        target: &Target,
        Event { body, form, payload }: Event,
        signed_id: Option<String>,
        received_at: Timestamp,
    ) -> Self {
        let mut warnings = Vec::new();
        let named = payload.get("tenant_id").filter(|named| !named.is_null());
        if named.is_some_and(|named| named.as_str() != Some(target.tenant_id.as_str())) {
            warnings.push("tenant_id in the body is not the tenant of the URL; the URL's counts".to_owned());
        }
        let kept = |name: &str| {
            let value = call.headers.get(name)?.to_str().ok()?;
            Some((name.to_owned(), value.chars().take(KEPT_HEADER_CHARS_MAX).collect()))
        };
        let named = target.integration.rule.event_type_header();
        let headers: BTreeMap<String, String> = KEPT_HEADERS.into_iter().chain(named).filter_map(kept).collect();
        let event = InboundEvent {
            tenant_id: target.tenant_id.clone(),
            system_id: target.integration.system_id.clone(),
            received_at,
            body,
            form,
            signed_id,
            headers,
            warnings,
            replay: None,
            correlation_id: None,
        };
        Self { event, payload }
    }
}

/// Applies an event, or queues it where it is `over` its limit or AWS fails.
async fn handle(
    hub: &Hub,
    context: &TenantContext,
    target: &Target,
    taken: &Taken,
    over: Option<i64>,
) -> Result<Verdict, Refused> {
    let InboundEvent { tenant_id: tenant, system_id: system, .. } = &taken.event;
    let correlation_id = || {
        let rule = Some(&*target.integration.rule);
        taken.event.inbound_id(&taken.event.identity(rule, &taken.payload))
    };
    let (reason, delay) = match over {
        Some(seconds) => (Reason::RateLimited, Duration::from_secs(seconds.unsigned_abs())),
        None => match process(hub, context, target, &taken.event, &taken.payload).await {
            Ok(verdict) => return Ok(verdict),
            Err(error) => {
                tracing::warn!(%tenant, %system, correlation_id = correlation_id(), %error, "an event can't be applied now");
                let first = schedule::delay(&target.integration.retry, 0, None, (hub.random)());
                if first.is_none()
                    && let Ok(verdict) = give_up(hub, context, Some(target), (&taken.event, 1), &error).await
                {
                    return Ok(verdict);
                }
                (Reason::Unavailable, first.unwrap_or(KEEP_AGAIN))
            }
        },
    };
    let event = InboundEvent { correlation_id: Some(correlation_id()), ..taken.event.clone() };
    match hub.defer(Waiting { event, attempt: 0, reason, due: hub.now() }, delay).await {
        // While the table is down, a note would only cost time.
        Ok(()) => Ok(queued(hub, target, &taken.event, &taken.payload, over.is_some()).await),
        Err(error) => Err(Refused::Unavailable(error.to_string())),
    }
}
