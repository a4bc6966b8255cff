//! What the delivery role can be told.

use std::time::Duration;

use tidegate_model::RETRY_LADDER;

use crate::EgressOptions;
use crate::host::ProbeSchedule;
use crate::lease::{self, LeaseOptions};

/// Options of the delivery role. The defaults are those of production.
#[derive(Debug, Clone)]
pub struct DeliveryOptions {
    /// The HTTP client.
    pub egress: EgressOptions,
    /// POSTs under way in the whole process. A signature takes 0.3 ms of a core, so two cores
    /// are busy with far fewer; the rest covers distance. Half of them may go to slow hosts.
    pub posts_in_flight: usize,
    /// Rows in memory per lane of a shard; no host holds more than a quarter of them.
    pub prefetch_inboxes: usize,
    /// Messages in hand per lane of a shard: a message has one to a hundred rows.
    pub prefetch_messages: u16,
    /// Waits after an activity's own first, second, ... failure; spread by a fifth.
    pub retry_ladder: Vec<Duration>,
    /// How often rows and hosts that are due are looked for.
    pub look_interval: Duration,
    /// How often the engine looks at what it has in memory.
    pub tick: Duration,
    /// The first wait before a failing host is tried, and the longest, to which it doubles.
    pub probe_first: Duration,
    /// See [`Self::probe_first`].
    pub probe_longest: Duration,
    /// How often an unavailable host is asked with a GET.
    pub greet_interval: Duration,
    /// How long the lease of a shard lasts without being renewed.
    pub lease_length: Duration,
    /// How often it is renewed.
    pub lease_renew: Duration,
    /// A row that was published this long ago, before what its queue gives out now, and is still
    /// queued was lost on the way: it is published again, each time after twice the time.
    pub republish_after: Duration,
    /// The same for a row that was never published, because its planner died in between.
    pub republish_unpublished_after: Duration,
    /// An activity that is unplanned for this long, or a local status whose fan-out left no
    /// trace, lost its message: it is published again, each time after twice the time.
    pub republish_event_after: Duration,
    /// How often the reconciler looks; for lost events a quarter as often.
    pub reconcile_interval: Duration,
    /// How often the database is asked for what the gauges show: finer than any alert on them.
    pub measure_interval: Duration,
    /// How long the row of a finished delivery is kept beyond the end of the retry ladder.
    pub keep: Duration,
}

impl Default for DeliveryOptions {
    fn default() -> Self {
        Self {
            egress: EgressOptions::default(),
            posts_in_flight: 1_024,
            prefetch_inboxes: 500,
            prefetch_messages: 200,
            retry_ladder: RETRY_LADDER.to_vec(),
            look_interval: Duration::from_secs(1),
            tick: Duration::from_millis(250),
            probe_first: Duration::from_mins(1),
            probe_longest: Duration::from_hours(6),
            greet_interval: Duration::from_hours(24),
            lease_length: lease::LENGTH,
            lease_renew: lease::RENEW,
            republish_after: Duration::from_mins(10),
            republish_unpublished_after: Duration::from_mins(1),
            republish_event_after: Duration::from_mins(10),
            reconcile_interval: Duration::from_secs(15),
            measure_interval: Duration::from_secs(10),
            keep: Duration::from_hours(7 * 24),
        }
    }
}

impl DeliveryOptions {
    /// The same with every wait of the schedules divided by this: a day's outage is tried out in
    /// minutes. What measures the machine (time-outs, leases) stays.
    #[must_use]
    pub fn faster(mut self, divisor: u32) -> Self {
        let divisor = divisor.max(1);
        for wait in self.retry_ladder.iter_mut().chain([
            &mut self.probe_first,
            &mut self.probe_longest,
            &mut self.greet_interval,
        ]) {
            *wait /= divisor;
        }
        self
    }

    /// Refuses what could not work, with the reason.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.lease_renew * 3 <= self.lease_length,
            "a lease of {:?} that is renewed every {:?} runs out when two renewals fail: renew it \
             three times within its length",
            self.lease_length,
            self.lease_renew
        );
        Ok(())
    }

    /// Rows that one host may have waiting in memory: a quarter of a shard's (design section 6).
    pub(crate) fn host_share(&self) -> usize {
        (self.prefetch_inboxes / 4).max(1)
    }

    pub(crate) fn lease_options(&self) -> LeaseOptions {
        LeaseOptions {
            length: self.lease_length,
            renew: self.lease_renew,
            settle: self.egress.total_timeout,
        }
    }

    pub(crate) fn probes(&self) -> ProbeSchedule {
        ProbeSchedule {
            first: self.probe_first,
            longest: self.probe_longest,
            own_outage: self.probe_first,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work_and_a_lease_that_runs_out_between_renewals_does_not() {
        let options = DeliveryOptions::default();
        assert!(options.check().is_ok());
        let late = DeliveryOptions {
            lease_renew: options.lease_length / 2,
            ..options
        };
        assert!(late.check().is_err());
    }
}
