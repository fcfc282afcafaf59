//! Publishes the view of one upstream: at once after a commit, otherwise a few times a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::view::UpstreamView;

/// Least time between two views of readings that counted nothing.
const INTERVAL: Duration = Duration::from_millis(250);

/// The publisher.
pub struct Publisher {
    view: watch::Sender<Arc<UpstreamView>>,
    is_changed: bool,
    is_urgent: bool,
    published: Instant,
}

impl Publisher {
    /// Publishes through this channel.
    pub const fn new(view: watch::Sender<Arc<UpstreamView>>, now: Instant) -> Self {
        Self { view, is_changed: false, is_urgent: false, published: now }
    }

    /// Something was read that counts nothing.
    pub const fn mark_changed(&mut self) {
        self.is_changed = true;
    }

    /// Something was counted, or tasks came or went.
    pub const fn mark_urgent(&mut self) {
        (self.is_changed, self.is_urgent) = (true, true);
    }

    /// Whether a view is due.
    pub fn is_due(&self, now: Instant) -> bool {
        self.is_urgent || self.next().is_some_and(|next| next <= now)
    }

    /// When a view is due; `None` when nothing has changed.
    pub fn next(&self) -> Option<Instant> {
        self.is_changed.then(|| self.published + INTERVAL)
    }

    /// Publishes a view.
    pub fn publish(&mut self, view: UpstreamView, now: Instant) {
        self.view.send_replace(Arc::new(view));
        (self.is_changed, self.is_urgent, self.published) = (false, false, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn view(task_count: usize) -> UpstreamView {
        UpstreamView { task_count, ..UpstreamView::empty("u".into(), "new_api") }
    }

    #[test]
    fn what_is_counted_is_published_at_once_and_the_rest_a_few_times_a_second() {
        let begun = clock::instant();
        let (sender, receiver) = watch::channel(Arc::new(view(0)));
        let mut publisher = Publisher::new(sender, begun);
        assert!(!publisher.is_due(begun + INTERVAL) && publisher.next().is_none(), "nothing has changed");
        publisher.mark_changed();
        assert_eq!((publisher.is_due(begun), publisher.next()), (false, Some(begun + INTERVAL)));
        assert!(publisher.is_due(begun + INTERVAL));
        publisher.mark_urgent();
        assert!(publisher.is_due(begun));
        publisher.publish(view(1), begun);
        assert!(!publisher.is_due(begun + INTERVAL));
        assert_eq!(receiver.borrow().task_count, 1);
    }
}
