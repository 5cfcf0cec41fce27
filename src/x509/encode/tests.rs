use super::*;
use std::time::Duration;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut to = Vec::new();
    write(&mut to);
    to
}

#[test]
fn lengths_are_definite_and_as_short_as_they_can_be() {
    for (length, head) in [
        (0, &[0x04, 0x00][..]),
        (127, &[0x04, 0x7F]),
        (128, &[0x04, 0x81, 0x80]),
        (256, &[0x04, 0x82, 0x01, 0x00]),
        (65_536, &[0x04, 0x83, 0x01, 0x00, 0x00]),
    ] {
        let content = vec![0x5A; length];
        let element = written(|to| primitive(to, 0x04, &content));
        assert_eq!(element, [head, &content].concat(), "{length}");
        assert!(super::super::der::is_framed(&element));
    }
}

#[test]
fn integers_are_not_negative() {
    for (bytes, content) in
        [(&[][..], &[0x00][..]), (&[0x7F], &[0x7F]), (&[0x80, 0x01], &[0x00, 0x80, 0x01])]
    {
        assert_eq!(written(|to| unsigned(to, bytes))[2..], *content);
    }
}

#[test]
fn times_change_their_form_with_2050() {
    for (secs, content) in [
        (0, "\x17\x0D700101000000Z"),
        (1_800_000_061, "\x17\x0D270115080101Z"),
        (2_524_607_999, "\x17\x0D491231235959Z"),
        (2_524_608_000, "\x18\x0F20500101000000Z"),
    ] {
        // Fractions do not count.
        let at = UNIX_EPOCH + Duration::from_secs(secs) + Duration::from_millis(999);
        assert_eq!(written(|to| time(to, at)), content.as_bytes(), "{secs}");
    }
}

#[test]
fn any_object_identifier_can_name_an_attribute() {
    for (dotted, content) in [
        ("2.5.4.3", &[0x55, 0x04, 0x03][..]),
        ("1.2.840.113549.1.9.1", &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x01]),
        ("2.999.0.128", &[0x88, 0x37, 0x00, 0x81, 0x00]),
    ] {
        assert_eq!(written(|to| object_identifier(to, dotted)), content, "{dotted}");
    }
}

#[test]
fn a_value_is_printable_or_else_utf8() {
    let tag_of = |value: &str| {
        let name = Name::default().with(AttributeKind::Organization, value);
        // The SEQUENCE, SET and SEQUENCE around, and the OID.
        written(|to| super::name(to, &name))[11]
    };
    assert_eq!(tag_of("SPIRE (1.15): a+b=c?"), PRINTABLE_STRING);
    assert_eq!(tag_of("under_score"), UTF8_STRING);
    assert_eq!(tag_of("Zürich"), UTF8_STRING);
}
