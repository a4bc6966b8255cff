use tidegate_model::RETRY_LADDER;

use super::*;

const HOUR: Duration = Duration::from_hours(1);

/// A first failure of a row at a personal inbox of a host that is well.
const ABOUT: Circumstances<'static> = Circumstances {
    own_failures: 0,
    paced_for: Duration::ZERO,
    gone_for: Duration::ZERO,
    host_worked: None,
    shared: false,
    ours: false,
    unavailable: false,
    ladder: &RETRY_LADDER,
    jitter: 0.5,
};

/// A shared inbox that worked an hour ago.
const SHARED: Circumstances<'static> = Circumstances {
    shared: true,
    host_worked: Some(HOUR),
    ..ABOUT
};

const TROUBLE: Class = Class::HostTrouble("status_500");

fn after(fate: Fate) -> Duration {
    match fate {
        Fate::Later { after, .. } => after,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_ladder_is_climbed_step_by_step_and_then_the_row_is_dead() {
    for (own_failures, step) in (0..).zip(RETRY_LADDER) {
        for (jitter, share) in [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)] {
            let about = Circumstances {
                own_failures,
                jitter,
                ..ABOUT
            };
            let (fate, own_failure) = judge(&TROUBLE, false, &about);
            assert!(own_failure, "a step on the ladder");
            assert_eq!(fate.reason(), Some("status_500"));
            assert_eq!(after(fate), step.mul_f64(share));
        }
    }
    let about = Circumstances {
        own_failures: 6,
        ..ABOUT
    };
    assert_eq!(judge(&TROUBLE, false, &about).0, dead("exhausted"));
}

#[test]
fn everything_that_may_pass_takes_a_step_of_its_own() {
    for class in [
        Class::HostDown("connect"),
        TROUBLE,
        Class::HostTrouble("redirect"),
        Class::Busy {
            reason: "status_503",
            retry_after: None,
        },
        Class::Unauthorized { skew: None },
    ] {
        let (fate, own_failure) = judge(&class, false, &ABOUT);
        assert!(own_failure, "{class:?}");
        assert_eq!(after(fate), RETRY_LADDER[0], "{class:?}");
    }
}

#[test]
fn what_is_final_is_dead_however_young_it_is() {
    for class in [
        Class::Final("status_403".to_owned()),
        Class::OwnFault("blocked_address"),
        Class::Gone("status_410"),
    ] {
        for is_failing in [false, true] {
            let (fate, own_failure) = judge(&class, is_failing, &ABOUT);
            assert_eq!(fate.state(), "dead", "{class:?}");
            assert_eq!(fate.reason(), class.error());
            assert!(!own_failure, "{class:?}");
        }
    }
}

#[test]
fn while_its_host_fails_a_row_waits_for_the_host_and_keeps_its_ladder() {
    for class in [
        TROUBLE,
        Class::HostDown("dns"),
        Class::Unauthorized { skew: None },
        Class::TooMany { retry_after: None },
    ] {
        let (fate, own_failure) = judge(&class, true, &ABOUT);
        assert_eq!(fate, Fate::Backlog { reason: "host" }, "{class:?}");
        assert!(!own_failure, "{class:?}");
    }
    // What is sent to a host that is gone for good goes its own way.
    let about = Circumstances {
        unavailable: true,
        ..ABOUT
    };
    assert_eq!(after(judge(&TROUBLE, true, &about).0), RETRY_LADDER[0]);
}

#[test]
fn a_retry_after_lengthens_a_step_and_never_shortens_it() {
    let busy = |seconds| Class::Busy {
        reason: "status_503",
        retry_after: Some(Duration::from_secs(seconds)),
    };
    assert_eq!(after(judge(&busy(3), false, &ABOUT).0), RETRY_LADDER[0]);
    let asked = after(judge(&busy(90), false, &ABOUT).0);
    assert_eq!(asked, Duration::from_secs(90));
    let years = after(judge(&busy(u64::MAX), false, &ABOUT).0);
    assert_eq!(years, Duration::from_hours(6), "clamped");
}

#[test]
fn a_pace_is_no_failure_and_is_never_undercut() {
    let asked = Duration::from_secs(40);
    let class = Class::TooMany {
        retry_after: Some(asked),
    };
    for (jitter, share) in [(0.0, 1.0), (1.0, 1.2)] {
        let about = Circumstances { jitter, ..ABOUT };
        let (fate, own_failure) = judge(&class, false, &about);
        assert!(!own_failure);
        assert_eq!(after(fate), asked.mul_f64(share));
    }
    let whole: Duration = RETRY_LADDER.iter().sum();
    for (paced_for, is_dead) in [(whole, false), (whole + Duration::from_secs(1), true)] {
        let about = Circumstances { paced_for, ..ABOUT };
        let (fate, _) = judge(&class, false, &about);
        assert_eq!(fate == dead("exhausted"), is_dead, "{paced_for:?}");
    }
}

#[test]
fn a_401_that_is_our_own_fault_waits_for_ever_and_takes_no_step() {
    let class = Class::Unauthorized { skew: None };
    for own_failures in [0, 3, 6, 60] {
        let about = Circumstances {
            own_failures,
            paced_for: Duration::from_hours(24 * 30),
            ours: true,
            ..ABOUT
        };
        let (fate, own_failure) = judge(&class, false, &about);
        assert!(!own_failure);
        assert_eq!(fate.reason(), Some("our_401"));
        assert!(after(fate) <= HOUR);
    }
}

#[test]
fn a_shared_inbox_that_worked_this_week_may_be_moving_for_a_day() {
    let gone = Class::Gone("status_404");
    let (fate, own_failure) = judge(&gone, false, &SHARED);
    assert!(own_failure);
    assert_eq!(after(fate), RETRY_LADDER[0]);
    assert_eq!(weigh(&gone, &SHARED), Weight::Failure, "the host's");
    let failing = judge(&gone, true, &SHARED).0;
    assert_eq!(failing, Fate::Backlog { reason: "host" });

    let week = Duration::from_hours(7 * 24);
    for about in [
        // A person's own inbox: the person is gone.
        Circumstances {
            shared: false,
            ..SHARED
        },
        // A host that never worked, or not for a week, is not moving.
        Circumstances {
            host_worked: None,
            ..SHARED
        },
        Circumstances {
            host_worked: Some(week),
            ..SHARED
        },
        // A move that takes longer than a day is none.
        Circumstances {
            gone_for: Duration::from_hours(24),
            ..SHARED
        },
    ] {
        assert_eq!(judge(&gone, false, &about).0, dead("status_404"));
        assert_eq!(weigh(&gone, &about), Weight::Success, "the host answered");
    }
}

#[test]
fn what_an_answer_says_about_its_host() {
    let final_ = Class::Final("status_422".to_owned());
    let busy = Class::Busy {
        reason: "status_503",
        retry_after: None,
    };
    for (class, weight) in [
        (Class::Delivered, Weight::Success),
        (final_, Weight::Success),
        (Class::Gone("status_410"), Weight::Success),
        (Class::HostDown("tls_expired"), Weight::AtOnce),
        (TROUBLE, Weight::Failure),
        (busy, Weight::Failure),
        (Class::TooMany { retry_after: None }, Weight::Neutral),
        (Class::Unauthorized { skew: None }, Weight::Neutral),
        (Class::OwnFault("signing"), Weight::Neutral),
        (Class::OwnKey, Weight::Neutral),
    ] {
        assert_eq!(weigh(&class, &ABOUT), weight, "{class:?}");
    }
}

#[test]
fn what_was_not_heard_is_tried_again_and_says_nothing_about_the_host() {
    let class = Class::HostTrouble("timeout").unheard();
    assert_eq!(weigh(&class, &ABOUT), Weight::Neutral);
    assert!(!class.may_be_ours(), "nor about our connection");
    let about = Circumstances {
        own_failures: 6,
        paced_for: Duration::from_hours(24 * 30),
        ..ABOUT
    };
    let (fate, own_failure) = judge(&class, false, &about);
    assert!(!own_failure);
    assert_eq!(fate.reason(), Some("timeout"));
    assert!(after(fate) <= HOUR, "it never ends as dead");
    for class in [class, Class::OwnKey] {
        let (fate, own_failure) = judge(&class, true, &about);
        assert_eq!(fate.reason(), class.error(), "no probe of a failing host");
        assert!(!own_failure && !after(fate).is_zero());
    }
    assert_eq!(
        Class::Delivered.unheard(),
        Class::Delivered,
        "an answer is one"
    );
}
