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
    let watchdog = sd_notify::watchdog_enabled();
    let interval = watchdog.map_or(STATUS_INTERVAL, |limit| limit / TIMES_PER_WATCHDOG).min(STATUS_INTERVAL);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = String::new();
    loop {
        ticks.tick().await;
        let stalled = liveness.stalled(clock::instant());
        let now = if stalled.is_empty() { status() } else { format!("these do not move: {}", stalled.join(", ")) };
        let mut states = Vec::new();
        if now != told {
            states.push(NotifyState::Status(&now));
        }
        if watchdog.is_some() && stalled.is_empty() {
            states.push(NotifyState::Watchdog);
        }
        if !states.is_empty() {
            notify(&states);
        }
        told = now;
    }
}
