//! Tells systemd how the service is: `sd_notify(3)`. Elsewhere than under systemd it does nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::liveness::Liveness;

/// How often the status is told, if there is no watchdog.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// A watchdog is told several times within its time.
const TIMES_PER_WATCHDOG: u32 = 3;

/// Sends states. Without `$NOTIFY_SOCKET` nobody listens.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be notified");
    }
}

/// The service is started, or has reloaded.
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The service reloads; [`ready`] ends it.
pub fn reloading() {
    // `Type=notify-reload` wants the time, too.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// The service stops.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Sends status and life signs for ever. While a part of the program does not move, the watchdog (`WatchdogSec=`) hears nothing,
/// and systemd restarts the service.
pub async fn report(liveness: Liveness, status: impl Fn() -> String) {
    let watchdog = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
    let interval = watchdog.map_or(STATUS_INTERVAL, |limit| limit / TIMES_PER_WATCHDOG).min(STATUS_INTERVAL);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    loop {
        ticks.tick().await;
        let now = Health::new(&liveness.stalled(clock::instant()), &status);
        let states = now.states(&told, watchdog.is_some());
        if !states.is_empty() {
            notify(&states);
        }
        told = now.text;
    }
}

/// How the program is at a moment.
struct Health {
    text: String,
    is_alive: bool,
}

impl Health {
    /// By the parts that do not move.
    fn new(stalled: &[String], status: impl Fn() -> String) -> Self {
        if stalled.is_empty() {
            Self { text: status(), is_alive: true }
        } else {
            Self { text: format!("these do not move: {}", stalled.join(", ")), is_alive: false }
        }
    }

    /// What is sent: a text that was not told before, and a sign of life.
    fn states(&self, told: &str, has_watchdog: bool) -> Vec<NotifyState<'_>> {
        let text = (self.text != told).then_some(NotifyState::Status(&self.text));
        text.into_iter().chain((has_watchdog && self.is_alive).then_some(NotifyState::Watchdog)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_does_not_move_is_named_and_no_sign_of_life_is_sent() {
        let liveness = Liveness::default();
        let limit = Duration::from_mins(1);
        let _pulse = liveness.add("upstream gw", limit);
        let health = |after| Health::new(&liveness.stalled(clock::instant() + after), || "1 task".to_owned());
        let (well, stalled) = (health(Duration::ZERO), health(limit * 2));
        let sent = |health: &Health, told: &str, has_watchdog| -> String {
            health.states(told, has_watchdog).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(sent(&well, "", true), "STATUS=1 task WATCHDOG=1");
        assert_eq!(sent(&well, "1 task", true), "WATCHDOG=1");
        assert_eq!(sent(&well, "1 task", false), "");
        assert_eq!(sent(&stalled, "1 task", true), "STATUS=these do not move: upstream gw");
        assert_eq!(sent(&stalled, "these do not move: upstream gw", true), "");
    }
}
