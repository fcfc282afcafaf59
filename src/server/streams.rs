//! The streams of an HTTP/2 connection: each is a task that ends with its connection.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::rt::Executor;
use tokio::task::JoinSet;

/// Runs the streams of one connection. When the last clone is dropped, those that still run are ended.
#[derive(Clone, Default)]
pub struct Streams(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while running.try_join_next().is_some() {}
        running.spawn(stream);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_stream_ends_with_its_connection() {
        let streams = Streams::default();
        let (held, mut dropped) = oneshot::channel::<()>();
        let held_by_connection = streams.clone();
        held_by_connection.execute(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        tokio::task::yield_now().await;
        drop(streams);
        tokio::task::yield_now().await;
        assert_eq!(dropped.try_recv(), Err(oneshot::error::TryRecvError::Empty), "the connection goes on");
        drop(held_by_connection);
        assert!(dropped.await.is_err(), "it was ended");
    }
}
