//! A table of bounded size that forgets what was not touched for the longest time.

use std::{
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;

/// At most this many entries: some 10 MB in the worst case.
pub(super) const MOST: usize = 100_000;

/// Shared by all sessions. It takes room as it is filled, and no earlier.
#[derive(Debug)]
pub(super) struct Recent<K: Hash + Eq, V>(Mutex<LruCache<K, V>>);

impl<K: Hash + Eq, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self(Mutex::new(LruCache::unbounded()))
    }
}

impl<K: Hash + Eq, V> Recent<K, V> {
    /// Lets `change` make a new value of what there is, which becomes the latest entry.
    pub(super) fn update<R>(&self, key: K, change: impl FnOnce(Option<V>) -> (V, R)) -> R {
        let mut table = self.lock();
        let (value, result) = change(table.pop(&key));
        table.put(key, value);
        if table.len() > MOST {
            table.pop_lru();
        }
        result
    }

    /// What there is; it counts as not touched.
    pub(super) fn peek(&self, key: &K) -> Option<V>
    where
        V: Copy,
    {
        self.lock().peek(key).copied()
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let table = Recent::default();
        let count = |key| table.update(key, |count| (count.unwrap_or(0) + 1, ()));
        for key in 0..2 * MOST {
            count(key);
            count(0);
        }
        assert_eq!(table.lock().len(), MOST);
        assert_eq!(table.peek(&0), Some(2 * MOST + 1));
        assert_eq!((table.peek(&1), table.peek(&MOST)), (None, None));
        assert_eq!((table.peek(&(MOST + 1)), table.peek(&(2 * MOST - 1))), (Some(1), Some(1)));
    }
}
