//! Limits on our own calls to a tenant's system (contract §4: "Inbound webhooks and outbound calls count apart").

use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::{
    hub::Hub,
    ids::SystemId,
    integration::Limits,
    store::{Key, Reserved, StoreError},
    tenant::TenantContext,
};

/// Calls that are counted at once at most: one call to DynamoDB then serves twenty, and a run that dies wastes no more.
const AT_ONCE: u32 = 20;

/// Why a call may not be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QuotaError {
    /// The limit of the minute or of the day is used up.
    #[error("the limit on calls is used up until {until}")]
    Limited {
        /// When the window ends.
        until: Timestamp,
    },
    /// The calls can't be counted, so none may be made.
    #[error(transparent)]
    Uncounted(#[from] StoreError),
}

/// Counts calls before they are made.
pub trait Counter: Send + Sync {
    /// Counts up to so many calls, as many as the limits allow.
    fn reserve(&self, calls: u32) -> BoxFuture<'_, Result<Reserved, StoreError>>;

    /// The time now.
    fn now(&self) -> Timestamp;
}

/// Counts in the table, exactly, across all copies.
struct Stored<'a> {
    hub: &'a Hub,
    key: Key,
    limits: Limits,
}

impl Counter for Stored<'_> {
    fn reserve(&self, calls: u32) -> BoxFuture<'_, Result<Reserved, StoreError>> {
        Box::pin(self.hub.store.reserve(&self.key, self.limits, calls, self.hub.now()))
    }

    fn now(&self) -> Timestamp {
        self.hub.now()
    }
}

/// The calls that one run may make to one system. Counts are exact across all copies, because calls are counted before
/// they are made; up to twenty at once, of which those that aren't made by the end of their minute are lost.
pub struct Quota<'a> {
    counter: Box<dyn Counter + 'a>,
    /// How many more calls will come, as far as is known.
    expected: AtomicU32,
    /// Calls that are counted and not yet made, and until when they count.
    ready: Mutex<(u32, Timestamp)>,
}

impl<'a> Quota<'a> {
    /// For calls to `system` within `limits`.
    #[must_use]
    pub fn new(hub: &'a Hub, context: &TenantContext, system: &SystemId, limits: Limits) -> Self {
        Self::counted_by(Stored { hub, key: Key::of(context.tenant(), "limit", format!("out#{system}")), limits })
    }

    /// For calls that `counter` counts.
    #[must_use]
    pub fn counted_by(counter: impl Counter + 'a) -> Self {
        let ready = Mutex::new((0, Timestamp::MIN));
        Self { counter: Box::new(counter), expected: AtomicU32::new(0), ready }
    }

    /// Says that `calls` more will come, so that as many are counted at once. Without it, or beyond it, each is counted
    /// by itself.
    pub fn expect(&self, calls: usize) {
        self.expected.store(u32::try_from(calls).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Takes one call, to be made now.
    ///
    /// # Errors
    /// [`QuotaError`]: the call may not be made.
    pub async fn take(&self) -> Result<(), QuotaError> {
        // Held while calls are counted: those who wait take of what comes.
        let mut ready = self.ready.lock().await;
        let (left, until) = *ready;
        if left == 0 || self.counter.now() >= until {
            let wanted = self.expected.load(Ordering::Relaxed).clamp(1, AT_ONCE);
            *ready = match self.counter.reserve(wanted).await? {
                Reserved::Calls { calls, until } => (calls, until),
                Reserved::MinuteFull { until } | Reserved::DayFull { until } => {
                    return Err(QuotaError::Limited { until });
                }
            };
        }
        ready.0 = ready.0.saturating_sub(1);
        let one_less = |expected: u32| Some(expected.saturating_sub(1));
        // It can't fail: the closure always gives a number.
        let _ = self.expected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex as Sync, time::Duration};

    use futures_util::future::join_all;

    use super::*;

    /// A limit of one window, and how many calls were asked for at a time.
    struct Window {
        left: Sync<u32>,
        asked: Sync<Vec<u32>>,
        now: Sync<Timestamp>,
    }

    impl Window {
        fn of(left: u32) -> Self {
            Self { left: Sync::new(left), asked: Sync::default(), now: Sync::new(Timestamp::UNIX_EPOCH) }
        }

        fn asked(&self) -> Vec<u32> {
            std::mem::take(&mut *self.asked.lock().unwrap())
        }
    }

    impl Counter for &Window {
        fn reserve(&self, calls: u32) -> BoxFuture<'_, Result<Reserved, StoreError>> {
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(5)).await;
                self.asked.lock().unwrap().push(calls);
                let until = *self.now.lock().unwrap() + Duration::from_mins(1);
                let mut left = self.left.lock().unwrap();
                let calls = calls.min(*left);
                *left -= calls;
                Ok(if calls == 0 { Reserved::MinuteFull { until } } else { Reserved::Calls { calls, until } })
            })
        }

        fn now(&self) -> Timestamp {
            *self.now.lock().unwrap()
        }
    }

    async fn take(quota: &Quota<'_>, calls: usize) -> usize {
        join_all((0..calls).map(|_| quota.take())).await.iter().filter(|taken| taken.is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_are_counted_at_once_as_will_come() {
        let window = Window::of(1_000);
        let quota = Quota::counted_by(&window);
        assert_eq!((take(&quota, 2).await, window.asked()), (2, vec![1, 1]), "it doesn't know of more");
        quota.expect(45);
        assert_eq!((take(&quota, 45).await, window.asked()), (45, vec![20, 20, 5]));
        assert_eq!((take(&quota, 1).await, window.asked()), (1, vec![1]));
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_made_than_were_counted() {
        let window = Window::of(30);
        let quota = Quota::counted_by(&window);
        quota.expect(50);
        assert_eq!(take(&quota, 50).await, 30);
        let Err(QuotaError::Limited { until }) = quota.take().await else { panic!("it is used up") };
        assert_eq!(until.as_second(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_counted_ends_with_its_minute() {
        let window = Window::of(1_000);
        let quota = Quota::counted_by(&window);
        quota.expect(20);
        assert_eq!((take(&quota, 5).await, window.asked()), (5, vec![20]));
        *window.now.lock().unwrap() += Duration::from_secs(59);
        assert_eq!((take(&quota, 5).await, window.asked()), (5, vec![]));
        *window.now.lock().unwrap() += Duration::from_secs(1);
        assert_eq!((take(&quota, 5).await, window.asked()), (5, vec![10]), "fifteen were lost, ten more will come");
    }
}
