//! A bounded cache with a time to live, for what a copy of a function remembers between calls.

use std::{
    borrow::Borrow,
    hash::Hash,
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use lru::LruCache;

/// Keeps the most recently used entries, each until its time is over.
pub struct Cache<K, V>(Mutex<LruCache<K, (Timestamp, V)>>);

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// Holds at most `entries`.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        Self(Mutex::new(LruCache::new(NonZeroUsize::new(entries).unwrap_or(NonZeroUsize::MIN))))
    }

    /// The entry and when it was put there, however old.
    pub fn get<Q>(&self, key: &Q) -> Option<(Timestamp, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.locked().get(key).cloned()
    }

    /// The entry, if it is younger than `ttl`.
    pub fn fresh<Q>(&self, key: &Q, ttl: Duration, now: Timestamp) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (at, value) = self.get(key)?;
        (age(at, now) < ttl).then_some(value)
    }

    /// Puts an entry there, in place of an older one.
    pub fn put(&self, key: K, value: V, now: Timestamp) {
        self.locked().put(key, (now, value));
    }

    /// Forgets an entry.
    pub fn remove<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.locked().pop(key);
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, LruCache<K, (Timestamp, V)>> {
        // A panic elsewhere can't leave the cache half changed: every method is one operation on it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long ago `then` was; a clock that was set back counts as for ever, so that nothing is kept too long.
#[must_use]
pub fn age(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end_with_their_time_and_their_number() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let cache = Cache::new(2);
        cache.put("a".to_owned(), 1, at(100));
        assert_eq!(cache.fresh("a", Duration::from_secs(10), at(109)), Some(1));
        assert_eq!(cache.fresh("a", Duration::from_secs(10), at(110)), None);
        assert_eq!(cache.fresh("a", Duration::from_secs(10), at(99)), None, "the clock was set back");
        assert_eq!(cache.fresh("a", Duration::ZERO, at(100)), None);
        cache.put("b".to_owned(), 2, at(100));
        cache.put("c".to_owned(), 3, at(100));
        assert_eq!(cache.get("a"), None);
        cache.remove("b");
        assert_eq!(cache.get("b"), None);
    }
}
