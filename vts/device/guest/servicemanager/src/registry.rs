// SPDX-License-Identifier: Apache-2.0
//! Registered names, and the callbacks that wait for names.

use std::collections::BTreeMap;

/// A registered service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<B> {
    /// The binder object.
    pub binder: B,
    /// Whether isolated processes may look it up.
    pub allow_isolated: bool,
    /// `DUMP_FLAG_PRIORITY_*` and `FLAG_IS_LAZY_SERVICE` bits it was registered with.
    pub flags: i32,
    /// Process that registered it.
    pub pid: i32,
}

/// Services and registration callbacks, by name. `B` is a binder object, `C` a callback.
#[derive(Debug)]
pub struct Registry<B, C> {
    services: BTreeMap<String, Entry<B>>,
    callbacks: BTreeMap<String, Vec<C>>,
}

impl<B, C> Default for Registry<B, C> {
    fn default() -> Self {
        Self { services: BTreeMap::new(), callbacks: BTreeMap::new() }
    }
}

impl<B: Clone + PartialEq, C: Clone> Registry<B, C> {
    /// Registers a name; returns the entry it replaces.
    pub fn insert(&mut self, name: &str, entry: Entry<B>) -> Option<Entry<B>> {
        self.services.insert(name.to_owned(), entry)
    }

    /// The service of a name.
    pub fn get(&self, name: &str) -> Option<&Entry<B>> {
        self.services.get(name)
    }

    /// All services, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry<B>)> {
        self.services.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// Whether a name has this very object.
    pub fn holds(&self, binder: &B) -> bool {
        self.services.values().any(|entry| entry.binder == *binder)
    }

    /// Adds a callback for a name.
    pub fn watch(&mut self, name: &str, callback: C) {
        self.callbacks.entry(name.to_owned()).or_default().push(callback);
    }

    /// Removes the callbacks of a name that `is_it` picks; false if there was none.
    pub fn unwatch(&mut self, name: &str, is_it: impl Fn(&C) -> bool) -> bool {
        let Some(callbacks) = self.callbacks.get_mut(name) else { return false };
        let before = callbacks.len();
        callbacks.retain(|callback| !is_it(callback));
        let removed = callbacks.len() < before;
        if callbacks.is_empty() {
            self.callbacks.remove(name);
        }
        removed
    }

    /// The callbacks of a name.
    pub fn watchers(&self, name: &str) -> Vec<C> {
        self.callbacks.get(name).cloned().unwrap_or_default()
    }

    /// Forgets an object that died, wherever it is held; returns the names it was registered as.
    pub fn forget(
        &mut self,
        is_dead_service: impl Fn(&B) -> bool,
        is_dead_callback: impl Fn(&C) -> bool,
    ) -> Vec<String> {
        let mut names = Vec::new();
        self.services.retain(|name, entry| {
            let dead = is_dead_service(&entry.binder);
            if dead {
                names.push(name.clone());
            }
            !dead
        });
        self.callbacks.retain(|_, callbacks| {
            callbacks.retain(|callback| !is_dead_callback(callback));
            !callbacks.is_empty()
        });
        names
    }
}

/// Whether a name can be registered: 1 to 127 of the characters that service names are made of.
pub fn is_valid_name(name: &str) -> bool {
    const LONGEST: usize = 127;
    let valid = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    (1..=LONGEST).contains(&name.len()) && name.chars().all(valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(binder: u32) -> Entry<u32> {
        Entry { binder, allow_isolated: false, flags: 8, pid: 1 }
    }

    #[test]
    fn services() {
        let mut registry: Registry<u32, u32> = Registry::default();
        assert_eq!(registry.insert("b", entry(1)), None);
        assert_eq!(registry.insert("a", entry(1)), None);
        assert_eq!(registry.insert("b", entry(2)), Some(entry(1)));
        assert_eq!(registry.get("b"), Some(&entry(2)));
        assert!(registry.holds(&1) && registry.holds(&2) && !registry.holds(&3));
        assert_eq!(registry.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(registry.forget(|binder| *binder == 1, |_| false), ["a"]);
        assert_eq!(registry.get("a"), None);
        assert!(registry.get("b").is_some());
    }

    #[test]
    fn callbacks() {
        let mut registry: Registry<u32, u32> = Registry::default();
        registry.watch("a", 1);
        registry.watch("a", 2);
        registry.watch("b", 1);
        assert_eq!(registry.watchers("a"), [1, 2]);
        assert!(registry.unwatch("a", |callback| *callback == 2));
        assert!(!registry.unwatch("a", |callback| *callback == 2));
        assert!(!registry.unwatch("c", |_| true));
        assert!(registry.forget(|_| false, |callback| *callback == 1).is_empty());
        assert!(registry.watchers("a").is_empty() && registry.watchers("b").is_empty());
    }

    #[test]
    fn names() {
        for good in ["a", "vendor.x.IFoo/default", "A-b_9", &"x".repeat(127)] {
            assert!(is_valid_name(good), "{good}");
        }
        for bad in ["", "a b", "a\n", "\u{e9}", &"x".repeat(128)] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }
}
