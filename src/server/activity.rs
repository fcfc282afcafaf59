//! What a connection is doing, so that only those are closed that hold a permit for nothing.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// Interval between checks of a connection.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long the headers of a request may take to arrive, and the first byte on a new connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may wait for its next request: longer than usual scrape intervals.
const IDLE_TIMEOUT: Duration = Duration::from_secs(150);

/// How long a client may take nothing of a response. Over HTTP/2 the connection itself can go on meanwhile.
const STALL_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a connection that is told to close may write nothing: over HTTP/2 its client has to confirm that.
const FINISH_TIMEOUT: Duration = Duration::from_secs(6);

/// How long it may take to close in all, to take the rest of a response.
const MAX_FINISH: Duration = Duration::from_secs(30);

/// Most of a response that is handed over to HTTP/2 at once, in bytes: all of it waits for the client in memory.
const MAX_FRAME: usize = 16 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The headers of a request are arriving.
    Headers,
    /// A request is being handled, or its response sent.
    Request,
    /// Between two requests.
    Idle,
}

/// What follows from a check.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The connection stays open.
    Keep,
    /// It is closed as soon as it has sent everything.
    Finish,
    /// It is closed at once.
    Drop,
}

/// The phase of a connection.
#[derive(Clone)]
pub struct Activity(Arc<Mutex<State>>);

struct State {
    phase: Phase,
    /// How many checks the phase has lasted.
    checks: u32,
    /// Requests in progress.
    requests: usize,
    /// Responses that are being sent, and for how many checks their clients have taken nothing.
    sending: BTreeMap<u64, u32>,
    next_response: u64,
    /// For how many checks it has been told to close, and for how many of them nothing was written.
    finishing: u32,
    unwritten: u32,
    /// It speaks HTTP/2, where bytes need not be of a request.
    is_http2: bool,
}

impl State {
    fn begin(&mut self, phase: Phase) {
        (self.phase, self.checks) = (phase, 0);
    }

    /// A stalled response closes its connection, but not before the other responses on it have had time to end.
    fn check_responses(&self) -> Verdict {
        let stalled = |limit| self.sending.values().filter(|checks| have_lasted(**checks, limit)).count();
        if stalled(STALL_TIMEOUT) == 0 {
            Verdict::Keep
        } else if stalled(STALL_TIMEOUT) == self.requests || stalled(2 * STALL_TIMEOUT) > 0 {
            Verdict::Drop
        } else {
            Verdict::Finish
        }
    }
}

/// Whether so many checks have lasted so long.
fn have_lasted(checks: u32, limit: Duration) -> bool {
    CHECK_INTERVAL * checks >= limit
}

impl Activity {
    /// Of a new connection: its first request must arrive soon.
    pub fn new(is_http2: bool) -> Self {
        Self(Arc::new(Mutex::new(State {
            phase: Phase::Headers,
            checks: 0,
            requests: 0,
            sending: BTreeMap::new(),
            next_response: 0,
            finishing: 0,
            unwritten: 0,
            is_http2,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes have arrived.
    pub fn on_bytes(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle && !state.is_http2 {
            state.begin(Phase::Headers);
        }
    }

    /// The headers of a request are complete; the connection is busy until this is dropped.
    pub fn begin_request(&self) -> RequestGuard {
        let mut state = self.state();
        state.requests += 1;
        state.begin(Phase::Request);
        RequestGuard(self.clone())
    }

    /// Checks the connection, once for each [`CHECK_INTERVAL`].
    pub fn check(&self, are_permits_short: bool) -> Verdict {
        let mut state = self.state();
        state.checks += 1;
        for stalled in state.sending.values_mut() {
            *stalled += 1;
        }
        match state.phase {
            Phase::Headers if have_lasted(state.checks, HEADER_TIMEOUT) => Verdict::Drop,
            Phase::Request => state.check_responses(),
            Phase::Idle if are_permits_short || have_lasted(state.checks, IDLE_TIMEOUT) => {
                (state.finishing, state.unwritten) = (state.finishing + 1, state.unwritten + 1);
                let is_over = have_lasted(state.unwritten, FINISH_TIMEOUT) || have_lasted(state.finishing, MAX_FINISH);
                if is_over { Verdict::Drop } else { Verdict::Finish }
            }
            _ => Verdict::Keep,
        }
    }

    /// Bytes were written.
    pub fn on_written(&self) {
        self.state().unwritten = 0;
    }
}

/// A request in progress.
pub struct RequestGuard(Activity);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        if state.requests == 0 {
            state.begin(Phase::Idle);
        }
    }
}

/// The body of a response while it is sent: what its client does not take is noticed.
pub struct ResponseBody {
    body: Body,
    /// What is to be handed over next.
    rest: Bytes,
    /// Most that is handed over at once, in bytes.
    max_part: usize,
    id: u64,
    guard: RequestGuard,
}

impl ResponseBody {
    /// Of the response to a request.
    pub fn new(body: Body, guard: RequestGuard) -> Self {
        let (id, max_part) = {
            let mut state = guard.0.state();
            state.next_response += 1;
            let id = state.next_response;
            state.sending.insert(id, 0);
            (id, if state.is_http2 { MAX_FRAME } else { usize::MAX })
        };
        Self { body, rest: Bytes::new(), max_part, id, guard }
    }

    fn next_part(&mut self) -> Frame<Bytes> {
        let length = self.rest.len().min(self.max_part);
        Frame::data(self.rest.split_to(length))
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        self.guard.0.state().sending.remove(&self.id);
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // It is asked for more when the last part was taken.
        self.guard.0.state().sending.insert(self.id, 0);
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.next_part())));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let Poll::Ready(Some(Ok(frame))) = polled else { return polled };
        match frame.into_data() {
            Ok(data) => {
                self.rest = data;
                Poll::Ready(Some(Ok(self.next_part())))
            }
            Err(other) => Poll::Ready(Some(Ok(other))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut own = SizeHint::new();
        own.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            own.set_upper(upper + rest);
        }
        own
    }
}

/// A response body that holds something until it is sent.
pub struct HoldingBody<G> {
    body: Body,
    _held: G,
}

impl<G> HoldingBody<G> {
    /// Holds `held`.
    pub const fn new(body: Body, held: G) -> Self {
        Self { body, _held: held }
    }
}

impl<G: Unpin> HttpBody for HoldingBody<G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks until the connection is to be closed; returns how many checks that took.
    fn checks(activity: &Activity, are_permits_short: bool) -> (usize, Verdict) {
        let verdicts = (1..500).map(|n| (n, activity.check(are_permits_short)));
        verdicts.into_iter().find(|(_, verdict)| *verdict != Verdict::Keep).unwrap_or((0, Verdict::Keep))
    }

    fn checks_until_drop(activity: &Activity) -> usize {
        (1..500).find(|_| activity.check(false) == Verdict::Drop).unwrap_or(0)
    }

    #[test]
    fn only_a_connection_that_holds_a_permit_for_nothing_is_closed() {
        let activity = Activity::new(false);
        assert_eq!(checks(&activity, false), (10, Verdict::Drop), "nothing arrives");
        let request = activity.begin_request();
        activity.on_bytes();
        assert_eq!(checks(&activity, true), (0, Verdict::Keep), "a response is being sent");
        drop(request);
        assert!((0..60).all(|_| activity.check(false) == Verdict::Keep), "a scrape interval of a minute");
        assert_eq!(activity.check(true), Verdict::Finish, "permits are short");
        activity.on_bytes();
        assert!((0..9).all(|_| activity.check(true) == Verdict::Keep));
        activity.on_bytes();
        assert_eq!(activity.check(true), Verdict::Drop, "more bytes do not extend the time of the headers");
        drop(activity.begin_request());
        assert_eq!(checks(&activity, false), (150, Verdict::Finish));
    }

    #[test]
    fn over_http2_several_requests_are_in_progress_and_pings_are_no_request() {
        let activity = Activity::new(true);
        let (first, second) = (activity.begin_request(), activity.begin_request());
        drop(first);
        assert_eq!(checks(&activity, true), (0, Verdict::Keep), "one is still in progress");
        drop(second);
        assert!((0..9).all(|_| activity.check(false) == Verdict::Keep));
        activity.on_bytes();
        assert_eq!(checks(&activity, false), (141, Verdict::Finish), "a ping neither closes nor extends it");
    }

    #[test]
    fn a_client_that_neither_takes_a_response_nor_closes_is_dropped() {
        let activity = Activity::new(true);
        let handled = activity.begin_request();
        assert_eq!(checks(&activity, true), (0, Verdict::Keep), "a request may take long to handle");
        drop(activity.begin_request());
        let mut body = ResponseBody::new(Body::from(vec![b'x'; 3 * MAX_FRAME + 1]), handled);
        let mut take = || {
            let polled = Pin::new(&mut body).poll_frame(&mut Context::from_waker(std::task::Waker::noop()));
            let Poll::Ready(Some(Ok(frame))) = polled else { return 0 };
            frame.into_data().unwrap().len()
        };
        let mut taken = 0;
        for expected in [MAX_FRAME, MAX_FRAME, MAX_FRAME, 1] {
            assert!((0..14).all(|_| activity.check(true) == Verdict::Keep), "it is slow");
            assert_eq!(take(), expected);
            taken += expected;
        }
        assert_eq!(taken as u64 + body.size_hint().exact().unwrap(), 3 * MAX_FRAME as u64 + 1);
        assert_eq!(checks(&activity, false), (15, Verdict::Drop), "nothing more is taken");
        let other = activity.begin_request();
        assert_eq!(activity.check(false), Verdict::Finish, "another request goes on");
        assert_eq!(checks_until_drop(&activity), 14, "but not for ever");
        drop(other);
        drop(body);
        assert!((0..5).all(|_| activity.check(true) == Verdict::Finish));
        assert_eq!(activity.check(true), Verdict::Drop, "it does not close");
        activity.on_written();
        assert_eq!(activity.check(true), Verdict::Finish, "the rest of a response is being taken");
        let dropped = (0..100).find(|_| {
            activity.on_written();
            activity.check(true) == Verdict::Drop
        });
        assert_eq!(dropped, Some(22), "but not for ever");
    }
}
