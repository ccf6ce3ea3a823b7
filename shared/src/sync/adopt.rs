//! Two of our records are one over there: the other side told of a record that we had just made there before we knew its id,
//! so that a new one was made of it here. The one that was sent takes in the other, which is deleted.

use super::{
    fields::Changed,
    link::{Link, Place, external_write},
    page::Sending,
    run::Run,
};
use crate::{
    connector::CallError,
    mapping::{Merge, UnknownPhone},
    process::{self, Changed as Outcome, Effect, ROUNDS_MAX, change, record_id, stored, wait},
    record::{DELETED, Record, Stamp},
    store::{Commit, Key, StoreError, Write},
};

/// Lets `external_id`, that leads to our record `other`, lead to the one that was sent, whose link is to be `link`.
///
/// # Errors
/// [`StoreError`] where AWS fails: the record stays marked, and is sent again.
pub(super) async fn adopt(
    run: &Run<'_>,
    (sending, link): (&Sending, Link),
    external_id: &str,
    other: &str,
) -> Result<(), StoreError> {
    let place = &sending.place;
    let kind = place.entity.kind();
    if other != record_id(kind, &place.tenant, &place.system, external_id) {
        return taken(run, sending, (external_id, other)).await;
    }
    let other_place = Place { record_id: other.to_owned(), ..place.clone() };
    for round in 0..ROUNDS_MAX {
        let item = run.hub.store.get(&Key::of(&place.tenant, kind.name(), other)).await?;
        let lead =
            [link.write(place), external_write(place, external_id, Some(other)), Write::Delete(other_place.key())];
        let Some((version, record)) = item.as_ref().and_then(stored) else {
            // It was erased: there is nothing to take in.
            match run.hub.store.commit(lead.into()).await? {
                Commit::Done => return Ok(()),
                Commit::Conflict | Commit::Refused(_) => break,
            }
        };
        take_in(run, place, &link, (other, &record)).await?;
        let now = run.hub.now();
        let mut effect = Effect::bare((&place.tenant, &place.system), (kind, other.to_owned()), "merged", now);
        // Later than all that is said of it, however far the other side's clock is ahead of ours.
        effect.stamp = Stamp::new(Some(now.max(record.last_at())), u16::MAX, now);
        effect.correlation_id = link.correlation_id.as_deref();
        effect.fields = Changed::from([(DELETED.to_owned(), (true.into(), Merge::Last))]);
        run.complete(&mut effect);
        match change(run.hub, &effect, &lead).await? {
            Outcome::Done { before, .. } => {
                // It changed between the two steps: that is taken in too. Nothing changes it any more now.
                if let Some((newer, record)) = before.filter(|(newer, _)| *newer != version) {
                    tracing::debug!(newer, "a record changed while it was taken in");
                    take_in(run, place, &link, (other, &record)).await?;
                }
                return Ok(());
            }
            // The link was changed meanwhile.
            Outcome::Refused(_) => break,
            Outcome::Obstacle(_) => wait(run.hub, round).await,
        }
    }
    // The record is marked, and isn't to be made once more.
    run.doubt(sending).await
}

/// Takes in what the other record holds that isn't known to be there from us.
async fn take_in(
    run: &Run<'_>,
    place: &Place,
    link: &Link,
    (other, record): (&str, &Record),
) -> Result<(), StoreError> {
    let at = record.last_at();
    let is_news = |(name, value): &(&str, serde_json::Value)| {
        !name.starts_with('$') && !link.known.is_echo(name, at.as_millisecond(), &super::known::fingerprint(value))
    };
    let fields: Changed =
        record.fields().filter(is_news).map(|(name, value)| (name.to_owned(), (value, Merge::Last))).collect();
    let own = (place.entity.kind(), place.record_id.clone());
    let mut effect = Effect::bare((&place.tenant, &place.system), own, other, run.hub.now());
    effect.stamp = Stamp::new(Some(at), 0, at);
    effect.correlation_id = link.correlation_id.as_deref();
    effect.fields = fields;
    effect.unknown_phone = UnknownPhone::Create;
    run.complete(&mut effect);
    match change(run.hub, &effect, &[]).await? {
        Outcome::Done { .. } => Ok(()),
        Outcome::Refused(_) | Outcome::Obstacle(_) => Err(process::busy()),
    }
}

/// The id leads to another record that is ours by right: the two are told apart by a person.
async fn taken(run: &Run<'_>, sending: &Sending, (external_id, other): (&str, &str)) -> Result<(), StoreError> {
    let error = CallError::AnotherId { external_id: external_id.to_owned() };
    let (Place { tenant, record_id, .. }, correlation_id) = (&sending.place, &sending.link.correlation_id);
    tracing::warn!(%tenant, record = record_id, correlation_id, other, "two records are one over there");
    Box::pin(run.failed(sending, &error)).await
}

impl Run<'_> {
    /// Who else is to know of a change.
    pub(super) fn complete(&self, effect: &mut Effect<'_>) {
        let tenant = &self.target.tenant;
        effect.publishes = tenant.publishes;
        effect.syncs = tenant.synced(self.scope.entity).filter(|other| **other != self.scope.system).cloned().collect();
    }
}
