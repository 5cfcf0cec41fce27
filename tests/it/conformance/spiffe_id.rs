//! SPIFFE-ID: the rules for IDs and trust domains, each on every byte and at every boundary.

use finial::spiffe::{SpiffeId, TrustDomain, id::Error};
use proptest::prelude::*;

fn parse(text: &str) -> Result<SpiffeId, Error> {
    SpiffeId::parse(text)
}

fn assert_refused(texts: &[&str], error: Error) {
    for text in texts {
        assert_eq!(parse(text).err(), Some(error), "{text:?}");
    }
}

fn assert_accepted(texts: &[&str]) {
    for text in texts {
        assert_eq!(parse(text).map(|id| id.to_string()).as_deref(), Ok(*text));
    }
}

/// `valid` with the code point put in front, in the middle and behind.
fn with_everywhere(valid: &str, code_point: char) -> [String; 3] {
    let (left, right) = valid.split_at(valid.len() / 2);
    [
        format!("{code_point}{valid}"),
        format!("{left}{code_point}{right}"),
        format!("{valid}{code_point}"),
    ]
}

fn code_points() -> impl Iterator<Item = char> {
    (0..=255_u8).map(char::from)
}

#[test]
fn the_scheme_is_spiffe_in_lower_case() {
    assert_refused(
        &[
            "Spiffe://trust-domain/path",
            "SPIFFE://trust-domain/path",
            "http://trust-domain/path",
            "spiffe:/trust-domain/path",
            "spiffe:trust-domain/path",
            "//trust-domain/path",
            "/path",
            "trust-domain",
            " spiffe://trust-domain/path",
            "spiffe",
        ],
        Error::Scheme,
    );
    assert_refused(&[""], Error::Empty);
}

#[test]
fn an_upper_case_trust_domain_is_refused_and_not_folded() {
    assert_refused(
        &["spiffe://Trust-domain/path", "spiffe://TRUST-DOMAIN", "spiffe://trust-domaiN"],
        Error::TrustDomainCharacter,
    );
    assert_eq!(TrustDomain::parse("Example.org"), Err(Error::TrustDomainCharacter));
}

#[test]
fn the_trust_domain_is_not_empty() {
    assert_refused(&["spiffe://", "spiffe:///", "spiffe:///path"], Error::MissingTrustDomain);
    assert_eq!(TrustDomain::parse(""), Err(Error::MissingTrustDomain));
}

#[test]
fn user_information_and_ports_are_refused() {
    assert_refused(
        &[
            "spiffe://user@td/path",
            "spiffe://user:password@td/path",
            "spiffe://@td/path",
            "spiffe://td:80/path",
            "spiffe://td:/path",
            "spiffe://[::1]/path",
        ],
        Error::TrustDomainCharacter,
    );
}

#[test]
fn a_trust_domain_has_only_its_own_characters_in_every_position() {
    for code_point in code_points() {
        let is_allowed = matches!(code_point, 'a'..='z' | '0'..='9' | '.' | '-' | '_');
        for name in with_everywhere("td", code_point) {
            let parsed = TrustDomain::parse(&name);
            let expected = if is_allowed { Ok(()) } else { Err(Error::TrustDomainCharacter) };
            assert_eq!(parsed.map(drop), expected, "{name:?}");
            // Within an ID a slash ends the name.
            if code_point != '/' {
                let id = parse(&format!("spiffe://{name}/path"));
                assert_eq!(id.map(drop), expected, "{name:?}");
            }
        }
    }
}

#[test]
fn a_path_has_only_its_own_characters_in_every_position() {
    for code_point in code_points() {
        let is_allowed = matches!(code_point, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_');
        if code_point == '/' {
            continue;
        }
        for segment in with_everywhere("path", code_point) {
            let expected = if is_allowed { Ok(()) } else { Err(Error::PathCharacter) };
            for path in [format!("/{segment}"), format!("/a/{segment}/b")] {
                assert_eq!(parse(&format!("spiffe://td{path}")).map(drop), expected, "{path:?}");
                let member = TrustDomain::parse("td").unwrap().member(&path);
                assert_eq!(member.map(drop), expected, "{path:?}");
            }
        }
    }
}

#[test]
fn percent_encoding_is_refused_everywhere() {
    assert_refused(
        &["spiffe://%F0%9F%A4%AF/path", "spiffe://t%64/path"],
        Error::TrustDomainCharacter,
    );
    assert_refused(
        &["spiffe://td/%F0%9F%A4%AF", "spiffe://td/pa%74h", "spiffe://td/a%2Fb", "spiffe://td/%"],
        Error::PathCharacter,
    );
}

#[test]
fn queries_and_fragments_are_refused_empty_ones_too() {
    assert_refused(
        &["spiffe://td/path?q", "spiffe://td/path?", "spiffe://td/path#f", "spiffe://td/path#"],
        Error::PathCharacter,
    );
    assert_refused(
        &["spiffe://td?q", "spiffe://td?", "spiffe://td#f", "spiffe://td#"],
        Error::TrustDomainCharacter,
    );
}

#[test]
fn segments_are_not_empty() {
    assert_refused(
        &["spiffe://td//", "spiffe://td//path", "spiffe://td/a//b", "spiffe://td/a//"],
        Error::EmptySegment,
    );
    assert_refused(
        &["spiffe://td/", "spiffe://td/path/", "spiffe://td/a/b/"],
        Error::TrailingSlash,
    );
}

#[test]
fn dot_segments_are_refused_and_names_with_dots_are_not() {
    assert_refused(
        &[
            "spiffe://td/.",
            "spiffe://td/..",
            "spiffe://td/./path",
            "spiffe://td/path/./other",
            "spiffe://td/path/..",
            "spiffe://td/path/../other",
        ],
        Error::DotSegment,
    );
    assert_accepted(&[
        "spiffe://td/...",
        "spiffe://td/.path",
        "spiffe://td/..path",
        "spiffe://td/path.",
        "spiffe://td/path/.../other",
    ]);
}

#[test]
fn an_id_has_at_most_2048_bytes() {
    let id_of = |bytes: usize| format!("spiffe://td/{}", "a".repeat(bytes - "spiffe://td/".len()));
    assert_accepted(&[&id_of(2047), &id_of(2048)]);
    assert_refused(&[&id_of(2049)], Error::Length(2049));
}

#[test]
fn a_trust_domain_has_at_most_255_bytes() {
    let (longest, too_long) = ("a".repeat(255), "a".repeat(256));
    assert_eq!(TrustDomain::parse(&longest).map(|td| td.name().to_owned()), Ok(longest.clone()));
    assert_eq!(TrustDomain::parse(&too_long), Err(Error::TrustDomainLength(256)));
    assert_accepted(&[&format!("spiffe://{longest}/path")]);
    assert_refused(&[&format!("spiffe://{too_long}/path")], Error::TrustDomainLength(256));
}

#[test]
fn no_id_over_2048_bytes_is_made() {
    let td = TrustDomain::parse("td").unwrap();
    let path_of = |bytes: usize| format!("/{}", "a".repeat(bytes - "spiffe://td/".len()));
    assert_eq!(td.member(&path_of(2048)).map(|id| id.as_str().len()), Ok(2048));
    assert_eq!(td.member(&path_of(2049)), Err(Error::Length(2049)));
}

#[test]
fn names_that_are_no_dns_names_are_like_any_other() {
    assert_accepted(&[
        "spiffe://10.0.0.1/x",
        "spiffe://a_b/x",
        "spiffe://-/x",
        "spiffe://./x",
        "spiffe://../x",
        "spiffe://_",
        "spiffe://a..b",
        "spiffe://xn--80ak6aa92e",
    ]);
}

#[test]
fn paths_compare_byte_for_byte() {
    let id = |text| parse(text).unwrap();
    assert_ne!(id("spiffe://td/Path"), id("spiffe://td/path"));
    assert_ne!(id("spiffe://td/a/b"), id("spiffe://td/a.b"));
    assert_eq!(id("spiffe://td/path"), id("spiffe://td/path"));
    // Neither part may run into the other.
    assert!(!id("spiffe://td.x/path").is_member_of(&TrustDomain::parse("td").unwrap()));
}

#[test]
fn text_that_looks_alike_is_refused_and_not_folded() {
    // A Cyrillic е, a fullwidth slash, a ligature, a dotless i, a byte order mark.
    assert_refused(
        &["spiffe://\u{435}xample", "spiffe://td\u{ff0f}path"],
        Error::TrustDomainCharacter,
    );
    assert_refused(&["\u{feff}spiffe://td", "\u{17f}piffe://td"], Error::Scheme);
    assert_refused(
        &["spiffe://td/o\u{fb03}ce", "spiffe://td/adm\u{131}n", "spiffe://td/a\u{ff0f}b"],
        Error::PathCharacter,
    );
}

#[test]
fn spire_and_below_is_reserved_and_what_only_looks_so_is_not() {
    let is_reserved = |text| parse(text).unwrap().is_reserved();
    for text in ["spiffe://td/spire", "spiffe://td/spire/server", "spiffe://td/spire/agent/x/y"] {
        assert!(is_reserved(text), "{text}");
    }
    for text in ["spiffe://td", "spiffe://td/spirey", "spiffe://td/a/spire", "spiffe://td/Spire"] {
        assert!(!is_reserved(text), "{text}");
    }
}

#[test]
fn the_server_and_its_agents_have_their_own_paths() {
    let td = TrustDomain::parse("example.org").unwrap();
    assert_eq!(td.server_id().as_str(), "spiffe://example.org/spire/server");
    assert_eq!(td.server_id(), parse("spiffe://example.org/spire/server").unwrap());
    let is_agent = |text| parse(text).unwrap().is_agent();
    assert!(is_agent("spiffe://td/spire/agent/join_token/abc"));
    for text in ["spiffe://td/spire/agent", "spiffe://td/spire/agents/x", "spiffe://td/agent/x"] {
        assert!(!is_agent(text), "{text}");
    }
}

#[test]
fn the_parts_make_the_whole() {
    let id = parse("spiffe://example.org/ns/default/sa/web").unwrap();
    assert_eq!((id.trust_domain_name(), id.path()), ("example.org", "/ns/default/sa/web"));
    assert_eq!(id.trust_domain().member(id.path()), Ok(id));
    let bare = parse("spiffe://example.org").unwrap();
    assert_eq!(bare.path(), "");
    assert_eq!(bare.trust_domain().id(), bare);
}

#[test]
fn a_member_path_starts_with_a_slash() {
    let td = TrustDomain::parse("td").unwrap();
    assert_eq!(td.member("path"), Err(Error::NoLeadingSlash));
    assert_eq!(td.member(""), Err(Error::Empty));
    assert_eq!(td.member("/"), Err(Error::TrailingSlash));
}

/// SPIFFE-ID §2 as a pattern, apart from the two lengths and the dot segments.
const VALID: &str = r"spiffe://[a-z0-9._-]{1,40}(/[a-zA-Z0-9._-]{1,12}){0,6}";

fn has_dot_segment(text: &str) -> bool {
    text.split('/').skip(3).any(|segment| segment == "." || segment == "..")
}

proptest! {
    #[test]
    fn what_was_parsed_is_what_is_rendered(text in VALID) {
        match parse(&text) {
            Ok(id) => {
                prop_assert_eq!(id.to_string(), text.clone());
                prop_assert_eq!(parse(&id.to_string()), Ok(id.clone()));
                prop_assert_eq!(format!("{}{}", id.trust_domain().id(), id.path()), text);
            }
            Err(error) => {
                prop_assert_eq!(error, Error::DotSegment);
                prop_assert!(has_dot_segment(&text));
            }
        }
    }

    #[test]
    fn any_text_is_accepted_as_it_is_or_refused(text in r"(spiffe://)?[ -~\u{80}-\u{ff}]{0,60}") {
        if let Ok(id) = parse(&text) {
            prop_assert_eq!(id.as_str(), text.as_str());
            prop_assert!(text.is_ascii() && !has_dot_segment(&text) && !text.ends_with('/'));
        }
    }
}
