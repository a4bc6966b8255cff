//! The node's tasks. Each runs until it is told to stop; one that ends before that, by an
//! error, a panic or quietly, ends the process, because a node that lacks a part is worse than
//! one that is restarted.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use tidegate_telemetry::Stop;
use tokio::task::{Id, JoinSet};
use tokio::time::timeout;

/// After the hard stop a task has only to notice it.
const AFTER_HARD_STOP: Duration = Duration::from_secs(2);

/// Tasks that are stopped together.
pub(crate) struct Tasks {
    set: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, &'static str>,
    stop: Stop,
}

impl Tasks {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            set: JoinSet::new(),
            names: HashMap::new(),
            stop: Stop::default(),
        }
    }

    /// What the tasks are told to stop by.
    pub(crate) const fn stop_signal(&self) -> &Stop {
        &self.stop
    }

    /// Starts a task.
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let id = self.set.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits until a task ends although nobody told it to, and says how. Waits for ever when
    /// there are no tasks.
    pub(crate) async fn crash(&mut self) -> anyhow::Error {
        match self.join_next().await {
            Some((name, Ok(()))) => anyhow::anyhow!("the task `{name}` ended by itself"),
            Some((name, Err(error))) => error.context(format!("the task `{name}` failed")),
            None => std::future::pending().await,
        }
    }

    /// Asks all tasks to finish what they have in hand, gives them `grace`, then cuts them off.
    /// An error means that something went wrong on the way; all tasks have ended then too.
    pub(crate) async fn end(mut self, grace: Duration) -> anyhow::Result<()> {
        let mut first_error = None;
        self.stop.stop_softly();
        if timeout(grace, self.join_all(&mut first_error))
            .await
            .is_err()
        {
            let names = self.unfinished();
            tracing::warn!(tasks = %names, "the grace period is over; stopping at once");
            self.stop.stop_now();
            if timeout(AFTER_HARD_STOP, self.join_all(&mut first_error))
                .await
                .is_err()
            {
                self.set.abort_all();
            }
            first_error.get_or_insert_with(|| {
                anyhow::anyhow!("not finished within the grace period: {names}")
            });
        }
        first_error.map_or(Ok(()), Err)
    }

    async fn join_all(&mut self, first_error: &mut Option<anyhow::Error>) {
        while let Some((name, result)) = self.join_next().await {
            if let Err(error) = result {
                first_error
                    .get_or_insert_with(|| error.context(format!("the task `{name}` failed")));
            }
        }
    }

    async fn join_next(&mut self) -> Option<(&'static str, anyhow::Result<()>)> {
        let (id, result) = match self.set.join_next_with_id().await? {
            Ok((id, result)) => (id, result),
            Err(error) => (error.id(), Err(panic_message(error))),
        };
        Some((self.names.remove(&id).unwrap_or("unnamed"), result))
    }

    fn unfinished(&self) -> String {
        let mut names: Vec<&str> = self.names.values().copied().collect();
        names.sort_unstable();
        names.join(", ")
    }
}

fn panic_message(error: tokio::task::JoinError) -> anyhow::Error {
    match error.try_into_panic() {
        Ok(payload) => {
            let text = payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| payload.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            anyhow::anyhow!("panicked: {text}")
        }
        Err(cancelled) => anyhow::anyhow!(cancelled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_early_is_named() {
        let mut tasks = Tasks::new();
        tasks.spawn("quiet", async { Ok(()) });
        assert_eq!(
            tasks.crash().await.to_string(),
            "the task `quiet` ended by itself"
        );
        tasks.spawn("broken", async { panic!("on purpose") });
        assert_eq!(
            format!("{:#}", tasks.crash().await),
            "the task `broken` failed: panicked: on purpose"
        );
    }

    #[tokio::test]
    async fn tasks_that_finish_in_time_end_well() {
        let mut tasks = Tasks::new();
        let stop = tasks.stop_signal().clone();
        tasks.spawn("worker", async move {
            stop.soft.cancelled().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            Ok(())
        });
        tasks.end(Duration::from_secs(5)).await.expect("in time");
    }

    #[tokio::test]
    async fn tasks_that_do_not_finish_are_cut_off_and_named() {
        let mut tasks = Tasks::new();
        tasks.spawn("deaf", std::future::pending());
        let error = tasks
            .end(Duration::from_millis(20))
            .await
            .expect_err("late");
        assert!(error.to_string().contains("deaf"), "{error}");
    }
}
