use super::*;
use crate::transport::pieces::{Pieces, read_all};
use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;

const PREFACE: &[u8; PREFACE_BYTES] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const END_HEADERS: u8 = 0x4;
const END_STREAM: u8 = 0x1;

/// What is read when `octets` arrive in pieces of these lengths (over and over), into a buffer that
/// has room for `room` octets a read.
fn read_in_pieces(octets: &[u8], lengths: &[usize], room: usize) -> Vec<u8> {
    read_all(Acceptable::new(Pieces::of(octets, lengths), Progress::default()), room)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The block of a gRPC request with this field as its authority.
fn block(authority: &[u8]) -> Vec<u8> {
    let path = b"/spiffe.workload.SpiffeWorkloadAPI/FetchX509SVID";
    let length = [u8::try_from(path.len()).unwrap()];
    [&[0x83, 0x86][..], authority, &[0x04], &length, path].concat()
}

/// The fields that real clients send, by what sends them.
fn authorities() -> Vec<(&'static str, Vec<u8>)> {
    let encoded = b"%2Frun%2Fsecrets%2Fworkload-spiffe-uds%2Fsocket";
    let raw = b"/tmp/spire-agent/public/api.sock";
    let length = |value: &[u8]| u8::try_from(value.len()).unwrap();
    vec![
        ("grpc c-core", [&[0x40, 10], &b":authority"[..], &[length(encoded)], encoded].concat()),
        ("old grpc-go", [&[0x41, length(raw)], &raw[..]].concat()),
        ("go, huffman-coded", vec![0x41, 0x85, 0x60, 0x4c, 0xf7, 0x14, 0xff]),
        ("no host", vec![0x01, 0x00]),
        ("grpc-go", [&[0x41, 9], &b"localhost"[..]].concat()),
        ("envoy", [&[0x41, 8], &b"sds-grpc"[..]].concat()),
    ]
}

#[tokio::test]
async fn h2_accepts_the_authority_of_every_client() {
    for (client, authority) in authorities() {
        let (mut theirs, ours) = tokio::io::duplex(64 * 1_024);
        let first = frame(HEADERS_FRAME, END_HEADERS | END_STREAM, 1, &block(&authority));
        // A second request that finds the first one's authority in the dynamic table.
        let again = [&[0x83, 0x86, 0x80 | 62][..], &block(&[])[2..]].concat();
        let again = frame(HEADERS_FRAME, END_HEADERS | END_STREAM, 3, &again);
        let indexed = authority[0] & 0x40 != 0;
        let requests = if indexed { [first, again].concat() } else { first };
        let octets = [&PREFACE[..], &frame(0x4, 0, 0, &[]), &requests].concat();
        theirs.write_all(&octets).await.unwrap();
        let io = Acceptable::new(ours, Progress::default());
        let mut connection = h2::server::handshake(io).await.unwrap();
        for _ in 0..=usize::from(indexed) {
            let (request, _respond) = connection.accept().await.unwrap().expect(client);
            assert!(request.uri().path().ends_with("/FetchX509SVID"), "{client}");
        }
    }
}

#[test]
fn padding_and_priority_are_skipped() {
    let payload = |flags, field: &[u8]| match flags {
        PADDED => [&[2][..], field, &[0x41, 4]].concat(),
        PRIORITY => [&[0x41, 4, b'/', b'/', b'/'][..], field].concat(),
        _ => [&[2, 0, 0, 0, 1, 9][..], field, &[0, 0]].concat(),
    };
    for flags in [PADDED, PRIORITY, PADDED | PRIORITY] {
        let octets = |field: &[u8]| {
            [&PREFACE[..], &frame(HEADERS_FRAME, flags, 1, &payload(flags, field))].concat()
        };
        let read = read_in_pieces(&octets(b"\x41\x04/tmp"), &[usize::MAX], 4_096);
        assert_eq!(read, octets(b"\x41\x84\xfc\xfc\xfc\xfc"), "flags {flags:#x}");
    }
}

#[test]
fn what_is_no_small_headers_frame_passes_untouched() {
    let field = [&[0x41, 4][..], b"/tmp"].concat();
    let huge = field.repeat(MAX_FRAME_BYTES / field.len() + 1);
    let frames = [(0x0, &field), (0x9, &field), (0x4, &field), (HEADERS_FRAME, &huge)];
    for (kind, payload) in frames {
        let octets = [&PREFACE[..], &frame(kind, 0, 1, payload)].concat();
        assert_eq!(read_in_pieces(&octets, &[1_000], 4_096), octets, "kind {kind}");
    }
}

#[test]
fn a_frame_that_never_becomes_whole_is_handed_on_at_the_end_of_input() {
    let whole = [&PREFACE[..], &frame(HEADERS_FRAME, 0, 1, &block(&[0x41, 1, b'/']))].concat();
    for length in 0..whole.len() {
        assert_eq!(read_in_pieces(&whole[..length], &[7], 5), whole[..length]);
    }
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        prop::sample::select(authorities()).prop_map(|(_, authority)| block(&authority)),
        prop::collection::vec(any::<u8>(), 0..20_000),
    ];
    let kind = prop_oneof![Just(HEADERS_FRAME), Just(0x0), Just(0x9), any::<u8>()];
    let flags = prop_oneof![Just(END_HEADERS), Just(0x28), any::<u8>()];
    (kind, flags, payload).prop_map(|(kind, flags, payload)| frame(kind, flags, 1, &payload))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn how_octets_arrive_does_not_change_what_is_read(
        frames in prop::collection::vec(any_frame(), 0..6),
        lengths in prop::collection::vec(1_usize..4_000, 1..8),
        room in 1_usize..9_000,
    ) {
        let sent = [PREFACE.to_vec(), frames.concat()].concat();
        let at_once = read_in_pieces(&sent, &[usize::MAX], sent.len());
        prop_assert_eq!(at_once.len(), sent.len());
        prop_assert!(read_in_pieces(&sent, &lengths, room) == at_once);
        // Only the payloads of HEADERS frames may differ.
        let mut at = PREFACE_BYTES;
        for frame in frames {
            let kept = if frame[3] == HEADERS_FRAME { FRAME_HEADER_BYTES } else { frame.len() };
            prop_assert!(at_once[at..at + kept] == frame[..kept]);
            at += frame.len();
        }
    }
}
