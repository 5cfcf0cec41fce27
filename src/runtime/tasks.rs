//! Named tasks with an owner that awaits them; the only place that spawns.
//!
//! A task that panics ends alone: its name and the panic are logged, the program goes on. Long tasks
//! take a [`super::Shutdown`] and return when it is requested; [`TaskSet::finish`] waits for them.

use std::{future::Future, time::Duration};
use tokio_util::task::TaskTracker;

/// The tasks of one component. Clones add to the same set.
#[derive(Clone, Debug, Default)]
pub struct TaskSet(TaskTracker);

impl TaskSet {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `work` on the current runtime under `name`, which is what logs call it.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        // Nobody joins the handle: the tracker counts the task, and the panic hook reports a panic
        // with the task id that is traced here.
        let handle = tokio::spawn(self.0.track_future(work));
        tracing::trace!(task = name, id = %handle.id(), "task started");
    }

    /// Runs blocking `work` (cryptography, files) off the event loop and waits for its result.
    ///
    /// # Errors
    /// When the work panicked or the runtime is shutting down.
    pub async fn blocking<T, F>(work: F) -> Result<T, BlockingError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        tokio::task::spawn_blocking(work).await.map_err(BlockingError)
    }

    /// How many tasks are running.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no task is running.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits until every task has ended, at most `deadline`; then how many are left, which the
    /// runtime's end will drop.
    pub async fn finish(&self, deadline: Duration) -> usize {
        self.0.close();
        let _in_time = tokio::time::timeout(deadline, self.0.wait()).await.is_ok();
        self.0.len()
    }
}

/// Blocking work that gave no result.
#[derive(Debug, thiserror::Error)]
#[error("background work ended without a result")]
pub struct BlockingError(#[source] tokio::task::JoinError);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Shutdown;

    #[tokio::test]
    async fn finish_waits_for_tasks_that_heed_the_shutdown() {
        let (tasks, shutdown) = (TaskSet::new(), Shutdown::new());
        let seen = shutdown.clone();
        tasks.spawn("waits", async move { seen.requested().await });
        assert_eq!(tasks.len(), 1);
        shutdown.request();
        assert_eq!(tasks.finish(Duration::from_secs(5)).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn finish_reports_a_task_that_does_not_end() {
        let tasks = TaskSet::new();
        tasks.spawn("stuck", std::future::pending());
        assert_eq!(tasks.finish(Duration::from_secs(10)).await, 1);
    }

    #[tokio::test]
    async fn a_panicking_task_leaves_the_others_running() {
        let tasks = TaskSet::new();
        tasks.spawn("panics", async { panic!("expected by this test") });
        let (done, wait) = tokio::sync::oneshot::channel();
        tasks.spawn("works", async move { done.send(7).unwrap() });
        assert_eq!(wait.await.unwrap(), 7);
        assert_eq!(tasks.finish(Duration::from_secs(5)).await, 0);
    }
}
