//! Sessions: credentials that open one tenant's items and nobody else's (docs/isolation.md).
//!
//! The role's policy lets a session reach only keys that begin with its tag `tenant` (`dynamodb:LeadingKeys`). So a bug that
//! makes another tenant's key is refused by AWS, where else it would read that tenant's data.

use std::sync::{Arc, LazyLock};

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_sts::types::Tag;
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::{StoreError, classify};
use crate::{
    cache::Cache,
    hub::{Clock, Lazy},
    ids::TenantId,
    tenant::TenantContext,
};

/// How long a session counts: the most that AWS gives a role that takes on another
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining>).
const SESSION_SECONDS: i32 = 3_600;
/// After this time the next call renews it.
const RENEWED_AFTER: SignedDuration = SignedDuration::from_mins(45);
/// For so long it is used where it can't be renewed; a minute is for clocks that differ.
const USED_FOR: SignedDuration = SignedDuration::from_mins(59);
/// Where a session can't be had, others who want the same one aren't each kept waiting for the same answer.
const FAILED_FOR: SignedDuration = SignedDuration::from_secs(1);
/// The tag that the role's policy compares keys with.
const TAG: &str = "tenant";
/// A session's name may be so long, and a tenant's may be one letter, which is too short.
const NAME_PREFIX: &str = "t-";
const NAME_CHARS_MAX: usize = 64;

/// What the remembered sessions may take: about 400 tenants.
const BYTES_MAX: usize = 16_000_000;
/// What one takes: credentials, and a client with its configuration.
const SESSION_BYTES: usize = 40_000;

/// The sessions of this copy.
pub struct Sessions {
    sts: Lazy<aws_sdk_sts::Client>,
    aws: SdkConfig,
    role_arn: String,
    clock: Clock,
    cache: Cache<TenantId, Arc<Session>>,
}

/// One tenant's.
pub(super) struct Session {
    tenant: TenantId,
    /// Held while it is begun: who wants the same one meanwhile waits for it.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Since when, and what calls are made with.
    client: Option<(Timestamp, aws_sdk_dynamodb::Client)>,
    failed: Option<(Timestamp, StoreError)>,
}

impl Sessions {
    /// Sessions of the role; `None` where none is named.
    #[must_use]
    pub fn new(role_arn: &str, aws: &SdkConfig, clock: &Clock) -> Option<Self> {
        if role_arn.is_empty() {
            return None;
        }
        let for_sts = aws.clone();
        Some(Self {
            sts: LazyLock::new(Box::new(move || aws_sdk_sts::Client::new(&for_sts))),
            aws: aws.clone(),
            role_arn: role_arn.to_owned(),
            clock: Arc::clone(clock),
            cache: Cache::new(BYTES_MAX),
        })
    }

    /// The tenant's session, begun by its first call.
    pub(super) fn of(&self, context: &TenantContext) -> Arc<Session> {
        let tenant = context.tenant();
        let new = || Arc::new(Session { tenant: tenant.clone(), state: Mutex::default() });
        self.cache.get_or_put(tenant, new, SESSION_BYTES, (self.clock)())
    }

    /// What a session's calls are made with.
    ///
    /// # Errors
    /// [`StoreError`] where STS gives no session: as where DynamoDB fails, a webhook then waits in the queue.
    pub(super) async fn client(&self, session: &Session) -> Result<aws_sdk_dynamodb::Client, StoreError> {
        let mut state = session.state.lock().await;
        let now = (self.clock)();
        // A clock that was set back ends it too.
        let is_within = |since: Timestamp, most| (SignedDuration::ZERO..most).contains(&now.duration_since(since));
        if let Some((since, client)) = &state.client
            && is_within(*since, RENEWED_AFTER)
        {
            return Ok(client.clone());
        }
        if let Some((at, error)) = &state.failed
            && is_within(*at, FAILED_FOR)
        {
            return Err(error.clone());
        }
        // In a box, so that the types of all futures around it stay within the compiler's depth.
        match self.begin(&session.tenant).boxed().await {
            Ok(client) => {
                *state = State { client: Some((now, client.clone())), failed: None };
                Ok(client)
            }
            Err(error) => match &state.client {
                Some((since, client)) if is_within(*since, USED_FOR) => {
                    tracing::warn!(tenant = %session.tenant, %error, "a session can't be renewed now and is used on");
                    Ok(client.clone())
                }
                _ => {
                    state.failed = Some(((self.clock)(), error.clone()));
                    Err(error)
                }
            },
        }
    }

    async fn begin(&self, tenant: &TenantId) -> Result<aws_sdk_dynamodb::Client, StoreError> {
        let tag = Tag::builder().key(TAG).value(tenant.as_str()).build();
        let tag = tag.map_err(|e| StoreError::unbuildable(OPERATION, &e))?;
        let name: String = NAME_PREFIX.chars().chain(tenant.as_str().chars()).take(NAME_CHARS_MAX).collect();
        let request = self.sts.assume_role().role_arn(&self.role_arn).role_session_name(name);
        let answer = request.duration_seconds(SESSION_SECONDS).tags(tag).send().await;
        let given = answer.map_err(|e| classify(OPERATION, e))?.credentials;
        let given = given.ok_or_else(|| StoreError::Unavailable {
            operation: OPERATION,
            reason: "the answer has no credentials".into(),
        })?;
        let credentials =
            Credentials::new(given.access_key_id, given.secret_access_key, Some(given.session_token), None, "session");
        let config = aws_sdk_dynamodb::config::Builder::from(&self.aws).credentials_provider(credentials);
        Ok(aws_sdk_dynamodb::Client::from_conf(config.build()))
    }
}

const OPERATION: &str = "AssumeRole";
