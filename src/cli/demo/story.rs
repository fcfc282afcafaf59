//! What the demo tells: things go wrong one after the other, and a line says where to look.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cli::failure::print_line;
use crate::simulate::{Gateway, Trouble};

/// When each thing goes wrong, after the start.
const KEY_REFUSED: Duration = Duration::from_secs(20);
const CONTENT_REFUSED: Duration = Duration::from_secs(40);
const EXPIRED: Duration = Duration::from_mins(1);

/// When the key is accepted again.
const KEY_ACCEPTED: Duration = Duration::from_secs(320);

/// Tasks that are refused for their content.
const REFUSED: usize = 10;

/// The gateways of the demo, in the order of its configuration.
pub struct Gateways {
    /// A new-api gateway.
    pub tokenhot: Arc<Gateway>,
    /// Ark.
    pub ark: Arc<Gateway>,
    /// `OpenAI`.
    pub sora: Arc<Gateway>,
}

/// The story, with its tasks added to the gateways.
pub struct Story {
    gateways: Gateways,
    events: [(Duration, String); 5],
}

impl Story {
    /// Adds the story's tasks. The exporter has to start after this: a list is read back to an hour ago at the start only, and the
    /// task that does not move is older than what is read later. `base` is the address of the exporter's pages.
    pub fn new(gateways: Gateways, base: &str) -> Self {
        let expired = gateways.tokenhot.add_trouble(Trouble::Expired(EXPIRED), 1).concat();
        let stuck = gateways.tokenhot.add_trouble(Trouble::Stuck, 1).concat();
        gateways.ark.add_trouble(Trouble::Refused(CONTENT_REFUSED), REFUSED);
        let events = [
            (KEY_REFUSED, format!("sora answers 401, the key is refused     {base}/?upstream=sora")),
            (CONTENT_REFUSED, format!("ark refuses ten tasks for their content  {base}/?upstream=ark&status=failed")),
            (EXPIRED, format!("tokenhot says running, Ark says expired  {base}/tasks/tokenhot/{expired}")),
            (EXPIRED, format!("one task at tokenhot does not move       {base}/tasks/tokenhot/{stuck}")),
            (KEY_ACCEPTED, format!("sora accepts the key again               {base}/?upstream=sora")),
        ];
        Self { gateways, events }
    }

    /// Tells the story until its end, then waits for `stop`.
    pub async fn tell(self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut passed = Duration::ZERO;
        for (at, text) in self.events {
            if stop.run_until_cancelled(tokio::time::sleep(at.saturating_sub(passed))).await.is_none() {
                return Ok(());
            }
            passed = at;
            if at == KEY_REFUSED || at == KEY_ACCEPTED {
                self.gateways.sora.refuse_key(at == KEY_REFUSED);
            }
            let secs = at.as_secs();
            // A closed pipe ends nothing.
            let _ = print_line(format_args!("{:02}:{:02}  {text}", secs / 60, secs % 60));
        }
        stop.cancelled().await;
        Ok(())
    }
}
