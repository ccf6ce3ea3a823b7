//! Whether a call may be made: by whom, with which scopes, and how often.

use http::{HeaderName, HeaderValue};
use lambda_http::{Request, RequestExt, request::RequestContext};

use crate::{
    hub::Hub,
    ids::TenantId,
    keys::Scope,
    limits::keys::{CALLS_PER_MINUTE, Left},
    problem::{Code, Problem},
    tenant::TenantContext,
};

/// Who calls.
pub(super) struct Caller {
    pub(super) context: TenantContext,
    pub(super) key_id: String,
    /// Separated by spaces.
    scopes: String,
}

/// The caller as the authorizer found it. Only this makes an API caller's [`TenantContext`].
pub(super) fn authenticated(request: &Request) -> Option<Caller> {
    let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() else { return None };
    let fields = &context.authorizer.as_ref()?.fields;
    let field = |name: &str| fields.get(name)?.as_str().map(str::to_owned);
    let tenant = TenantId::parse(&field("tenant_id")?).ok()?;
    Some(Caller {
        context: TenantContext::authenticated(tenant),
        key_id: field("key_id").unwrap_or_default(),
        scopes: field("scopes").unwrap_or_default(),
    })
}

pub(super) fn unauthenticated() -> Problem {
    let detail = "send a valid API key as `Authorization: Bearer <key>`";
    Problem::new(Code::InvalidApiKey, detail)
}

impl Caller {
    /// Whether its key is good for this.
    pub(super) fn may(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.split(' ').any(|given| given == scope.as_str()) {
            return Ok(());
        }
        let detail = format!("the key lacks the scope `{}`; use one that has it", scope.as_str());
        Err(Problem::new(Code::MissingScope, detail))
    }
}

/// Counts the call against its key's limit.
pub(super) async fn admit(hub: &Hub, caller: &Caller) -> Result<Limit, Problem> {
    let left = hub.key_limits.count(&hub.store, caller.context.tenant(), &caller.key_id, hub.now()).await;
    let limit = Limit(left);
    if left.is_admitted {
        return Ok(limit);
    }
    let detail = format!("a key may make {CALLS_PER_MINUTE} calls a minute; go on in {} s", left.seconds);
    let problem = Problem::new(Code::RateLimited, detail).retry_after(left.seconds);
    Err(limit.headers().into_iter().fold(problem, |problem, (name, value)| problem.with_header(name, value)))
}

/// What the caller is told of its limit.
pub(super) struct Limit(Left);

impl Limit {
    /// `RateLimit-Policy` and `RateLimit`
    /// (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/>, version 10).
    pub(super) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let policy = format!("\"key\";q={CALLS_PER_MINUTE};w=60");
        let left = format!("\"key\";r={};t={}", self.0.calls, self.0.seconds);
        let header = |(name, text): (&'static str, String)| {
            Some((HeaderName::from_static(name), HeaderValue::from_str(&text).ok()?))
        };
        [("ratelimit-policy", policy), ("ratelimit", left)].into_iter().filter_map(header).collect()
    }
}
