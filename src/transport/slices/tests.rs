use super::*;
use crate::transport::pieces::{Pieces, read_all};
use proptest::prelude::*;

const PREFACE: &[u8; PREFACE_BYTES] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is read when `octets` arrive in pieces of these lengths (over and over), into a buffer that
/// has room for `room` octets a read.
fn read_in_pieces(octets: &[u8], lengths: &[usize], room: usize) -> Vec<u8> {
    read_all(Sliced::new(Pieces::of(octets, lengths)), room)
}

/// Kind, flags, stream and payload.
type Frame = (u8, u8, u32, Vec<u8>);

fn frame((kind, flags, stream, payload): &Frame) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[*kind, *flags], &stream.to_be_bytes(), payload].concat()
}

fn frames(octets: &[u8]) -> Vec<Frame> {
    let (mut rest, mut frames) = (octets, Vec::new());
    while let Some((header, after)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let length =
            usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]);
        frames.push((header[3], header[4], stream, after[..length].to_vec()));
        rest = &after[length..];
    }
    frames
}

/// The frames with each stretch of plain DATA on one stream as one frame.
fn joined(frames: Vec<Frame>) -> Vec<Frame> {
    let mut joined: Vec<Frame> = Vec::new();
    for (kind, flags, stream, payload) in frames {
        match joined.last_mut() {
            Some((DATA_FRAME, before, same, all))
                if kind == DATA_FRAME
                    && *same == stream
                    && (*before | flags) & PADDED == 0
                    && *before & !END_STREAM == flags & !END_STREAM
                    && *before & END_STREAM == 0 =>
            {
                all.extend(payload);
                *before = flags;
            }
            _ => joined.push((kind, flags, stream, payload)),
        }
    }
    joined
}

#[test]
fn a_long_data_frame_comes_in_pieces_of_which_only_the_last_ends_the_stream() {
    let long: Vec<u8> = (0..16_384_u32).map(|n| n.to_le_bytes()[0]).collect();
    let next = (0x4, 0, 0, vec![1, 2, 3]);
    let sent = [&PREFACE[..], &frame(&(DATA_FRAME, END_STREAM, 5, long.clone())), &frame(&next)];
    let read = read_in_pieces(&sent.concat(), &[8_192], 8_192);
    let mut got = frames(&read[PREFACE_BYTES..]);
    assert_eq!(got.pop(), Some(next));
    assert!(got.len() > 2 && got.iter().all(|(_, _, _, piece)| piece.len() <= 8_192));
    let flags: Vec<_> = got.iter().map(|(_, flags, ..)| *flags).collect();
    let (last, others) = flags.split_last().unwrap();
    assert!(*last == END_STREAM && others.iter().all(|flags| *flags == 0), "{flags:?}");
    assert_eq!(joined(got), [(DATA_FRAME, END_STREAM, 5, long)]);
}

#[test]
fn short_padded_and_other_frames_pass_untouched() {
    for (kind, flags, length) in
        [(DATA_FRAME, 0, PIECE_BYTES), (DATA_FRAME, PADDED, 16_384), (0x1, 0, 16_384)]
    {
        let sent = [&PREFACE[..], &frame(&(kind, flags, 1, vec![7; length]))].concat();
        assert!(read_in_pieces(&sent, &[1_000], 4_096) == sent, "kind {kind}, flags {flags}");
    }
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let length = prop_oneof![0..300_usize, 0..20_000_usize];
    let payload = length.prop_flat_map(|length| prop::collection::vec(any::<u8>(), length));
    let kind = prop_oneof![Just(DATA_FRAME), Just(DATA_FRAME), Just(0x1), Just(0x9)];
    let flags = prop_oneof![Just(0), Just(END_STREAM), Just(PADDED)];
    (kind, flags, 1..3_u32, payload)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn however_octets_arrive_the_same_frames_are_read(
        sent in prop::collection::vec(any_frame(), 0..6),
        lengths in prop::collection::vec(1_usize..9_000, 1..8),
        room in 1_usize..9_000,
    ) {
        let octets = [PREFACE.to_vec(), sent.iter().flat_map(frame).collect()].concat();
        let read = read_in_pieces(&octets, &lengths, room);
        prop_assert!(read.starts_with(PREFACE));
        prop_assert!(joined(frames(&read[PREFACE_BYTES..])) == joined(sent));
    }
}
