//! What nobody has read of a request's body is read before the answer is sent: a client that is still sending when the
//! connection or stream is closed may lose its answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};

/// Most of an unread body that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// How long it is waited for.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A request body that can be read to its end when its reader has dropped it.
#[derive(Clone)]
pub struct SharedBody(Arc<Mutex<State>>);

struct State {
    body: Incoming,
    /// Somebody has begun to read it.
    is_begun: bool,
}

impl SharedBody {
    /// Of a request.
    pub fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(State { body, is_begun: false })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut state = self.state();
        state.is_begun = true;
        Pin::new(&mut state.body).poll_frame(cx)
    }

    /// Reads and drops the rest. A client that waits for a `100 Continue` sends nothing before the answer.
    pub async fn discard(self, is_continue_expected: bool) {
        // It was told to go on when somebody began to read.
        let is_held_back = is_continue_expected && !self.state().is_begun;
        if self.is_end_stream() || is_held_back {
            return;
        }
        let mut left = MAX_BYTES;
        let reading = async {
            while let Some(Ok(frame)) = std::future::poll_fn(|cx| self.poll(cx)).await {
                let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
                left = rest;
            }
        };
        // After that the client has to cope.
        let _ = tokio::time::timeout(TIMEOUT, reading).await;
    }
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.state().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.state().body.size_hint()
    }
}
