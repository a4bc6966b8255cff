//! Stopping in two stages.

use tokio_util::sync::CancellationToken;

/// Told to every task at its start. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take nothing new; finish what is in hand, flush, return.
    pub soft: CancellationToken,
    /// Return at once; what is in hand is given back or redelivered. Implies `soft`.
    pub hard: CancellationToken,
}

impl Stop {
    /// Asks for an orderly end.
    pub fn stop_softly(&self) {
        self.soft.cancel();
    }

    /// Asks for an end now.
    pub fn stop_now(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Whether nothing new may be taken.
    pub fn is_stopping(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Sleeps, or returns early with `false` when an orderly end is asked for.
    pub async fn sleep(&self, duration: std::time::Duration) -> bool {
        tokio::select! {
            () = self.soft.cancelled() => false,
            () = tokio::time::sleep(duration) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hard_stop_is_a_soft_one_too() {
        let stop = Stop::default();
        let clone = stop.clone();
        stop.stop_now();
        assert!(clone.is_stopping());
        assert!(!clone.sleep(std::time::Duration::from_mins(1)).await);
    }
}
