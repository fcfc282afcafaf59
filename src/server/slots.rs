//! Limits on what one client has in progress at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::client::Client;

/// Slots of each client. It remembers only clients that have something in progress.
pub struct Slots {
    max: usize,
    used: Mutex<HashMap<Client, usize>>,
    freed: Notify,
}

/// A slot, free again when dropped.
pub struct Slot {
    slots: Arc<Slots>,
    client: Client,
}

impl Slots {
    /// So many for each client.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, used: Mutex::default(), freed: Notify::new() })
    }

    fn used(&self) -> MutexGuard<'_, HashMap<Client, usize>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot; `None` when the client has used all of its own.
    pub fn take(self: &Arc<Self>, client: Client) -> Option<Slot> {
        let mut used = self.used();
        let count = used.entry(client).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        drop(used);
        Some(Slot { slots: self.clone(), client })
    }

    /// Waits for a slot.
    pub async fn wait(self: &Arc<Self>, client: Client) -> Slot {
        loop {
            // Created before the attempt, so that no release is missed.
            let freed = self.freed.notified();
            if let Some(slot) = self.take(client) {
                return slot;
            }
            freed.await;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.release();
        self.slots.freed.notify_waiters();
    }
}

impl Slot {
    fn release(&self) {
        let mut used = self.slots.used();
        if let Some(count) = used.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                used.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_over_its_limit_is_refused_and_others_are_not() {
        let slots = Slots::new(2);
        let client = |last: u8| Client::new([192, 0, 2, last].into());
        let taken: Vec<_> = (0..3).map(|_| slots.take(client(1))).collect();
        assert_eq!(taken.iter().flatten().count(), 2);
        let other = slots.take(client(2));
        assert!(other.is_some());
        drop((taken, other));
        assert!(slots.used().is_empty() && slots.take(client(1)).is_some());
    }

    #[tokio::test]
    async fn a_client_waits_for_its_own_slot_only() {
        let slots = Slots::new(1);
        let (alice, bob) = (Client::new([192, 0, 2, 1].into()), Client::new([192, 0, 2, 2].into()));
        let taken = slots.wait(alice).await;
        let mut waiting = std::pin::pin!(slots.wait(alice));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(slots.wait(bob).await);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        drop(taken);
        waiting.await;
    }
}
