//! What the operator sends, checked: everything that is wrong is said at once.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    ids::TenantId,
    integration::FieldError,
    keys::{Scope, Terms},
    phone::E164,
    store::Span,
};

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Suspend,
    Resume,
    ReissueKey,
    ListTenants,
    IndexTenants,
    ListFailures,
    Export,
    Delete,
    EraseNumber,
}

/// Fields that every order may have.
const COMMON: [&str; 3] = ["action", "dry_run", "reason"];
const REASON_CHARS_MAX: usize = 500;
const NAME_CHARS_MAX: usize = 100;

impl Action {
    const ALL: [Self; 9] = [
        Self::Suspend,
        Self::Resume,
        Self::ReissueKey,
        Self::ListTenants,
        Self::IndexTenants,
        Self::ListFailures,
        Self::Export,
        Self::Delete,
        Self::EraseNumber,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::ReissueKey => "reissue_key",
            Self::ListTenants => "list_tenants",
            Self::IndexTenants => "index_tenants",
            Self::ListFailures => "list_failures",
            Self::Export => "export",
            Self::Delete => "delete",
            Self::EraseNumber => "erase_number",
        }
    }

    /// The fields of its order, beside those of all.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Suspend | Self::Resume => &["tenant_id"],
            Self::ReissueKey => &["tenant_id", "scopes", "name", "expires_at", "revoke_others"],
            Self::ListTenants => &["limit", "cursor"],
            Self::IndexTenants => &["cursor"],
            Self::ListFailures => &["tenant_id", "since", "until", "limit", "cursor"],
            Self::Export => &["tenant_id", "limit", "cursor"],
            Self::Delete => &["tenant_id", "confirm", "limit", "cursor"],
            Self::EraseNumber => &["tenant_id", "phone_number", "limit", "cursor"],
        }
    }

    /// The least, the most and the default of `limit`.
    fn limits(self) -> (usize, usize) {
        match self {
            Self::ListTenants | Self::ListFailures => (100, 50),
            Self::Export => (1_000, 1_000),
            _ => (1_000_000, 1_000_000),
        }
    }
}

/// A checked order.
#[derive(Debug)]
pub(super) struct Order {
    pub action: Action,
    pub tenant_id: Option<TenantId>,
    pub dry_run: bool,
    pub reason: Option<String>,
    /// The most entries, lines or items of this invocation.
    pub limit: usize,
    pub cursor: Option<String>,
    pub span: Span,
    pub terms: Terms,
    pub revoke_others: bool,
    pub number: Option<E164>,
}

/// Takes fields out of the request.
struct Reader {
    fields: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Reader {
    /// A field that may be left out.
    fn take<T: DeserializeOwned>(&mut self, name: &str, form: &str) -> Option<T> {
        let value = self.fields.remove(name).filter(|value| !value.is_null())?;
        let read = serde_json::from_value(value).ok();
        if read.is_none() {
            self.wrong(name, form);
        }
        read
    }

    fn text(&mut self, name: &str, chars_max: usize) -> Option<String> {
        let form = format!("must be text of at most {chars_max} characters");
        let text: String = self.take(name, &form)?;
        if text.chars().count() > chars_max {
            self.wrong(name, &form);
            return None;
        }
        Some(text)
    }

    fn wrong(&mut self, name: &str, message: &str) {
        self.errors.push(FieldError::new(name, message));
    }
}

impl Order {
    /// Reads a request, at `now`.
    pub(super) fn read(request: Value, now: Timestamp) -> Result<Self, Vec<FieldError>> {
        let Value::Object(fields) = request else {
            return Err(vec![FieldError::new("request", "must be a JSON object with an `action`")]);
        };
        let action = action(&fields)?;
        let known: Vec<&str> = COMMON.iter().chain(action.fields()).copied().collect();
        let what = format!("a field of `{}`", action.name());
        let unknown = fields.keys().filter(|name| !known.contains(&name.as_str()));
        let errors = unknown.map(|name| FieldError::unknown(name, &known, &what)).collect();
        let mut reader = Reader { fields, errors };
        let order = Self::of(action, &mut reader, now);
        if reader.errors.is_empty() { Ok(order) } else { Err(reader.errors) }
    }

    fn of(action: Action, reader: &mut Reader, now: Timestamp) -> Self {
        let has = |name: &str| action.fields().contains(&name);
        let tenant_id = tenant(action, reader);
        let dry_run: bool = reader.take("dry_run", "must be true or false").unwrap_or_default();
        let reason = reader.text("reason", REASON_CHARS_MAX);
        let terms = terms(reader, now);
        let revoke_others: bool = reader.take("revoke_others", "must be true or false").unwrap_or_default();
        let time = "must be a time such as 2026-01-31T00:00:00Z";
        let span = Span { since: reader.take("since", time), until: reader.take("until", time) };
        if span.since.zip(span.until).is_some_and(|(since, until)| since > until) {
            reader.wrong("until", "must not be before `since`");
        }
        let (most, default) = action.limits();
        let form = format!("must be a whole number from 1 to {most}");
        let limit = reader.take("limit", &form).unwrap_or(default);
        if !(1..=most).contains(&limit) {
            reader.wrong("limit", &form);
        }
        let cursor: Option<String> = reader.take("cursor", "must be a `next_cursor` that this action answered");
        let number: Option<E164> =
            reader.take("phone_number", "must be in E.164 form, with its country code, such as +14155550100");
        if has("phone_number") && number.is_none() && !reader.errors.iter().any(|e| e.field == "phone_number") {
            reader.wrong("phone_number", "is required, in E.164 form such as +14155550100");
        }
        let confirm: Option<String> = reader.take("confirm", "must be text: the tenant's id once more");
        if has("confirm")
            && !dry_run
            && (confirm.is_none() || confirm.as_deref() != tenant_id.as_ref().map(TenantId::as_str))
        {
            reader.wrong(
                "confirm",
                "must be the tenant's id once more; what is deleted can't be had back. Or add \"dry_run\": true",
            );
        }
        if action == Action::Delete && !dry_run && cursor.is_some() {
            reader.wrong("cursor", "is for a dry run; to go on deleting, send the same payload again");
        }
        Self { action, tenant_id, dry_run, reason, limit, cursor, span, terms, revoke_others, number }
    }
}

fn action(fields: &Map<String, Value>) -> Result<Action, Vec<FieldError>> {
    let names: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
    let one = |error| Err(vec![error]);
    match fields.get("action") {
        Some(Value::String(name)) => {
            let found = Action::ALL.into_iter().find(|action| action.name() == name);
            let unknown = || FieldError::unknown(name, &names, "an action").message;
            found.ok_or_else(|| vec![FieldError::new("action", unknown())])
        }
        Some(_) => one(FieldError::new("action", format!("must be text: one of {}", names.join(", ")))),
        None => one(FieldError::new("action", format!("is required: one of {}", names.join(", ")))),
    }
}

fn tenant(action: Action, reader: &mut Reader) -> Option<TenantId> {
    let given: Option<String> = reader.take("tenant_id", "must be text");
    let is_needed = action.fields().contains(&"tenant_id") && action != Action::ListFailures;
    match given.as_deref().map(TenantId::parse) {
        Some(Ok(tenant)) => return Some(tenant),
        Some(Err(error)) => reader.wrong("tenant_id", &error.to_string()),
        None if is_needed && !reader.errors.iter().any(|e| e.field == "tenant_id") => {
            reader.wrong("tenant_id", "is required");
        }
        None => {}
    }
    None
}

/// What a new key is to be, as the API has it for a key that a tenant makes.
fn terms(reader: &mut Reader, now: Timestamp) -> Terms {
    let name = reader.text("name", NAME_CHARS_MAX);
    let form = "must name `read`, `write` or both";
    let scopes: Vec<Scope> = reader.take("scopes", form).unwrap_or_else(|| Terms::all().scopes);
    if scopes.is_empty() {
        reader.wrong("scopes", form);
    }
    let form = "must be a time in the future, such as 2027-01-31T00:00:00Z";
    let expires_at: Option<Timestamp> = reader.take("expires_at", form);
    if expires_at.is_some_and(|end| end <= now) {
        reader.wrong("expires_at", form);
    }
    Terms { name, scopes, expires_at }
}
