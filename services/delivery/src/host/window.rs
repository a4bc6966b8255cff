//! How many requests a host is sent at once: additive increase, multiplicative decrease.

/// The first window: enough to hide one round trip, little enough for a small server.
const START: u32 = 2;

/// The largest: a host 200 ms away takes 80 requests a second through it.
const CAP: u32 = 16;

/// The smallest: a host that is tried at all is tried with one.
const FLOOR: u32 = 1;

/// One host's window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    size: u32,
    /// Successes since it last changed: a whole window of them lets it grow.
    successes: u32,
    /// Ends that still belong to the requests that were under way when it was halved: one burst
    /// of trouble halves once.
    forgiven: u32,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            size: START,
            successes: 0,
            forgiven: 0,
        }
    }
}

impl Window {
    /// Requests that may be under way.
    pub(crate) const fn size(&self) -> u32 {
        self.size
    }

    /// A request was answered. A whole window of these lets it grow by one.
    pub(crate) fn success(&mut self) {
        self.forgiven = self.forgiven.saturating_sub(1);
        self.successes += 1;
        if self.successes >= self.size {
            self.successes = 0;
            self.size = (self.size + 1).min(CAP);
        }
    }

    /// A request failed: half of it, once for all that were under way together.
    pub(crate) fn trouble(&mut self) {
        self.successes = 0;
        if self.forgiven > 0 {
            self.forgiven -= 1;
            return;
        }
        self.forgiven = self.size - 1;
        self.size = (self.size / 2).max(FLOOR);
    }

    /// The host is back after it failed: one at a time at first.
    pub(crate) fn slow_start(&mut self) {
        *self = Self {
            size: FLOOR,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_one_for_each_window_of_successes_up_to_its_cap() {
        let mut window = Window::default();
        window.success();
        assert_eq!(window.size(), 2);
        window.success();
        assert_eq!(window.size(), 3);
        for _ in 0..1_000 {
            window.success();
        }
        assert_eq!(window.size(), CAP);
    }

    #[test]
    fn a_burst_of_trouble_halves_it_once() {
        let mut window = Window::default();
        for _ in 0..1_000 {
            window.success();
        }
        for _ in 0..CAP {
            window.trouble();
        }
        assert_eq!(window.size(), CAP / 2);
        window.trouble();
        assert_eq!(window.size(), CAP / 4);
    }

    proptest::proptest! {
        #[test]
        fn it_stays_between_floor_and_cap(ends in proptest::collection::vec(proptest::bool::ANY, 0..500)) {
            let mut window = Window::default();
            for is_well in ends {
                if is_well { window.success() } else { window.trouble() }
                proptest::prop_assert!((FLOOR..=CAP).contains(&window.size()));
            }
        }

        #[test]
        fn a_host_that_is_well_again_has_its_window_back(troubles in 0_usize..100) {
            let mut window = Window::default();
            for _ in 0..troubles { window.trouble() }
            for _ in 0..CAP * CAP { window.success() }
            proptest::prop_assert_eq!(window.size(), CAP);
        }
    }
}
