//! `basic_auth_users`: names with bcrypt hashes of their passwords.

use std::collections::BTreeMap;

use crate::config::{Problems, Text};

/// From this cost on a check takes a second or longer.
pub const SLOW_COST: u32 = 14;

/// Cost of the hash that a password of an unknown user is compared with, where there is no user.
const DEFAULT_COST: u32 = 10;

/// A bcrypt hash. It cannot be printed.
#[derive(Clone)]
pub struct PasswordHash {
    text: Box<str>,
    cost: u32,
}

/// The users.
#[derive(Clone)]
pub struct Users {
    by_name: BTreeMap<String, PasswordHash>,
    /// What a password of an unknown user is compared with: it matches none, and takes as long.
    decoy: PasswordHash,
}

impl PasswordHash {
    fn parse(text: &str) -> Option<Self> {
        let parts: bcrypt::HashParts = text.parse().ok()?;
        // Verifying reads salt and hash more strictly than parsing does.
        let cost = parts.get_cost();
        let is_readable = (4..=31).contains(&cost) && bcrypt::verify("", &with_cost(text, 4)).is_ok();
        is_readable.then(|| Self { text: text.into(), cost })
    }

    /// How costly a check is: the binary logarithm of its rounds.
    pub const fn cost(&self) -> u32 {
        self.cost
    }

    /// Whether it is the hash of this password. It takes milliseconds to minutes.
    pub fn matches(&self, password: &str) -> bool {
        bcrypt::verify(password, &self.text).unwrap_or(false)
    }

    /// The text, to tell hashes apart.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The same hash, said to have another cost: it matches nothing, and a check takes as long as that cost does.
fn with_cost(hash: &str, cost: u32) -> String {
    let mut parts = hash.splitn(4, '$');
    let (version, rest) = (parts.nth(1).unwrap_or("2b"), parts.nth(1).unwrap_or_default());
    format!("${version}${cost:02}${rest}")
}

impl Users {
    /// Nobody.
    pub fn none() -> Self {
        Self { by_name: BTreeMap::new(), decoy: PasswordHash { text: "".into(), cost: DEFAULT_COST } }
    }

    /// Checks the users of a file.
    pub fn check(configured: &BTreeMap<String, Text>, at: &str, problems: &mut Problems) -> Self {
        let mut by_name = BTreeMap::new();
        for (name, Text(hash)) in configured {
            let key = format!("{at}.{name}");
            let Some(hash) = PasswordHash::parse(hash) else {
                problems.add(key, "not a bcrypt hash; create one with `htpasswd -nBC 12 NAME`");
                continue;
            };
            if hash.cost >= SLOW_COST {
                let message =
                    format!("the cost {} makes a login take seconds or longer; 10 to 12 are usual", hash.cost);
                problems.warn(key, message);
            }
            by_name.insert(name.clone(), hash);
        }
        let cost = usual_cost(&by_name);
        if by_name.values().any(|hash| hash.cost != cost) {
            let message = "the hashes have different costs: whoever measures how long an answer takes can tell which of these names exist";
            problems.warn(at, message);
        }
        // Any hash will do: with another cost it matches nothing.
        let other = if cost == 4 { 5 } else { 4 };
        let decoy = bcrypt::hash("", other).map(|hash| with_cost(&hash, cost)).unwrap_or_default();
        Self { by_name, decoy: PasswordHash { text: decoy.into(), cost } }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_name.len()
    }

    /// The first name; `None` if there is none.
    pub fn first_name(&self) -> Option<&str> {
        self.by_name.keys().next().map(String::as_str)
    }

    /// The hash to compare a password of this user with, and whether the user exists.
    pub fn hash_of(&self, name: &str) -> (&PasswordHash, bool) {
        self.by_name.get(name).map_or((&self.decoy, false), |hash| (hash, true))
    }
}

/// The cost that most hashes have; the lowest of them if there are several.
fn usual_cost(users: &BTreeMap<String, PasswordHash>) -> u32 {
    let mut counts = BTreeMap::new();
    for hash in users.values() {
        *counts.entry(hash.cost).or_insert(0) += 1;
    }
    counts.iter().rev().max_by_key(|(_, count)| **count).map_or(DEFAULT_COST, |(cost, _)| *cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(users: &[(&str, &str)]) -> (Users, Problems) {
        let mut problems = Problems::default();
        let users = users.iter().map(|(name, hash)| ((*name).to_owned(), Text((*hash).to_owned()))).collect();
        (Users::check(&users, "basic_auth_users", &mut problems), problems)
    }

    #[test]
    fn only_bcrypt_hashes_are_accepted() {
        let right = bcrypt::hash("dave123", 4).unwrap();
        for version in ["2a", "2b", "2x", "2y"] {
            let (users, problems) = check(&[("dave", &right.replacen("2b", version, 1))]);
            assert!(problems.is_empty() && users.hash_of("dave").0.matches("dave123"), "{version}");
        }
        let short = &right[..right.len() - 1];
        for wrong in ["doe", "", "$2y$10$", short, &right.replacen("$04$", "$99$", 1), &right.replacen("2b", "9z", 1)] {
            let (users, problems) = check(&[("john", wrong)]);
            assert!(problems.has_at_or_below("basic_auth_users.john") && users.is_empty(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_user_is_compared_at_the_usual_cost_and_never_matches() {
        let hash = |cost| bcrypt::hash("x", cost).unwrap();
        let (five, six) = (hash(5), hash(6));
        let (users, problems) = check(&[("a", &six), ("b", &five), ("c", &six)]);
        let (decoy, exists) = users.hash_of("nobody");
        assert!(!exists && decoy.cost() == 6 && !decoy.matches("") && !decoy.matches("x"));
        assert!(problems.warnings().concat().contains("different costs"));
        let (users, problems) = check(&[("a", &six), ("b", &five)]);
        assert_eq!((users.hash_of("nobody").0.cost(), problems.warnings().len()), (5, 1));
        assert!(check(&[("a", &five)]).1.warnings().is_empty());
        let slow = five.replacen("$05$", "$18$", 1);
        assert!(check(&[("a", &slow)]).1.warnings().concat().contains("the cost 18"));
    }
}
