//! The threads of the actors. Each has a runtime of its own: an actor stays on its thread, so that no response has to wake
//! another one.

use std::io;
use std::num::NonZero;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Most threads for blocking calls of one actor thread: a hanging disk must not take more.
const MAX_BLOCKING: usize = 16;

/// How long these threads live without work.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// The threads; they end when this is dropped.
pub struct ActorThreads {
    threads: Vec<Handle>,
    /// How many actors were placed.
    placed: usize,
    _stop: DropGuard,
}

/// A runtime that never waits for its blocked threads: a file that blocks must not keep the program from ending, and where the
/// system has no thread for it, it is dropped by another runtime.
struct UnblockedRuntime(Option<Runtime>);

impl UnblockedRuntime {
    fn run(&self, stop: &CancellationToken) {
        self.0.iter().for_each(|runtime| runtime.block_on(stop.cancelled()));
    }
}

impl Drop for UnblockedRuntime {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl ActorThreads {
    /// As many as there are CPUs.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start() -> io::Result<Self> {
        Self::start_some(thread::available_parallelism().map_or(1, NonZero::get))
    }

    fn start_some(count: usize) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let start = |n: usize| {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .thread_name("agent-blocking")
                .max_blocking_threads(MAX_BLOCKING)
                .thread_keep_alive(FOREVER)
                .build()?;
            // While one such thread lives, work for them waits when the system has no other thread.
            runtime.spawn_blocking(|| ());
            let (handle, stop) = (runtime.handle().clone(), stop.clone());
            let runtime = UnblockedRuntime(Some(runtime));
            let work = move || runtime.run(&stop);
            thread::Builder::new().name(format!("agent-{n}")).spawn(work)?;
            Ok(handle)
        };
        let threads = (0..count).map(start).collect::<io::Result<_>>()?;
        Ok(Self { threads, placed: 0, _stop: stop.drop_guard() })
    }

    /// The thread of the next actor: they take turns.
    pub fn next(&mut self) -> Handle {
        let thread = self.threads[self.placed % self.threads.len()].clone();
        self.placed += 1;
        thread
    }
}

/// Waits until one of these tasks panics; forever when none does.
pub async fn panicked<T: 'static>(tasks: &mut JoinSet<T>) -> anyhow::Error {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            return error.into();
        }
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actors_are_spread_over_threads_that_end_with_their_owner() {
        let mut threads = ActorThreads::start_some(2).unwrap();
        let name = || thread::current().name().unwrap_or_default().to_owned();
        let names: Vec<String> = (0..3)
            .map(|_| {
                let (send, receive) = std::sync::mpsc::channel();
                threads.next().spawn(async move { send.send(name()).unwrap() });
                receive.recv().unwrap()
            })
            .collect();
        assert_eq!(names, ["agent-0", "agent-1", "agent-0"]);
        let blocked = threads.next().spawn(std::future::pending::<()>());
        drop(threads);
        let runtime = Builder::new_current_thread().build().unwrap();
        assert!(runtime.block_on(blocked).unwrap_err().is_cancelled());
    }
}
