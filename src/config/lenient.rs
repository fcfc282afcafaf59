//! Deserializes a value with all of its problems: each part that does not fit is removed, and it is tried again.

use std::collections::{BTreeMap, BTreeSet};

use figment::value::Value;
use serde::de::DeserializeOwned;

use super::problem::{Problems, describe};
use super::strict;

/// Maximum number of type errors that are reported.
const MAX_PROBLEMS: usize = 200;

/// Deserializes `value`; the default where nothing fits. Keys of later problems have to be mapped by [`RemovedItems`].
pub fn deserialize<T: DeserializeOwned + Default>(mut value: Value, problems: &mut Problems) -> (T, RemovedItems) {
    let mut removed = RemovedItems::default();
    for _ in 0..MAX_PROBLEMS {
        match strict::from_value(&value) {
            Ok(value) => return (value, removed),
            Err(error) => {
                let key = error.path.join(".");
                problems.add(removed.original_key(&key), describe(&error.kind));
                if !remove_at(&mut value, &error.path) {
                    break;
                }
                removed.record(&key);
            }
        }
    }
    (T::default(), removed)
}

/// List items that were removed, so that messages can use the original indexes of the others.
#[derive(Default)]
pub struct RemovedItems(BTreeMap<String, BTreeSet<usize>>);

impl RemovedItems {
    /// Records that `key` was removed, if it is a list item.
    fn record(&mut self, key: &str) {
        let original = self.original_key(key);
        if let Some((list, n)) = original.rsplit_once('.')
            && let Ok(n) = n.parse()
        {
            self.0.entry(list.to_owned()).or_default().insert(n);
        }
    }

    /// The key with the original indexes.
    pub fn original_key(&self, key: &str) -> String {
        let mut original = String::new();
        for part in key.split('.') {
            let number = part.parse::<usize>().ok().zip(self.0.get(&original));
            let part = number.map_or(part.to_owned(), |(n, gone)| {
                (0..).filter(|at| !gone.contains(at)).nth(n).unwrap_or(n).to_string()
            });
            if !original.is_empty() {
                original.push('.');
            }
            original.push_str(&part);
        }
        original
    }
}

/// Removes the value at `path`; false when there is none.
fn remove_at(value: &mut Value, path: &[String]) -> bool {
    let Some((key, rest)) = path.split_first() else { return false };
    match value {
        Value::Dict(_, dict) => match dict.get_mut(key) {
            Some(inner) if !rest.is_empty() => remove_at(inner, rest),
            _ => dict.remove(key).is_some(),
        },
        Value::Array(_, items) => {
            let Some(at) = key.parse::<usize>().ok().filter(|at| *at < items.len()) else { return false };
            if rest.is_empty() {
                items.remove(at);
                true
            } else {
                remove_at(&mut items[at], rest)
            }
        }
        _ => false,
    }
}
