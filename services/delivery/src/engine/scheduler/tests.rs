use std::collections::HashMap;
use std::time::Duration;

use super::*;

const LIMITS: Limits = Limits {
    posts: 100,
    slow_posts: 2,
};

fn place(host: &str, lane: Lane, key: &str, seq: i64) -> Place {
    Place {
        host: host.into(),
        shard: 0,
        lane,
        order_key: key.into(),
        seq,
        cost: 2_000,
    }
}

/// Pushes under a key of its own.
fn push(scheduler: &mut Scheduler<u32>, host: &str, lane: Lane, what: u32, now: Instant) {
    let key = format!("{host}-{what}");
    scheduler.push(place(host, lane, &key, 1), what, now);
}

fn end(scheduler: &mut Scheduler<u32>, ticket: &Ticket, now: Instant) {
    scheduler.finished(ticket, false, now);
    let left = scheduler.settled(&ticket.place, true);
    assert!(left.is_empty());
}

#[test]
fn hosts_take_turns_however_much_one_has() {
    let now = Instant::now();
    let mut scheduler = Scheduler::new(LIMITS);
    for n in 0..100 {
        push(&mut scheduler, "big.test", Lane::Bulk, n, now);
    }
    for n in 0..3 {
        push(&mut scheduler, "small.test", Lane::Bulk, 1_000 + n, now);
    }
    let mut order = Vec::new();
    for _ in 0..9 {
        let (ticket, what) = scheduler.next(now).expect("work");
        end(&mut scheduler, &ticket, now);
        order.push(what);
    }
    let small = order.iter().filter(|what| **what >= 1_000).count();
    assert_eq!(small, 3, "{order:?}");
}

#[test]
fn a_host_is_sent_no_more_than_its_window_at_once() {
    let now = Instant::now();
    let mut scheduler = Scheduler::new(LIMITS);
    for n in 0..10 {
        push(&mut scheduler, "a.test", Lane::Bulk, n, now);
    }
    let first = scheduler.next(now).expect("the window is two");
    let _second = scheduler.next(now).expect("the window is two");
    assert!(scheduler.next(now).is_none());
    assert!(!scheduler.has_ready());
    end(&mut scheduler, &first.0, now);
    assert!(scheduler.next(now).is_some());
}

#[test]
fn lanes_share_by_weight_and_the_lowest_has_a_floor() {
    let now = Instant::now();
    let mut scheduler = Scheduler::new(LIMITS);
    for n in 0..300 {
        for (lane, base) in [(Lane::Now, 0), (Lane::Bulk, 1_000), (Lane::Slow, 2_000)] {
            push(&mut scheduler, &format!("h{n}.test"), lane, base + n, now);
        }
    }
    let mut counts = [0; 3];
    for _ in 0..130 {
        let (ticket, what) = scheduler.next(now).expect("work");
        counts[(what / 1_000) as usize] += 1;
        end(&mut scheduler, &ticket, now);
    }
    assert_eq!(counts, [80, 40, 10]);
}

#[test]
fn one_order_key_goes_one_by_one_in_the_order_of_seq() {
    let now = Instant::now();
    let mut scheduler = Scheduler::new(LIMITS);
    for seq in [1, 3, 2] {
        scheduler.push(place("a.test", Lane::Bulk, "k", seq), seq as u32, now);
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        let (ticket, what) = scheduler.next(now).expect("work");
        assert!(scheduler.next(now).is_none(), "one at a time");
        end(&mut scheduler, &ticket, now);
        order.push(what);
    }
    assert_eq!(order, [1, 2, 3]);
}

#[test]
fn one_activity_goes_to_several_inboxes_of_a_host_at_once() {
    let now = Instant::now();
    let mut scheduler = Scheduler::new(LIMITS);
    for what in [1, 2] {
        scheduler.push(place("a.test", Lane::Bulk, "k", 1), what, now);
        scheduler.push(place("a.test", Lane::Bulk, "k", 2), what + 10, now);
    }
    let (first, _) = scheduler.next(now).expect("one inbox");
    let (second, _) = scheduler.next(now).expect("and the other");
    end(&mut scheduler, &first, now);
    assert!(scheduler.next(now).is_none(), "not ended everywhere");
    end(&mut scheduler, &second, now);
    let (_, what) = scheduler.next(now).expect("the next activity");
    assert!(what > 10);
}

#[test]
fn what_waits_behind_something_that_did_not_end_is_given_back() {
    let now = Instant::now();
    let mut scheduler = Scheduler::new(LIMITS);
    for seq in 1..=3 {
        scheduler.push(place("a.test", Lane::Bulk, "k", seq), seq as u32, now);
    }
    let (ticket, _) = scheduler.next(now).expect("work");
    scheduler.finished(&ticket, true, now);
    assert_eq!(scheduler.settled(&ticket.place, false), [2, 3]);
    assert_eq!(scheduler.in_hand("a.test"), 0);
    // The key is free again.
    scheduler.push(place("a.test", Lane::Bulk, "k", 4), 4, now);
    assert!(scheduler.next(now).is_some());
}

#[test]
fn slow_hosts_wait_among_themselves() {
    let now = Instant::now();
    let mut scheduler = Scheduler::new(LIMITS);
    let host = |n| format!("slow{n}.test");
    for n in 0..4 {
        push(&mut scheduler, &host(n), Lane::Bulk, n, now);
    }
    let mut slow: Vec<Ticket> = (0..4)
        .map(|_| scheduler.next(now).expect("work").0)
        .collect();
    for ticket in &mut slow {
        scheduler.takes_long(ticket);
    }
    for n in 0..4 {
        push(&mut scheduler, &host(n), Lane::Bulk, 100 + n, now);
    }
    push(&mut scheduler, "quick.test", Lane::Now, 9, now);
    let (_, what) = scheduler.next(now).expect("a place for the quick one");
    assert_eq!(what, 9);
    assert!(scheduler.next(now).is_none(), "slow ones have no place");
    for ticket in slow.drain(..3) {
        scheduler.finished(&ticket, true, now);
        scheduler.settled(&ticket.place, true);
    }
    assert!(scheduler.next(now).is_some());
}

#[test]
fn a_host_that_asked_for_peace_has_it_until_then() {
    let now = Instant::now();
    let mut scheduler = Scheduler::new(LIMITS);
    push(&mut scheduler, "a.test", Lane::Now, 1, now);
    let until = now + Duration::from_secs(30);
    scheduler.host_mut(&"a.test".into(), 0, now).hold_until = Some(until);
    assert!(scheduler.next(now).is_none());
    assert_eq!(scheduler.next_timer(), Some(until));
    assert!(scheduler.next(until).is_some());
}

#[test]
fn a_failing_hosts_work_is_taken_out_whole() {
    let now = Instant::now();
    let mut scheduler = Scheduler::new(LIMITS);
    for seq in 1..=2 {
        scheduler.push(place("a.test", Lane::Bulk, "k", seq), seq as u32, now);
        scheduler.push(place("a.test", Lane::Now, "l", seq), 10 + seq as u32, now);
    }
    let (ticket, what) = scheduler.next(now).expect("work");
    assert_eq!(what, 11, "the urgent lane first");
    let mut taken = scheduler.take_waiting(&"a.test".into());
    taken.sort_unstable();
    assert_eq!(taken, [1, 2, 12]);
    scheduler.finished(&ticket, false, now);
    assert!(scheduler.settled(&ticket.place, true).is_empty());
    assert!(scheduler.next(now).is_none());
    assert_eq!(scheduler.forget_idle(now + Duration::from_secs(1)).len(), 1);
    assert_eq!(scheduler.hosts(), 0);
}

proptest::proptest! {
    /// Whatever comes and goes, everything pushed comes out exactly once, no host is over its
    /// window, and one order key never has two on their way.
    #[test]
    fn everything_comes_out_once(pushes in proptest::collection::vec((0_u8..5, 0_u8..3, 0_u8..4), 1..200)) {
        let now = Instant::now();
        let mut scheduler = Scheduler::new(Limits { posts: 7, slow_posts: 2 });
        for (n, (host, lane, key)) in pushes.iter().enumerate() {
            let lane = Lane::ALL[usize::from(*lane)];
            let place = place(&format!("h{host}.test"), lane, &format!("k{key}"), n as i64);
            scheduler.push(place, n as u32, now);
        }
        let mut seen = std::collections::HashSet::new();
        let mut flying: VecDeque<Ticket> = VecDeque::new();
        loop {
            while let Some((ticket, what)) = scheduler.next(now) {
                proptest::prop_assert!(seen.insert(what));
                let twin = flying.iter().any(|other| other.place.host == ticket.place.host
                    && other.place.order_key == ticket.place.order_key);
                proptest::prop_assert!(!twin);
                flying.push_back(ticket);
                proptest::prop_assert!(flying.len() <= 7);
            }
            let Some(ticket) = flying.pop_front() else { break };
            scheduler.finished(&ticket, false, now);
            proptest::prop_assert!(scheduler.settled(&ticket.place, true).is_empty());
        }
        proptest::prop_assert_eq!(seen.len(), pushes.len());
    }
}

#[test]
fn hosts_with_long_bodies_get_no_more_bytes_than_others() {
    let now = Instant::now();
    let mut scheduler = Scheduler::new(LIMITS);
    for what in 0..100 {
        for (host, cost) in [("long.test", 40_000), ("short.test", 4_000)] {
            let place = Place {
                cost,
                ..place(host, Lane::Bulk, &format!("{host}-{what}"), 1)
            };
            scheduler.push(place, what, now);
        }
    }
    let mut bytes = HashMap::new();
    for _ in 0..66 {
        let (ticket, _) = scheduler.next(now).expect("work");
        end(&mut scheduler, &ticket, now);
        *bytes.entry(ticket.place.host.to_string()).or_insert(0) += ticket.place.cost;
    }
    let (long, short) = (bytes["long.test"], bytes["short.test"]);
    assert!(
        long.abs_diff(short) <= 40_000,
        "{long} bytes to one, {short} to the other"
    );
}
