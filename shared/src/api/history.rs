//! What happened: phone numbers, their interactions, merchants, and the webhooks that came in.

use serde_json::Value;

use super::{Call, invalid, not_found};
use crate::{
    ids::SystemId,
    integration::{Tenant, success_outcomes},
    phone::E164,
    problem::Problem,
    process::{KeptEvent, Kind, Status, inbound_key, inbound_list, interactions_list, phone_key, record_id, record_of},
    registry::tenant_key,
    store::{Item, Key, Span},
    view,
};

impl Call<'_> {
    pub(super) async fn phone_number(&self, number: &str) -> Result<Value, Problem> {
        let phone = e164(number)?;
        let keys = [&phone_key(self.tenant(), &phone), &tenant_key(self.tenant())];
        let [item, tenant] = self.hub.store.get_all(keys).await?;
        let item = item.ok_or_else(|| not_found("phone number"))?;
        let tenant: Option<Tenant> = tenant.and_then(|t| serde_json::from_str(t.get_text("doc")?).ok());
        Ok(view::phone_number(&phone, &item, &tenant.map_or_else(success_outcomes, |t| t.success_outcomes)))
    }

    pub(super) async fn interactions(&self, number: &str) -> Result<Value, Problem> {
        self.only(&["limit", "cursor"])?;
        let list = interactions_list(self.tenant(), &e164(number)?);
        self.page(&list, Span::default(), &[], |item| view::record_item(Kind::Interaction, item)).await
    }

    /// An interaction, a contact or a company.
    pub(super) async fn record(&self, kind: Kind, id: &str) -> Result<Value, Problem> {
        let item = self.hub.store.get(&Key::of(self.tenant(), kind.name(), id)).await?;
        let view = item
            .filter(|item| record_of(item).is_some_and(|r| !r.is_deleted()))
            .and_then(|item| view::record_item(kind, &item));
        view.ok_or_else(|| not_found(kind.id_name().trim_end_matches("_id")))
    }

    /// By our id, or by the id that the payment processor or Stripe gave.
    pub(super) async fn merchant(&self, id: &str) -> Result<Value, Problem> {
        let key = |id: String| Key::of(self.tenant(), Kind::Merchant.name(), id);
        let of = |system: &str| {
            SystemId::parse(system).map(|s| record_id(Kind::Merchant, self.tenant(), &s, id)).unwrap_or_default()
        };
        let keys = [key(id.to_owned()), key(of("payment_processor")), key(of("stripe"))];
        let [own, processor, stripe] = self.hub.store.get_all([&keys[0], &keys[1], &keys[2]]).await?;
        let item = own.or(processor).or(stripe).ok_or_else(|| not_found("merchant"))?;
        view::record_item(Kind::Merchant, &item).ok_or_else(|| not_found("merchant"))
    }

    pub(super) async fn inbound_events(&self) -> Result<Value, Problem> {
        self.only(&["system_id", "status", "since", "until", "limit", "cursor"])?;
        let (system, status) = (self.query("system_id"), self.query("status"));
        if status.as_deref().is_some_and(|status| Status::parse(status).is_none()) {
            return Err(invalid("status", "must be processed, duplicate, queued, failed or ignored"));
        }
        let filters: Vec<(&str, &str)> = [("sys", &system), ("st", &status)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_deref()?)))
            .collect();
        let view = |item: &Item| KeptEvent::from_item(item).map(|event| view::inbound_event(&event));
        self.page(&inbound_list(self.tenant()), self.span()?, &filters, view).await
    }

    pub(super) async fn inbound_event(&self, id: &str) -> Result<Value, Problem> {
        let item = self.hub.store.get(&inbound_key(self.tenant(), id)).await?;
        let event = item.as_ref().and_then(KeptEvent::from_item).ok_or_else(|| not_found("inbound event"))?;
        Ok(view::inbound_event(&event))
    }
}

/// A number from an address, where `+` may have become a space.
pub(super) fn e164(number: &str) -> Result<E164, Problem> {
    let number = number.trim();
    let number = if number.starts_with('+') { number.to_owned() } else { format!("+{number}") };
    E164::try_from(number).map_err(|_| invalid("phone_number", "must be in E.164 form, such as +14155550100"))
}
