//! Where signatures are made. An RSA signature is nothing but computing, and a post to a crowd
//! wants thousands at once: as many threads as there are cores make them, at a low priority, so
//! that everything else on the machine goes first and the crowd's post takes what is left. What
//! somebody waits for is signed before all others, and by a thread of ordinary priority.
//!
//! A thread goes on to the next signature as long as any waits: waking one costs a tenth of a
//! signature.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// How nice the threads for the crowd are: a tenth of the share of others where both compute.
const NICE: i32 = 10;

#[derive(Default)]
struct State {
    urgent: VecDeque<Job>,
    patient: VecDeque<Job>,
    clerk_is_busy: bool,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the thread for what is urgent.
    clerk: Condvar,
    /// Wakes one of the others.
    others: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, is_urgent: bool, job: Job) {
        let mut state = self.lock();
        let wakes = if is_urgent {
            state.urgent.push_back(job);
            if state.clerk_is_busy {
                &self.others
            } else {
                &self.clerk
            }
        } else {
            state.patient.push_back(job);
            &self.others
        };
        drop(state);
        wakes.notify_one();
    }
}

/// Ends the threads with the last desk.
struct Door(Arc<Shared>);

impl Drop for Door {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.clerk.notify_all();
        self.0.others.notify_all();
    }
}

/// Clones are the same desk. What waits is bounded by those who wait for it.
#[derive(Clone)]
pub(super) struct Desk(Arc<Door>);

impl Desk {
    /// A desk with so many threads for the crowd and one for what is urgent.
    pub(super) fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let clerk = Arc::clone(&shared);
        start("sign-urgent".to_owned(), move || work_off(&clerk, true));
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&shared);
            start(format!("sign-{number}"), move || {
                // Refused, it is only less friendly. On Linux the priority is the thread's own.
                let _refused = rustix::process::setpriority_process(None, NICE);
                work_off(&shared, false);
            });
        }
        Self(Arc::new(Door(shared)))
    }

    /// What `work` gives; `None` when it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        is_urgent: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, told) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Nobody waits any more when the caller was dropped.
            let _unheard = done.send(work());
        });
        self.0.0.add(is_urgent, job);
        told.await.ok()
    }
}

fn start(name: String, body: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().name(name.clone());
    if let Err(error) = thread.spawn(body) {
        tracing::error!(%error, name, "a thread for signatures could not be started");
    }
}

fn work_off(shared: &Shared, is_clerk: bool) {
    let mut state = shared.lock();
    loop {
        let job = match state.urgent.pop_front() {
            None if !is_clerk => state.patient.pop_front(),
            urgent => urgent,
        };
        if let Some(job) = job {
            state.clerk_is_busy |= is_clerk;
            drop(state);
            // A panic ends this job; whoever waits for it is told by the closed channel.
            let _panicked = catch_unwind(AssertUnwindSafe(job));
            state = shared.lock();
            continue;
        }
        if is_clerk {
            state.clerk_is_busy = false;
        }
        if state.closed {
            return;
        }
        let wakes = if is_clerk {
            &shared.clerk
        } else {
            &shared.others
        };
        state = wakes.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

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
                desk.run(number % 7 == 0, move || {
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
        assert!(most.load(Ordering::SeqCst) <= 3);
        let state = desk.0.0.lock();
        assert!(state.patient.is_empty() && state.urgent.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_somebody_waits_for_is_signed_before_a_crowd() {
        let desk = Desk::new(1);
        let (release, held) = mpsc::channel::<()>();
        let first = desk.clone();
        let first =
            tokio::spawn(async move { first.run(false, move || held.recv().is_ok()).await });
        let others = (0..50).map(|_| {
            let desk = desk.clone();
            tokio::spawn(async move { desk.run(false, || ()).await })
        });
        let others: Vec<_> = others.collect();
        assert_eq!(desk.run(true, || 7).await, Some(7));
        release.send(()).expect("it still waits");
        assert_eq!(first.await.expect("no panic"), Some(true));
        for job in others {
            assert_eq!(job.await.expect("no panic"), Some(()));
        }
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_job_only() {
        let desk = Desk::new(1);
        for is_urgent in [false, true] {
            let bad = desk.run(is_urgent, || -> u8 { panic!("on purpose") }).await;
            assert_eq!(bad, None);
            assert_eq!(desk.run(is_urgent, || 7).await, Some(7));
        }
    }

    #[tokio::test]
    async fn the_threads_end_with_the_desk() {
        let desk = Desk::new(2);
        let shared = Arc::downgrade(&desk.0.0);
        assert_eq!(desk.run(false, || 7).await, Some(7));
        drop(desk);
        while shared.strong_count() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}
