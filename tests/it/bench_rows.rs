//! A bench that misses its bound, or proves nothing, says so and fails.

#[path = "../../benches/harness/row.rs"]
#[allow(dead_code, reason = "the benches use the rest")]
mod row;

use crate::load_generator::load::stats;
use row::{Bound, Pair, Row, Verdict};
use serde_json::Value;

fn figure(value: f64) -> Row {
    Row::new("storm", "agent CPU per sidecar", value, "µs")
}

#[test]
fn a_figure_beyond_its_bound_is_broken_and_one_at_it_holds() {
    for (bound, held, broken) in [
        (Bound::AtMost(36.0), 36.0, 36.1),
        (Bound::AtLeast(20_000.0), 20_000.0, 19_999.0),
        (Bound::TimesLimit(3.0), 30.0, 30.1),
    ] {
        let verdict = |value| figure(value).limit(10.0).bound(bound).verdict();
        assert_eq!((verdict(held), verdict(broken)), (Verdict::Held, Verdict::Broken), "{bound:?}");
        assert!(verdict(broken).is_failure() && !verdict(held).is_failure());
    }
    assert_eq!(figure(1.0).verdict(), Verdict::Reported);
    assert!(!Verdict::Reported.is_failure());
}

#[test]
fn a_spoilt_run_proves_nothing_whatever_it_measured() {
    let spoilt = figure(1.0).bound(Bound::AtMost(2.0)).void(Some("wrong answers".to_owned()));
    assert_eq!(spoilt.verdict(), Verdict::Void("wrong answers".to_owned()));
    let unlimited = figure(1.0).bound(Bound::TimesLimit(2.0));
    assert!(matches!(unlimited.verdict(), Verdict::Void(_)));
    assert!(spoilt.verdict().is_failure() && unlimited.verdict().is_failure());
}

#[test]
fn a_row_reads_the_same_in_the_table_and_as_json() {
    let row = figure(104.2).limit(40.0).bound(Bound::TimesLimit(3.0)).detail("verified", 20);
    let line = row.to_string();
    for part in ["storm", "104 µs", "40.0", "2.60 ×", "≤ 3.0 ×", "held"] {
        assert!(line.contains(part), "{part} is missing in {line}");
    }
    let json = row.json(&Value::Null);
    assert_eq!((&json["verdict"], &json["bound"]), (&"held".into(), &"≤ 3.0 ×".into()));
    assert_eq!((&json["details"]["verified"], json["value"].as_f64()), (&20.into(), Some(104.2)));
}

#[test]
fn a_figure_is_compared_with_the_limit_that_was_measured_beside_it() {
    // The machine became slower by half during the run, and once a neighbour disturbed the product.
    let pairs = [(20.0, 10.0), (90.0, 15.0), (30.0, 15.0), (20.0, 10.0), (33.0, 15.0)];
    let pairs = pairs.map(|(measured, limit)| Pair { measured, limit });
    let row = Row::paired("storm", "agent CPU per sidecar", &pairs, "µs");
    let json = row.bound(Bound::TimesLimit(2.0)).json(&Value::Null);
    assert_eq!((json["ratio"].as_f64(), &json["verdict"]), (Some(2.0), &"held".into()));
    assert_eq!((json["limit"].as_f64(), json["value"].as_f64()), (Some(15.0), Some(30.0)));
    assert_eq!(json["details"]["largest_ratio"].as_f64(), Some(6.0));
}
