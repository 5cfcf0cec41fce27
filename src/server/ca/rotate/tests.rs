//! The schedule as a table, and what no situation may lead to.

use super::*;
use proptest::prelude::*;
use std::time::UNIX_EPOCH;

const HOUR: u64 = 3_600;
const TIMING: Timing =
    Timing { propagation: Duration::from_secs(10), svid_ttl: Duration::from_secs(HOUR) };

fn at(secs: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000 + secs)
}

fn life(from: u64, to: u64) -> Life {
    Life { issued_at: at(from), not_after: at(to) }
}

fn wait(secs: u64) -> Next {
    Next::Wait(Duration::from_secs(secs))
}

fn published(life: Life, age: u64, reach: Reach, audience: Audience) -> Option<Prepared> {
    let publication = Publication { age: Duration::from_secs(age), reach, audience };
    Some(Prepared { life, publication: Some(publication) })
}

fn decide(now: u64, active: Option<Life>, prepared: Option<Prepared>) -> Next {
    next(&Situation { now: at(now), active, prepared }, &TIMING)
}

#[test]
fn an_authority_of_a_day_is_followed_at_spires_hours() {
    let (active, successor) = (life(0, 24 * HOUR), life(12 * HOUR, 36 * HOUR));
    let unpublished = Some(Prepared { life: successor, publication: None });
    let done = |now| published(successor, now - 12 * HOUR, Reach::Acknowledged, Audience::Existing);
    assert_eq!(decide(0, Some(active), None), wait(12 * HOUR));
    assert_eq!(decide(12 * HOUR - 1, Some(active), None), wait(1));
    assert_eq!(decide(12 * HOUR, Some(active), None), Next::Prepare);
    assert_eq!(decide(12 * HOUR, Some(active), unpublished), Next::Publish);
    assert_eq!(decide(12 * HOUR, Some(active), done(12 * HOUR)), wait(8 * HOUR));
    assert_eq!(decide(20 * HOUR - 1, Some(active), done(20 * HOUR)), wait(1));
    assert_eq!(decide(20 * HOUR, Some(active), done(20 * HOUR)), Next::Activate);
}

#[test]
fn an_authority_of_a_year_is_followed_a_month_and_a_week_before_its_end() {
    let year = life(0, 365 * 24 * HOUR);
    assert_eq!(year.prepare_at(), at((365 - 30) * 24 * HOUR));
    assert_eq!(year.activate_at(), at((365 - 7) * 24 * HOUR));
}

#[test]
fn only_the_first_authority_ever_is_activated_at_once() {
    let new = life(0, 24 * HOUR);
    assert_eq!(decide(0, None, None), Next::Prepare);
    let first = published(new, 0, Reach::Lagging, Audience::Nobody);
    assert_eq!(decide(0, None, first), Next::Activate);
    let cold = |age, reach| published(new, age, reach, Audience::Existing);
    assert_eq!(decide(0, None, cold(0, Reach::Acknowledged)), wait(10));
    assert_eq!(decide(10, None, cold(10, Reach::Acknowledged)), Next::Activate);
    assert_eq!(decide(10, None, cold(10, Reach::Lagging)), wait(10), "waits for who is behind");
    assert_eq!(decide(20, None, cold(20, Reach::Lagging)), Next::Activate, "but not for ever");
}

#[test]
fn an_expired_authority_counts_as_none() {
    let (dead, other_dead) = (life(0, 10), life(5, 20));
    assert_eq!(decide(11, Some(dead), None), Next::Prepare);
    let prepared = published(other_dead, 10, Reach::Acknowledged, Audience::Existing);
    assert_eq!(decide(21, Some(dead), prepared), Next::Prepare);
    let late = published(life(5, 24 * HOUR), 5_000, Reach::Acknowledged, Audience::Existing);
    assert_eq!(decide(6_000, Some(dead), late), Next::Activate, "long since published");
}

#[test]
fn a_late_authority_waits_for_the_propagation_time_even_past_its_due_hour() {
    let active = life(0, 24 * HOUR);
    let late = |age, reach| published(life(23 * HOUR, 47 * HOUR), age, reach, Audience::Existing);
    let now = 21 * HOUR;
    assert_eq!(decide(now, Some(active), late(0, Reach::Acknowledged)), wait(10));
    assert_eq!(decide(now, Some(active), late(10, Reach::Acknowledged)), Next::Activate);
    assert_eq!(decide(now, Some(active), late(10, Reach::Lagging)), wait(10));
    let last_call = 23 * HOUR;
    assert_eq!(decide(last_call - 4, Some(active), late(10, Reach::Lagging)), wait(4));
    assert_eq!(decide(last_call, Some(active), late(10, Reach::Lagging)), Next::Activate);
    assert_eq!(decide(last_call, Some(active), late(0, Reach::Lagging)), wait(10));
}

#[test]
fn a_life_of_seconds_leaves_time_to_propagate_and_to_wait() {
    let (active, successor) = (life(0, 12), life(6, 18));
    let after = |age, reach| published(successor, age, reach, Audience::Existing);
    assert_eq!(decide(6, Some(active), None), Next::Prepare);
    assert_eq!(decide(6, Some(active), after(0, Reach::Acknowledged)), wait(4));
    assert_eq!(decide(10, Some(active), after(4, Reach::Acknowledged)), Next::Activate);
    assert_eq!(decide(10, Some(active), after(4, Reach::Lagging)), wait(1));
    assert_eq!(decide(11, Some(active), after(5, Reach::Lagging)), Next::Activate);
}

fn any_life() -> impl Strategy<Value = Life> {
    (0_u64..2_000_000, 1_u64..50_000_000).prop_map(|(from, span)| life(from, from + span))
}

fn any_prepared() -> impl Strategy<Value = Prepared> {
    let reach = prop_oneof![Just(Reach::Acknowledged), Just(Reach::Lagging)];
    let publication = (0_u64..100_000, reach).prop_map(|(age, reach)| Publication {
        age: Duration::from_secs(age),
        reach,
        audience: Audience::Existing,
    });
    (any_life(), proptest::option::of(publication))
        .prop_map(|(life, publication)| Prepared { life, publication })
}

proptest! {
    #[test]
    fn nothing_is_activated_before_it_was_published_for_the_propagation_time(
        now in 0_u64..60_000_000,
        active in proptest::option::of(any_life()),
        prepared in proptest::option::of(any_prepared()),
    ) {
        if decide(now, active, prepared) == Next::Activate {
            let prepared = prepared.unwrap();
            let needed = TIMING.propagation.min(prepared.life.span() / 6);
            prop_assert!(prepared.publication.unwrap().age >= needed);
            let is_due = active.is_none_or(|a| at(now) > a.not_after || at(now) >= a.activate_at());
            prop_assert!(is_due);
        }
    }

    #[test]
    fn a_wait_that_is_waited_ends_in_an_action(
        now in 0_u64..60_000_000,
        active in proptest::option::of(any_life()),
        prepared in proptest::option::of(any_prepared()),
    ) {
        let before = Situation { now: at(now), active, prepared };
        if let Next::Wait(wait) = next(&before, &TIMING) {
            let mut after = Situation { now: before.now + wait, ..before };
            if let Some(publication) = after.prepared.as_mut().and_then(|p| p.publication.as_mut()) {
                publication.age += wait;
            }
            prop_assert!(!matches!(next(&after, &TIMING), Next::Wait(_)), "{:?}", wait);
        }
    }
}
