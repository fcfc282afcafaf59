//! Checks passwords against bcrypt hashes, on threads of their own: a check takes milliseconds to minutes.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::oneshot;

use super::client::Client;
use super::client_permits::{ClientPermit, ClientPermits};
use super::web::{PasswordHash, SLOW_COST, Users};
use crate::files;
use crate::secret::crypto::{mac, random_key};

/// Checks that may wait for one thread.
const MAX_WAITING: usize = 64;

/// Checks of one client that may wait for it.
const MAX_WAITING_OF_CLIENT: usize = 8;

/// Wrong passwords that are remembered.
const MAX_WRONG: usize = 256;

/// Clients that are remembered for each user.
const MAX_CLIENTS: usize = 16;

/// Identifies a user, a hash and a password. Only this process can compute it.
type Digest = Vec<u8>;

/// Checks passwords, and remembers what it has found.
pub struct Logins {
    key: [u8; 32],
    known: Arc<Mutex<Known>>,
    /// For usual costs, and for high ones, so that neither delays the other.
    lanes: [Lane; 2],
}

/// What was found.
#[derive(Default)]
struct Known {
    /// The right password of each user, and the clients that have sent it, the last one at the end.
    right: BTreeMap<String, (Digest, VecDeque<Client>)>,
    wrong: VecDeque<Digest>,
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

/// A password that is to be checked.
struct Check {
    user: String,
    password: String,
    hash: PasswordHash,
    /// Whether there is such a user.
    exists: bool,
    digest: Digest,
    client: Client,
    reply: oneshot::Sender<bool>,
    _permit: ClientPermit,
}

/// Checks of one kind, which wait for one thread.
struct Lane {
    name: &'static str,
    of_clients: Arc<ClientPermits>,
    /// With its thread, which is started for the first check.
    queue: Mutex<Option<Arc<Queue>>>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<Check>>,
    is_filled: Condvar,
}

impl Logins {
    /// Nobody has logged in yet.
    pub fn new() -> Self {
        Self { key: random_key(), known: Arc::default(), lanes: ["logins", "slow logins"].map(Lane::new) }
    }

    fn digest(&self, users: &Users, (user, password): (&str, &str)) -> Digest {
        let (hash, exists) = users.hash_of(user);
        // What unknown users are compared with is made anew with each file; what is remembered of them has to stay as that of others.
        let hash = if exists { hash.text() } else { "" };
        // The lengths keep the parts apart.
        mac(&self.key, format!("{}:{}:{user}{hash}{password}", user.len(), hash.len()).as_bytes())
    }

    /// What is known of a password.
    pub fn recall(&self, users: &Users, client: Client, login: (&str, &str)) -> Memory {
        self.known().recall(login.0, &self.digest(users, login), client)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    /// Checks a password. An unknown user takes as long as a known one. A check that has begun is ended and remembered, also
    /// when its client is gone: it may ask again.
    ///
    /// # Errors
    /// When too many checks are waiting.
    pub async fn check(&self, users: &Users, client: Client, login: (&str, &str)) -> Result<bool, Busy> {
        let (hash, exists) = users.hash_of(login.0);
        let lane = &self.lanes[usize::from(hash.cost() >= SLOW_COST)];
        let (reply, replied) = oneshot::channel();
        let check = Check {
            user: login.0.to_owned(),
            password: login.1.to_owned(),
            hash: hash.clone(),
            exists,
            digest: self.digest(users, login),
            client,
            reply,
            _permit: lane.permit(client).ok_or(Busy)?,
        };
        lane.queue(&self.known).ok_or(Busy)?.push(check)?;
        replied.await.map_err(|_| Busy)
    }

    /// A client has sent this right password.
    pub fn remember_client(&self, users: &Users, client: Client, login: (&str, &str)) {
        let digest = self.digest(users, login);
        self.known().remember_right(login.0, digest, client);
    }
}

impl Known {
    fn recall(&self, user: &str, digest: &Digest, client: Client) -> Memory {
        match self.right.get(user) {
            Some((right, clients)) if right == digest => {
                if clients.contains(&client) {
                    Memory::RightOfClient
                } else {
                    Memory::Right
                }
            }
            _ if self.wrong.contains(digest) => Memory::Wrong,
            _ => Memory::Unknown,
        }
    }

    fn remember_wrong(&mut self, digest: Digest) {
        self.wrong.push_back(digest);
        if self.wrong.len() > MAX_WRONG {
            self.wrong.pop_front();
        }
    }

    fn remember_right(&mut self, user: &str, digest: Digest, client: Client) {
        let (right, clients) = self.right.entry(user.to_owned()).or_default();
        if *right != digest {
            (*right, *clients) = (digest, VecDeque::new());
        }
        clients.retain(|known| *known != client);
        clients.push_back(client);
        if clients.len() > MAX_CLIENTS {
            clients.pop_front();
        }
    }
}

impl Check {
    /// Compares the password, unless another check has done that meanwhile.
    fn run(self, known: &Mutex<Known>) {
        let Self { user, password, hash, exists, digest, client, reply, _permit } = self;
        let memory = lock(known).recall(&user, &digest, client);
        let is_right = match memory {
            Memory::Unknown => hash.matches(&password) && exists,
            memory => memory != Memory::Wrong,
        };
        if is_right {
            lock(known).remember_right(&user, digest, client);
        } else if memory == Memory::Unknown {
            lock(known).remember_wrong(digest);
        }
        // Its client may have gone.
        let _ = reply.send(is_right);
    }
}

impl Lane {
    fn new(name: &'static str) -> Self {
        Self { name, of_clients: ClientPermits::new(MAX_WAITING_OF_CLIENT), queue: Mutex::default() }
    }

    /// A place of a client. Its checks that nobody waits for any more leave when it has no other.
    fn permit(&self, client: Client) -> Option<ClientPermit> {
        let take = || self.of_clients.take(client);
        take().or_else(|| {
            lock(&self.queue).clone()?.forget_the_gone();
            take()
        })
    }

    /// Its queue; `None` when its thread cannot be started.
    fn queue(&self, known: &Arc<Mutex<Known>>) -> Option<Arc<Queue>> {
        let mut queue = lock(&self.queue);
        if queue.is_none() {
            let started = start_thread(self.name, known.clone());
            *queue = started.inspect_err(|error| tracing::error!(%error, "passwords cannot be checked")).ok();
        }
        queue.clone()
    }
}

impl Queue {
    /// Puts a check at the end; those whose clients have gone leave when there is no place.
    fn push(&self, check: Check) -> Result<(), Busy> {
        if lock(&self.waiting).len() >= MAX_WAITING {
            self.forget_the_gone();
        }
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= MAX_WAITING {
            return Err(Busy);
        }
        waiting.push_back(check);
        self.is_filled.notify_one();
        Ok(())
    }

    fn forget_the_gone(&self) {
        lock(&self.waiting).retain(|check| !check.reply.is_closed());
    }

    fn next(&self) -> Check {
        let mut waiting = lock(&self.waiting);
        loop {
            match waiting.pop_front() {
                Some(check) if check.reply.is_closed() => {}
                Some(check) => return check,
                None => waiting = self.is_filled.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

fn start_thread(name: &str, known: Arc<Mutex<Known>>) -> io::Result<Arc<Queue>> {
    let queue = Arc::new(Queue::default());
    let checks = queue.clone();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        files::lower_thread_priority();
        loop {
            checks.next().run(&known);
        }
    })?;
    Ok(queue)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        // The file was read again: whoever does not exist looks as before, and so as those who exist.
        let again = Users::check(
            &[("dave".to_owned(), Text(users.hash_of("dave").0.text().to_owned()))].into(),
            "",
            &mut Problems::default(),
        );
        assert_eq!(recall(&again, client(1), ("eve", "right")), Memory::Wrong);
        assert_eq!(recall(&again, client(1), ("dave", "wrong")), Memory::Wrong);
        // The password was changed.
        let changed = self::users("other");
        assert_eq!(recall(&changed, client(1), ("dave", "right")), Memory::Unknown);
        assert_eq!(recall(&Users::none(), client(1), ("dave", "right")), Memory::Unknown, "the user is gone");
    }

    #[tokio::test]
    async fn memory_and_waiting_are_bounded() {
        let (logins, users) = (Logins::new(), users("right"));
        for n in 0..MAX_WRONG + 10 {
            logins.known().remember_wrong(n.to_le_bytes().to_vec());
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

    #[tokio::test]
    async fn a_check_that_has_begun_is_remembered_and_those_of_clients_that_have_gone_take_no_place() {
        let logins = Logins::new();
        // Some tenths of a second.
        let hash = bcrypt::hash("x", 4).unwrap().replacen("$04$", "$12$", 1);
        let users = Users::check(&[("bob".to_owned(), Text(hash))].into(), "", &mut Problems::default());
        let mut first = Box::pin(logins.check(&users, client(1), ("bob", "first")));
        assert!(futures_util::poll!(&mut first).is_pending());
        // The thread has begun with it when the queue is empty.
        while !lock(&lock(&logins.lanes[0].queue).as_ref().unwrap().waiting).is_empty() {
            tokio::task::yield_now().await;
        }
        drop(first);
        for n in 0..u8::try_from(3 * MAX_WAITING).unwrap() {
            let mut gone = Box::pin(logins.check(&users, client(2 + n / 100), ("bob", "gone")));
            assert!(futures_util::poll!(&mut gone).is_pending(), "{n} of clients that have gone take the places");
        }
        assert!(!logins.check(&users, client(100), ("bob", "last")).await.unwrap());
        assert_eq!(logins.recall(&users, client(1), ("bob", "first")), Memory::Wrong);
        assert_eq!(logins.recall(&users, client(1), ("bob", "gone")), Memory::Unknown, "nobody waits for it");
    }
}
