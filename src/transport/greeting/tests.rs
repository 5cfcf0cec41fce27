use super::*;

/// The settings in a SETTINGS frame, in order.
fn settings_in(frame: &[u8]) -> Vec<(u16, u32)> {
    let setting = |octets: &[u8]| {
        let (id, value) = octets.split_first_chunk::<2>().unwrap();
        (u16::from_be_bytes(*id), u32::from_be_bytes(value.try_into().unwrap()))
    };
    frame[FRAME_HEADER_BYTES..].chunks(SETTING_BYTES).map(setting).collect()
}

#[test]
fn the_greeting_is_what_h2_sends_and_our_mark() {
    let greeting = Greeting::record().unwrap();
    let recorded = settings_in(&greeting.recorded);
    for expected in [(0x3, 1_000), (0x4, 256 * 1_024), (0x6, 16 * 1_024)] {
        assert!(recorded.contains(&expected), "{expected:?} in {recorded:?}");
    }
    let sent = settings_in(&greeting.sent);
    assert_eq!(sent.split_last().unwrap(), (&(MARK, MARK_VALUE), &recorded[..]));
    assert_eq!(usize::from(greeting.sent[2]), greeting.sent.len() - FRAME_HEADER_BYTES);
}

#[test]
fn only_a_whole_marked_greeting_is_ours() {
    let greeting = Greeting::record().unwrap();
    assert!(is_ours(&greeting.sent) && is_ours(&greeting.refusal));
    assert!(!is_ours(&greeting.recorded), "another h2 server is not ours");
    for length in 0..greeting.sent.len() {
        assert!(!is_ours(&greeting.sent[..length]));
    }
    assert!(!is_ours(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
}
