//! Where signatures are made: on as many blocking threads as there are cores, each of which goes
//! on to the next as long as anything waits. Waking a thread costs a tenth of a signature, so
//! that none is woken for each.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// Threads at work.
    busy: usize,
}

/// Clones are the same desk. What waits is bounded by those who wait for it.
#[derive(Clone)]
pub(super) struct Desk {
    state: Arc<Mutex<State>>,
    threads: usize,
}

impl Desk {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            state: Arc::default(),
            threads: threads.max(1),
        }
    }

    /// What `work` gives; `None` when it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, told) = oneshot::channel();
        let job = Box::new(move || {
            // Nobody waits any more when the caller was dropped.
            let _unheard = done.send(work());
        });
        let is_short_handed = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.waiting.push_back(job);
            let is_short_handed = state.busy < self.threads;
            state.busy += usize::from(is_short_handed);
            is_short_handed
        };
        if is_short_handed {
            let state = Arc::clone(&self.state);
            tokio::task::spawn_blocking(move || work_off(&state));
        }
        told.await.ok()
    }
}

fn work_off(state: &Mutex<State>) {
    loop {
        let job = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(job) = state.waiting.pop_front() else {
                state.busy -= 1;
                return;
            };
            job
        };
        // A panic ends this job; whoever waits for it is told by the closed channel.
        let _panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn everything_is_worked_off_by_few_threads() {
        let (desk, now, most) = (
            Desk::new(2),
            Arc::new(AtomicUsize::new(0)),
            Arc::new(AtomicUsize::new(0)),
        );
        let jobs = (0..200).map(|number| {
            let (desk, now, most) = (desk.clone(), Arc::clone(&now), Arc::clone(&most));
            tokio::spawn(async move {
                desk.run(move || {
                    let at_once = now.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(at_once, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                    number
                })
                .await
            })
        });
        for (number, job) in jobs.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(job.await.expect("no panic"), Some(number));
        }
        assert!(most.load(Ordering::SeqCst) <= 2);
        let state = desk.state.lock().expect("not poisoned");
        assert!(state.waiting.is_empty());
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_job_only() {
        let desk = Desk::new(1);
        let bad = desk.run(|| -> u8 { panic!("on purpose") }).await;
        assert_eq!(bad, None);
        assert_eq!(desk.run(|| 7).await, Some(7));
    }
}
