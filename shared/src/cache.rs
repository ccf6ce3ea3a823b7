//! A bounded cache with a time to live, for what a copy of a function remembers between calls.

use std::{
    borrow::Borrow,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use lru::LruCache;

/// Keeps the most recently used entries, each until its time is over, within a number of bytes: some tenants' entries are
/// a thousand times larger than others', and none may use up the memory of all.
pub struct Cache<K: Hash + Eq, V>(Mutex<Entries<K, V>>);

struct Entries<K: Hash + Eq, V> {
    lru: LruCache<K, Entry<V>>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Clone)]
struct Entry<V> {
    at: Timestamp,
    bytes: usize,
    value: V,
}

/// How long configuration and secrets that can't be read count as they were last known. Outages of AWS are rarely longer,
/// and webhooks then wait in the queue, where else their senders would be turned away.
const OUTAGE: Duration = Duration::from_hours(1);

/// What an entry takes besides what its owner knows of: key, links, allocations.
const ENTRY_BYTES: usize = 200;

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// Holds at most `bytes_max`, by what [`Cache::put`] is told.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self(Mutex::new(Entries { lru: LruCache::unbounded(), bytes: 0, bytes_max }))
    }

    /// The entry and when it was put there, however old.
    pub fn get<Q>(&self, key: &Q) -> Option<(Timestamp, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.locked().lru.get(key).map(|entry| (entry.at, entry.value.clone()))
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

    /// The entry as it was last known, where what it was made of can't be read: if it is younger than an hour.
    pub fn last_known<Q>(&self, key: &Q, now: Timestamp) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.fresh(key, OUTAGE, now)
    }

    /// Puts an entry of about `bytes` there, in place of an older one. One that alone would fill a quarter of the cache is
    /// not kept.
    pub fn put(&self, key: K, value: V, bytes: usize, now: Timestamp) {
        let mut cache = self.locked();
        cache.remove(&key);
        cache.put(key, Entry { at: now, bytes: bytes.saturating_add(ENTRY_BYTES), value });
    }

    /// The entry, however old; where there is none, a new one of about `bytes` is put there. Who asks at the same time gets the
    /// same one.
    pub fn get_or_put(&self, key: &K, new: impl FnOnce() -> V, bytes: usize, now: Timestamp) -> V
    where
        K: Clone,
    {
        let mut cache = self.locked();
        if let Some(entry) = cache.lru.get(key) {
            return entry.value.clone();
        }
        let value = new();
        cache.put(key.clone(), Entry { at: now, bytes: bytes.saturating_add(ENTRY_BYTES), value: value.clone() });
        value
    }

    /// Forgets an entry.
    pub fn remove<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.locked().remove(key);
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Entries<K, V>> {
        // Nothing between a change of the entries and that of the sum can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq, V> Entries<K, V> {
    /// Puts an entry where there is none.
    fn put(&mut self, key: K, entry: Entry<V>) {
        if entry.bytes > self.bytes_max / 4 {
            return;
        }
        self.bytes += entry.bytes;
        self.lru.put(key, entry);
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.lru.pop_lru() else { return };
            self.bytes -= oldest.bytes;
        }
    }

    fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(old) = self.lru.pop(key) {
            self.bytes -= old.bytes;
        }
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
    fn entries_end_with_their_time() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let cache = Cache::new(10_000);
        cache.put("a".to_owned(), 1, 0, at(100));
        assert_eq!(cache.fresh("a", Duration::from_secs(10), at(109)), Some(1));
        assert_eq!(cache.fresh("a", Duration::from_secs(10), at(110)), None);
        assert_eq!(cache.fresh("a", Duration::from_secs(10), at(99)), None, "the clock was set back");
        assert_eq!(cache.fresh("a", Duration::ZERO, at(100)), None);
        cache.remove("a");
        assert_eq!(cache.get("a"), None);
    }

    #[test]
    fn the_least_recently_used_go_when_the_bytes_are_used_up() {
        let cache = Cache::new(10 * (ENTRY_BYTES + 100));
        let put = |key: usize, bytes| cache.put(key, key, bytes, Timestamp::UNIX_EPOCH);
        let held = || (0..100).filter(|key| cache.0.lock().unwrap().lru.contains(key)).collect::<Vec<_>>();
        (0..10).for_each(|key| put(key, 100));
        cache.get(&0);
        put(10, 100);
        assert_eq!(held(), [0, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        put(10, 300); // replaced, it counts once; one more goes
        assert_eq!(held(), [0, 3, 4, 5, 6, 7, 8, 9, 10]);
        put(11, 1_000_000);
        assert!(!held().contains(&11), "one entry may not push out all others");
    }
}
