use super::*;

/// A literal field with incremental indexing, its name by index and its value raw.
fn by_index(value: &[u8]) -> Vec<u8> {
    [&[0x41, u8::try_from(value.len()).unwrap()], value].concat()
}

/// The octets of a replacement of this length, with their length before them.
fn replacement(length: u8) -> Vec<u8> {
    [vec![HUFFMAN | length], vec![LETTER; usize::from(length)]].concat()
}

/// [`by_index`] with its value replaced.
fn replaced(length: u8) -> Vec<u8> {
    [vec![0x41], replacement(length)].concat()
}

fn neutralised(block: &[u8]) -> Vec<u8> {
    let mut edited = block.to_vec();
    neutralise_authority(&mut edited);
    edited
}

#[test]
fn every_spelling_of_an_authority_is_overwritten_in_place() {
    let raw_name = |first: u8| [&[first, 10], AUTHORITY, &[3], b"%2F"].concat();
    let huffman_name = [&[0x40, 0x88], AUTHORITY_HUFFMAN, &[2], b"a/"].concat();
    let cases: [(&str, Vec<u8>, Vec<u8>); 9] = [
        ("encoded path", by_index(b"%2Ftmp%2Fs"), replaced(10)),
        ("plain host", by_index(b"sds-grpc"), replaced(8)),
        ("raw path", by_index(b"/tmp/agent.sock"), replaced(15)),
        ("not indexed", vec![0x01, 1, b'/'], [vec![0x01], replacement(1)].concat()),
        ("never indexed", vec![0x11, 1, b'/'], [vec![0x11], replacement(1)].concat()),
        ("huffman value", vec![0x41, 0x82, 0xf1, 0xe3], replaced(2)),
        ("raw name", raw_name(0x40), [&[0x40, 10], AUTHORITY, &replacement(3)].concat()),
        (
            "raw name, never indexed",
            raw_name(0x10),
            [&[0x10, 10], AUTHORITY, &replacement(3)].concat(),
        ),
        (
            "huffman name",
            huffman_name,
            [&[0x40, 0x88], AUTHORITY_HUFFMAN, &replacement(2)].concat(),
        ),
    ];
    for (name, before, after) in cases {
        assert_eq!(neutralised(&before), after, "{name}");
        // Wherever it stands: after a table size update and indexed fields, before others.
        let around = |field: &[u8]| [&[0x3f, 0xe1, 0x1f, 0x83, 0x86], field, &[0x84]].concat();
        assert_eq!(neutralised(&around(&before)), around(&after), "{name} among others");
    }
}

#[test]
fn a_long_authority_keeps_its_length() {
    let mut block = vec![0x41, 0x7f, 0x81, 0x01]; // 127 + 1 + 128 = 256
    block.extend([b'/'; 256]);
    let edited = neutralised(&block);
    assert_eq!(edited.len(), block.len());
    assert_eq!(edited[..4], [0x41, 0xff, 0x81, 0x01]);
    assert!(edited[4..].iter().all(|octet| *octet == LETTER));
}

#[test]
fn every_other_field_stays_as_it_is() {
    let path = [&[0x44, 5], &b"/a%2F"[..]].concat();
    assert_eq!(neutralised(&path), path);
}

#[test]
fn an_empty_authority_is_taken_out_and_the_length_kept() {
    let after = [&[0x84][..], &by_index(b"localhost")].concat();
    let literal = |name: &[u8], length: u8| [&[0x00, length], name, &[0]].concat();
    let spellings = [
        vec![0x01, 0x00],
        vec![0x11, 0x80],
        literal(AUTHORITY, 10),
        literal(AUTHORITY_HUFFMAN, 0x88),
    ];
    for field in spellings {
        let edited = neutralised(&[&[0x83][..], &field, &after].concat());
        assert_eq!(edited, [&[0x83][..], &after, &vec![NOTHING; field.len()]].concat());
    }
}

#[test]
fn only_the_first_authority_is_touched_so_that_many_cost_no_more_than_one() {
    let many = [0x01, 0x00].repeat(8_000);
    let edited = neutralised(&many);
    assert_eq!(edited, [&many[2..], &[NOTHING; 2]].concat());
}

#[test]
fn a_block_that_is_cut_off_is_left_alone_from_the_cut_on() {
    let whole = [by_index(b"/first"), by_index(b"/second")].concat();
    for length in 0..whole.len() {
        let first_fits = length >= 8;
        let edited = neutralised(&whole[..length]);
        assert_eq!(edited.starts_with(&replaced(6)), first_fits);
        assert_eq!(edited[8.min(length)..], whole[8.min(length)..length]);
    }
    for wrong in [&[0x41, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01][..], &[0x7f, 0xff], &[0x40]] {
        assert_eq!(neutralised(wrong), wrong, "integers that overflow or end early");
    }
}

proptest::proptest! {
    #[test]
    fn no_block_is_ever_resized_or_makes_us_panic(block: Vec<u8>) {
        proptest::prop_assert_eq!(neutralised(&block).len(), block.len());
    }

    #[test]
    fn editing_twice_is_editing_once(block: Vec<u8>) {
        let once = neutralised(&block);
        proptest::prop_assert_eq!(neutralised(&once), once);
    }
}
