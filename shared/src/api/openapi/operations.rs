//! What each operation takes and answers.

use http::StatusCode;
use serde_json::{Value, json};

use super::schemas::{self, closed, partial, read, secret, with, written};
use crate::{
    api::{deliveries, failures, integrations, keys, route::Op, secrets, subscriptions, syncs},
    deliver::record::{Delivery, DeliveryStatus},
    event,
    integration::IntegrationConfig,
    keys::ApiKey,
    mapping::{Preview, Rule},
    problem::Code,
    process::Status,
    subscription::{self, Shown},
    sync::state::SyncState,
    view,
};

/// A schema with its name in the document.
pub(super) type Named = (&'static str, fn() -> Value);

/// What a success is answered.
pub(super) enum Answers {
    /// Nothing but the status.
    Nothing,
    /// One thing.
    One(StatusCode, Named),
    /// A page of a list.
    Page(Named),
    /// All there is, without pages.
    All(Named),
    /// What was put: made or replaced.
    Put { made: Named, replaced: Named },
}

/// A query parameter.
pub(super) struct Query {
    pub(super) name: &'static str,
    pub(super) schema: Value,
    pub(super) description: &'static str,
}

/// One operation's description.
pub(super) struct Operation {
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) query: Vec<Query>,
    pub(super) takes: Option<Named>,
    /// Whether the body may be left out.
    pub(super) takes_nothing_too: bool,
    pub(super) answers: Answers,
    /// Whether it has an entity tag, by which reading and changing it can depend.
    pub(super) is_tagged: bool,
    /// Besides those that every operation has.
    pub(super) codes: &'static [Code],
}

fn operation(tag: &'static str, summary: &'static str, answers: Answers) -> Operation {
    Operation {
        tag,
        summary,
        query: Vec::new(),
        takes: None,
        takes_nothing_too: false,
        answers,
        is_tagged: false,
        codes: &[],
    }
}

fn list(tag: &'static str, summary: &'static str, of: Named) -> Operation {
    operation(tag, summary, Answers::Page(of))
        .query(
            "limit",
            json!({"type": "integer", "minimum": 1, "maximum": 100, "default": 50}),
            "Most entries on the page.",
        )
        .query("cursor", json!({"type": "string", "format": "cursor"}), "`next_cursor` of the page before.")
}

fn one(tag: &'static str, summary: &'static str, of: Named) -> Operation {
    operation(tag, summary, Answers::One(StatusCode::OK, of))
}

fn queued(tag: &'static str, summary: &'static str, of: Named) -> Operation {
    operation(tag, summary, Answers::One(StatusCode::ACCEPTED, of))
}

impl Operation {
    fn query(mut self, name: &'static str, schema: Value, description: &'static str) -> Self {
        self.query.push(Query { name, schema, description });
        self
    }

    fn span(self) -> Self {
        let time = || json!({"type": "string", "format": "date-time"});
        self.query("since", time(), "From this moment on.").query("until", time(), "Before this moment.")
    }

    fn of_system(self) -> Self {
        self.query("system_id", json!({"type": "string"}), "Only those of this system.")
    }

    fn takes(self, body: Named) -> Self {
        Self { takes: Some(body), ..self }
    }

    /// A body, all of whose fields may be left out.
    fn may_take(self, body: Named) -> Self {
        Self { takes: Some(body), takes_nothing_too: true, ..self }
    }

    fn tagged(self) -> Self {
        Self { is_tagged: true, ..self }
    }

    fn codes(self, codes: &'static [Code]) -> Self {
        Self { codes, ..self }
    }
}

const INTEGRATIONS: &str = "Integrations";
const EVENTS: &str = "Inbound events";
const HISTORY: &str = "Phone numbers";
const CONTACTS: &str = "Contacts";
const COMPANIES: &str = "Companies";
const SUBSCRIPTIONS: &str = "Subscriptions";
const DELIVERIES: &str = "Deliveries";
const FAILURES: &str = "Failures";
const SYNCS: &str = "Syncs";
const KEYS: &str = "API keys";

const INTEGRATION: Named = ("Integration", integration);
const INTERACTION: Named = ("Interaction", written::<schemas::Interaction>);
const CONTACT: Named = ("Contact", written::<schemas::Contact>);
const COMPANY: Named = ("Company", written::<schemas::Company>);
const SUBSCRIPTION: Named = ("Subscription", written::<Shown<'_>>);
const DELIVERY: Named = ("Delivery", written::<Delivery<'_>>);
const FAILURE: Named = ("Failure", written::<view::Failure<'_>>);
const INBOUND_EVENT: Named = ("InboundEvent", written::<view::InboundEvent<'_>>);
const RETRYING: Named = ("Retrying", written::<failures::Retrying<'_>>);
const ROTATION: Named = ("Rotation", read::<secrets::Rotation>);
const API_KEY: Named = ("ApiKey", written::<ApiKey<'_>>);

pub(super) fn of(op: Op) -> Operation {
    match op {
        Op::ListIntegrations => list(INTEGRATIONS, "List the tenant's systems", INTEGRATION),
        Op::PutIntegration => operation(
            INTEGRATIONS,
            "Register a system, or replace what is registered",
            Answers::Put {
                made: ("IntegrationWithSecret", integration_with_secret),
                replaced: ("IntegrationWithSecret", integration_with_secret),
            },
        )
        .takes(("IntegrationFields", integration_fields))
        .tagged()
        .codes(&[Code::TooManyIntegrations]),
        Op::GetIntegration => one(INTEGRATIONS, "Read a system's configuration", INTEGRATION).tagged(),
        Op::DeleteIntegration => operation(INTEGRATIONS, "Remove a system", Answers::Nothing).tagged(),
        Op::ValidateIntegration => {
            one(INTEGRATIONS, "Try the connection to a system", ("Validation", written::<syncs::Validation>))
        }
        Op::RotateIntegrationSecret => {
            one(INTEGRATIONS, "Give a system a new webhook secret", ("Rotated", rotated)).may_take(ROTATION)
        }
        Op::PreviewMapping => {
            one(INTEGRATIONS, "See what a mapping makes of a payload", ("Preview", written::<Preview>))
                .takes(("PreviewRequest", read::<schemas::PreviewRequest>))
        }
        Op::ListInboundEvents => list(EVENTS, "List webhooks that came in, the newest first", INBOUND_EVENT)
            .of_system()
            .query("status", read::<Status>(), "Only those of this status.")
            .span(),
        Op::GetInboundEvent => one(EVENTS, "Read a webhook that came in", INBOUND_EVENT),
        Op::ReplayInboundEvent => queued(EVENTS, "Send a webhook through again", RETRYING),
        Op::GetPhoneNumber => one(
            HISTORY,
            "Read a number's statistics and payment history",
            ("PhoneNumber", written::<view::PhoneNumber>),
        ),
        Op::ListInteractions => list(HISTORY, "List a number's interactions, the newest first", INTERACTION),
        Op::GetInteraction => one(HISTORY, "Read an interaction", INTERACTION),
        Op::ListContacts => list(CONTACTS, "List contacts, or find them", CONTACT)
            .query("email", json!({"type": "string", "format": "email"}), "Only those with this address.")
            .query("phone_number", read::<crate::phone::E164>(), "Only those with this number."),
        Op::PutContact => put(CONTACTS, "Make a contact, or replace it", CONTACT)
            .takes(("ContactFields", read::<schemas::ContactFields>)),
        Op::GetContact => one(CONTACTS, "Read a contact", CONTACT).tagged(),
        Op::DeleteContact => operation(CONTACTS, "Delete a contact", Answers::Nothing).tagged(),
        Op::ListCompanies => list(COMPANIES, "List companies, or find them", COMPANY)
            .query("domain", json!({"type": "string", "minLength": 1}), "Only those with this domain.")
            .query("phone_number", read::<crate::phone::E164>(), "Only those with this number."),
        Op::PutCompany => put(COMPANIES, "Make a company, or replace it", COMPANY)
            .takes(("CompanyFields", read::<schemas::CompanyFields>)),
        Op::GetCompany => one(COMPANIES, "Read a company", COMPANY).tagged(),
        Op::DeleteCompany => operation(COMPANIES, "Delete a company", Answers::Nothing).tagged(),
        Op::GetMerchant => one("Merchants", "Read a merchant", ("Merchant", written::<schemas::Merchant>)),
        _ => outgoing(op),
    }
}

fn put(tag: &'static str, summary: &'static str, of: Named) -> Operation {
    operation(tag, summary, Answers::Put { made: of, replaced: of }).tagged()
}

/// What is told to others: subscriptions, deliveries, failures, syncs; and the keys.
fn outgoing(op: Op) -> Operation {
    match op {
        Op::ListSubscriptions => list(SUBSCRIPTIONS, "List subscriptions", SUBSCRIPTION),
        Op::CreateSubscription => operation(
            SUBSCRIPTIONS,
            "Subscribe an endpoint to events",
            Answers::One(StatusCode::CREATED, ("CreatedSubscription", created_subscription)),
        )
        .takes(("SubscriptionFields", subscription_fields))
        .codes(&[Code::TooManySubscriptions]),
        Op::GetSubscription => one(SUBSCRIPTIONS, "Read a subscription", SUBSCRIPTION).tagged(),
        Op::ChangeSubscription => one(SUBSCRIPTIONS, "Change a subscription", SUBSCRIPTION)
            .takes(("SubscriptionChanges", subscription_changes))
            .tagged(),
        Op::DeleteSubscription => operation(SUBSCRIPTIONS, "Remove a subscription", Answers::Nothing).tagged(),
        Op::TestSubscription => {
            one(SUBSCRIPTIONS, "Send a `webhook.test` now", ("Tested", written::<subscriptions::Tested>))
        }
        Op::RotateSubscriptionSecret => {
            one(SUBSCRIPTIONS, "Give a subscription a new secret", ("SubscriptionWithSecret", subscription_with_secret))
                .may_take(("SubscriptionRotation", subscription_rotation))
        }
        Op::ReplaySubscription => queued(
            SUBSCRIPTIONS,
            "Send events from a moment on again",
            ("Replaying", written::<subscriptions::Replaying<'_>>),
        )
        .takes(("Replay", read::<subscriptions::Replay>))
        .codes(&[Code::SubscriptionDisabled]),
        Op::ListDeliveries => list(DELIVERIES, "List a subscription's deliveries, the newest events first", DELIVERY)
            .query("status", read::<DeliveryStatus>(), "Only those of this status.")
            .span(),
        Op::GetDelivery => one(DELIVERIES, "Read a delivery with its attempts", DELIVERY),
        Op::RetryDelivery => queued(
            DELIVERIES,
            "Try a delivery again now",
            ("RetryingDelivery", written::<deliveries::RetryingDelivery<'_>>),
        ),
        Op::ListEventTypes => operation(
            DELIVERIES,
            "List the types of event, with their schemas",
            Answers::All(("EventType", written::<schemas::EventTypeShown>)),
        ),
        Op::GetEvent => one(DELIVERIES, "Read an event", ("Event", written::<event::Shown<'_>>)),
        Op::ListFailures => list(FAILURES, "List what couldn't be done, the newest first", FAILURE).of_system().span(),
        Op::RetryFailures => queued(
            FAILURES,
            "Send many failures through again; all of them without a field",
            ("RetryingMany", written::<failures::RetryingMany>),
        )
        .may_take(("Selection", read::<failures::Selection>)),
        Op::GetFailure => one(FAILURES, "Read a failure", FAILURE),
        Op::RetryFailure => queued(FAILURES, "Send a failure through again", RETRYING),
        Op::StartSync => {
            queued(SYNCS, "Send what changed now, send everything, or import", ("Asked", written::<syncs::Asked<'_>>))
                .may_take(("SyncRequest", read::<syncs::Wanted>))
        }
        Op::GetSyncStates => {
            operation(SYNCS, "Read how a system's syncs are", Answers::All(("SyncState", written::<SyncState<'_>>)))
        }
        Op::ListApiKeys => list(KEYS, "List API keys", API_KEY),
        Op::CreateApiKey => {
            operation(KEYS, "Make an API key", Answers::One(StatusCode::CREATED, ("CreatedApiKey", created_api_key)))
                .may_take(("ApiKeyRequest", read::<keys::Wanted>))
                .codes(&[Code::TooManyApiKeys])
        }
        _ => operation(KEYS, "Revoke an API key; it ends within a minute", Answers::Nothing),
    }
}

// A repeat of a call with an `Idempotency-Key` gets an answer without secrets: they aren't kept.
const SHOWN_ONCE: &str = "Shown this once.";

fn integration() -> Value {
    let text = || json!({"type": "string"});
    let time = || json!({"type": "string", "format": "date-time"});
    let config = with(written::<IntegrationConfig>(), "system_id", read::<crate::ids::SystemId>(), true);
    let config = with(config, "webhook_url", text(), true);
    // As the tenant wrote it.
    let config = with(config, "mapping", read::<Option<Rule>>(), false);
    with(with(config, "created_at", time(), true), "updated_at", time(), true)
}

fn integration_with_secret() -> Value {
    let description = "Shown this once, where it is new: what the system's webhooks are to be signed with.";
    with(integration(), "webhook_secret", secret(description), false)
}

fn integration_fields() -> Value {
    let description = "What its webhooks are signed with; made where there is none. Another one counts at once.";
    let own = json!({
        "type": ["string", "null"], "writeOnly": true, "minLength": 1, "maxLength": 4096, "description": description,
    });
    with(read::<IntegrationConfig>(), "webhook_secret", own, false)
}

fn rotated() -> Value {
    without_required(written::<integrations::Rotated>(), "secret")
}

fn without_required(mut schema: Value, name: &str) -> Value {
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|own| own != name);
    }
    schema
}

fn subscription_fields() -> Value {
    with(with_activity(read::<subscription::Config>()), "secret", own_secret(), false)
}

fn subscription_rotation() -> Value {
    with(read::<secrets::Rotation>(), "secret", own_secret(), false)
}

fn own_secret() -> Value {
    json!({
        "type": ["string", "null"], "writeOnly": true, "format": "subscription-secret",
        "description": "`whsec_` and 24 to 64 bytes in base64; made where there is none.",
    })
}

fn subscription_changes() -> Value {
    partial(with_activity(read::<subscription::Config>()))
}

fn with_activity(schema: Value) -> Value {
    let description = "Whether it gets deliveries. Enabling it again sends what it missed.";
    closed(with(schema, "is_active", json!({"type": ["boolean", "null"], "description": description}), false))
}

fn subscription_with_secret() -> Value {
    with(written::<Shown<'_>>(), "secret", secret(SHOWN_ONCE), false)
}

fn created_subscription() -> Value {
    let warnings = json!({"type": "array", "items": {"type": "string"}, "description": "Why a first test failed."});
    with(subscription_with_secret(), "warnings", warnings, false)
}

fn created_api_key() -> Value {
    with(written::<ApiKey<'_>>(), "key", secret(SHOWN_ONCE), false)
}
