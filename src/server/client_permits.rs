//! Limits on what one client has in progress at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::client::Client;

/// Permits of each client. It remembers only clients that have something in progress.
pub struct ClientPermits {
    max: usize,
    clients: Mutex<HashMap<Client, Arc<Semaphore>>>,
}

/// A permit, free again when dropped.
pub struct ClientPermit {
    // Dropped first: the entry is removed with its last user.
    _permit: OwnedSemaphorePermit,
    _entry: Entry,
}

/// A client that holds a permit, or waits for one.
struct Entry {
    permits: Arc<ClientPermits>,
    client: Client,
}

impl ClientPermits {
    /// So many for each client.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, clients: Mutex::default() })
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<Client, Arc<Semaphore>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, client: Client) -> (Entry, Arc<Semaphore>) {
        let new = || Arc::new(Semaphore::new(self.max));
        let semaphore = self.clients().entry(client).or_insert_with(new).clone();
        (Entry { permits: self.clone(), client }, semaphore)
    }

    /// Takes a permit; `None` when the client has used all of its own.
    pub fn take(self: &Arc<Self>, client: Client) -> Option<ClientPermit> {
        let (entry, semaphore) = self.enter(client);
        let permit = semaphore.try_acquire_owned().ok()?;
        Some(ClientPermit { _permit: permit, _entry: entry })
    }

    /// Waits for a permit; `None` never happens, because permits are not closed.
    pub async fn wait(self: &Arc<Self>, client: Client) -> Option<ClientPermit> {
        let (entry, semaphore) = self.enter(client);
        let permit = semaphore.acquire_owned().await.ok()?;
        Some(ClientPermit { _permit: permit, _entry: entry })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut clients = self.permits.clients();
        // Only the map has it.
        if clients.get(&self.client).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            clients.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_over_its_limit_is_refused_and_others_are_not() {
        let permits = ClientPermits::new(2);
        let client = |last: u8| Client::new([192, 0, 2, last].into());
        let taken: Vec<_> = (0..3).map(|_| permits.take(client(1))).collect();
        assert_eq!(taken.iter().flatten().count(), 2);
        let other = permits.take(client(2));
        assert!(other.is_some());
        drop((taken, other));
        assert!(permits.clients().is_empty() && permits.take(client(1)).is_some());
    }

    #[tokio::test]
    async fn a_client_waits_for_its_own_slot_only() {
        let permits = ClientPermits::new(1);
        let (alice, bob) = (Client::new([192, 0, 2, 1].into()), Client::new([192, 0, 2, 2].into()));
        let taken = permits.wait(alice).await;
        let mut waiting = std::pin::pin!(permits.wait(alice));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(permits.wait(bob).await);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(taken);
        waiting.await;
    }
}
