//! Checks passwords against bcrypt hashes, on threads of their own: a check takes milliseconds to minutes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::{io, thread};

use tokio::sync::oneshot;

use super::client::Client;
use super::client_permits::ClientPermits;
use super::web::{PasswordHash, Users};
use crate::files;
use crate::secret::crypto::{mac, random_key};

/// Checks that may wait for one thread.
const MAX_WAITING: usize = 64;

/// Checks of one client that may wait.
const MAX_WAITING_OF_CLIENT: usize = 8;

/// From this cost on, a check has a thread where it delays only others like it.
const SLOW_COST: u32 = 13;

/// Wrong passwords that are remembered.
const MAX_WRONG: usize = 256;

/// Clients that are remembered for each user.
const MAX_CLIENTS: usize = 16;

/// Identifies a user, a hash and a password. Only this process can compute it.
type Digest = Vec<u8>;

/// Checks passwords, and remembers what it has found.
pub struct Logins {
    key: [u8; 32],
    known: Mutex<Known>,
    /// For usual costs, and for high ones, so that neither delays the other.
    lanes: [Lane; 2],
}

/// Checks of one kind.
struct Lane {
    name: &'static str,
    waiting: Arc<ClientPermits>,
    thread: OnceLock<mpsc::SyncSender<Check>>,
}

/// What was found.
#[derive(Default)]
struct Known {
    /// The right password of each user, and the clients that have sent it.
    right: BTreeMap<String, (Digest, BTreeSet<Client>)>,
    wrong: VecDeque<Digest>,
}

struct Check {
    password: String,
    hash: PasswordHash,
    reply: oneshot::Sender<bool>,
}

/// What is known of a password without a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// It is right, and this client has sent it before.
    RightOfClient,
    /// It is right.
    Right,
    /// It is wrong.
    Wrong,
    /// It has to be checked.
    Unknown,
}

/// Why a password was not checked.
#[derive(Debug)]
pub struct Busy;

impl Logins {
    /// Nobody has logged in yet.
    pub fn new() -> Self {
        Self { key: random_key(), known: Mutex::default(), lanes: ["logins", "slow logins"].map(Lane::new) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn digest(&self, (user, password): (&str, &str), hash: &PasswordHash) -> Digest {
        // Neither a name nor a hash can have a line break: both are values of a YAML mapping that were checked.
        mac(&self.key, format!("{}:{user}{}\n{password}", user.len(), hash.text()).as_bytes())
    }

    /// What is known of a password.
    pub fn recall(&self, users: &Users, client: Client, login: (&str, &str)) -> Memory {
        let (hash, exists) = users.hash_of(login.0);
        let (digest, known) = (self.digest(login, hash), self.known());
        match known.right.get(login.0) {
            Some((right, clients)) if exists && *right == digest => {
                if clients.contains(&client) {
                    Memory::RightOfClient
                } else {
                    Memory::Right
                }
            }
            _ if known.wrong.contains(&digest) => Memory::Wrong,
            _ => Memory::Unknown,
        }
    }

    /// Checks a password. An unknown user takes as long as a known one.
    ///
    /// # Errors
    /// When too many checks are waiting.
    pub async fn check(&self, users: &Users, client: Client, login: (&str, &str)) -> Result<bool, Busy> {
        let (hash, exists) = users.hash_of(login.0);
        let lane = &self.lanes[usize::from(hash.cost() >= SLOW_COST)];
        let _waiting = lane.waiting.take(client).ok_or(Busy)?;
        let (reply, replied) = oneshot::channel();
        let check = Check { password: login.1.to_owned(), hash: hash.clone(), reply };
        lane.thread().ok_or(Busy)?.try_send(check).map_err(|_| Busy)?;
        let is_right = replied.await.map_err(|_| Busy)? && exists;
        self.remember(client, login, self.digest(login, hash), is_right);
        Ok(is_right)
    }

    /// A client has sent this right password.
    pub fn remember_client(&self, users: &Users, client: Client, login: (&str, &str)) {
        self.remember(client, login, self.digest(login, users.hash_of(login.0).0), true);
    }

    fn remember(&self, client: Client, (user, _): (&str, &str), digest: Digest, is_right: bool) {
        let mut known = self.known();
        if !is_right {
            known.wrong.push_back(digest);
            if known.wrong.len() > MAX_WRONG {
                known.wrong.pop_front();
            }
            return;
        }
        let (right, clients) = known.right.entry(user.to_owned()).or_default();
        if *right != digest {
            (*right, *clients) = (digest, BTreeSet::new());
        }
        if clients.len() >= MAX_CLIENTS {
            clients.pop_first();
        }
        clients.insert(client);
    }
}

impl Lane {
    fn new(name: &'static str) -> Self {
        Self { name, waiting: ClientPermits::new(MAX_WAITING_OF_CLIENT), thread: OnceLock::new() }
    }

    /// Its thread; `None` when it cannot be started.
    fn thread(&self) -> Option<&mpsc::SyncSender<Check>> {
        if self.thread.get().is_none() {
            let started = start_thread(self.name);
            let sender = started.inspect_err(|error| tracing::error!(%error, "passwords cannot be checked")).ok()?;
            // Another request may have started one at the same time: the first stays, and this one ends.
            let _ = self.thread.set(sender);
        }
        self.thread.get()
    }
}

fn start_thread(name: &str) -> io::Result<mpsc::SyncSender<Check>> {
    let (sender, checks) = mpsc::sync_channel::<Check>(MAX_WAITING);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        files::lower_thread_priority();
        for check in checks {
            // Its client may have gone.
            if !check.reply.is_closed() {
                let _ = check.reply.send(check.hash.matches(&check.password));
            }
        }
    })?;
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Problems, Text};

    fn users(password: &str) -> Users {
        let hash = Text(bcrypt::hash(password, 4).unwrap());
        Users::check(&[("dave".to_owned(), hash)].into(), "", &mut Problems::default())
    }

    fn client(last: u8) -> Client {
        Client::new([192, 0, 2, last].into())
    }

    #[tokio::test]
    async fn what_was_checked_is_remembered_for_its_hash() {
        let (logins, users) = (Logins::new(), users("right"));
        for (login, expected) in [(("dave", "right"), true), (("dave", "wrong"), false), (("eve", "right"), false)] {
            assert_eq!(logins.recall(&users, client(1), login), Memory::Unknown, "{login:?}");
            assert_eq!(logins.check(&users, client(1), login).await.unwrap(), expected, "{login:?}");
        }
        let recall = |users: &Users, client, login| logins.recall(users, client, login);
        assert_eq!(recall(&users, client(1), ("dave", "right")), Memory::RightOfClient);
        assert_eq!(recall(&users, client(2), ("dave", "right")), Memory::Right);
        assert_eq!(recall(&users, client(1), ("dave", "wrong")), Memory::Wrong);
        assert_eq!(recall(&users, client(1), ("eve", "right")), Memory::Wrong);
        // The password was changed.
        let changed = self::users("other");
        assert_eq!(recall(&changed, client(1), ("dave", "right")), Memory::Unknown);
        assert_eq!(recall(&Users::none(), client(1), ("dave", "right")), Memory::Unknown, "the user is gone");
    }

    #[tokio::test]
    async fn memory_and_waiting_are_bounded() {
        let (logins, users) = (Logins::new(), users("right"));
        for n in 0..MAX_WRONG + 10 {
            logins.remember(client(1), ("dave", ""), vec![n.to_le_bytes()[0], n.to_le_bytes()[1]], false);
        }
        for n in 0..40 {
            logins.remember_client(&users, client(n), ("dave", "right"));
        }
        let sizes = {
            let known = logins.known();
            (known.wrong.len(), known.right["dave"].1.len())
        };
        assert_eq!(sizes, (MAX_WRONG, MAX_CLIENTS));
        let slow = Users::check(
            &[("bob".to_owned(), Text(bcrypt::hash("x", 4).unwrap().replacen("$04$", "$15$", 1)))].into(),
            "",
            &mut Problems::default(),
        );
        let mut checks: Vec<_> =
            (0..MAX_WAITING_OF_CLIENT).map(|_| Box::pin(logins.check(&slow, client(1), ("bob", "x")))).collect();
        for check in &mut checks {
            assert!(futures_util::poll!(check).is_pending());
        }
        assert!(logins.check(&slow, client(1), ("bob", "x")).await.is_err(), "the client has too many");
        assert!(logins.check(&users, client(1), ("dave", "right")).await.unwrap(), "slow ones delay no others");
    }
}
