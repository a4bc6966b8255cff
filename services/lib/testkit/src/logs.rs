//! What the code under test writes into its log, for tests that read it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::EnvFilter;

/// Lines of the log at the finest level, of our own crates only.
#[derive(Debug, Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// Catches what this thread logs until the guard is dropped: everything of a test on the
    /// one-threaded runtime but what it hands to other threads.
    pub fn of_this_thread() -> (Self, DefaultGuard) {
        let logs = Self::default();
        let guard = tracing::dispatcher::set_default(&logs.dispatch());
        (logs, guard)
    }

    /// Catches what the whole process logs from now on. For a test binary that has one test.
    pub fn of_the_process() -> Self {
        let logs = Self::default();
        tracing::dispatcher::set_global_default(logs.dispatch())
            .expect("nobody else listens in this process");
        logs
    }

    fn dispatch(&self) -> Dispatch {
        let logs = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(
                "off,tidegate_api=trace,tidegate_fanout=trace,tidegate_delivery=trace,\
                 tidegate_federation=trace,tidegate_store=trace,tidegate_queue=trace,\
                 tidegate_proto=trace,tidegate_model=trace,tidegate_telemetry=trace",
            ))
            .with_ansi(false)
            .with_writer(move || Line(logs.clone()))
            .finish();
        Dispatch::new(subscriber)
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

struct Line(Logs);

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
