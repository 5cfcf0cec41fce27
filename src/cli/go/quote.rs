//! Text that is safe to show: nothing that was stored or received can move the cursor, colour the
//! terminal or reorder a line. The escapes are Go's.

use std::{borrow::Cow, fmt::Write as _};

/// `text` with every character that would act instead of being seen written as an escape.
pub(in crate::cli) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        push(&mut shown, character);
    }
    Cow::Owned(shown)
}

/// As [`printable`], but line breaks and tabs stay: for messages of several lines.
pub(in crate::cli) fn printable_lines(text: &str) -> String {
    let parts = text.split_inclusive(['\n', '\t']).map(|part| {
        let seen = part.trim_end_matches(['\n', '\t']);
        printable(seen) + part.get(seen.len()..).unwrap_or_default()
    });
    parts.collect()
}

/// Go's `%q`.
pub(in crate::cli) fn quoted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 2);
    shown.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            shown.push('\\');
        }
        push(&mut shown, character);
    }
    shown.push('"');
    shown
}

fn push(shown: &mut String, character: char) {
    // Writing to a String cannot fail.
    let _ = match character {
        '\x07' => shown.write_str("\\a"),
        '\x08' => shown.write_str("\\b"),
        '\x0c' => shown.write_str("\\f"),
        '\n' => shown.write_str("\\n"),
        '\r' => shown.write_str("\\r"),
        '\t' => shown.write_str("\\t"),
        '\x0b' => shown.write_str("\\v"),
        '\0'..='\x1f' | '\x7f' => write!(shown, "\\x{:02x}", u32::from(character)),
        hidden if is_hidden(hidden) && u32::from(hidden) > 0xffff => {
            write!(shown, "\\U{:08x}", u32::from(hidden))
        }
        hidden if is_hidden(hidden) => write!(shown, "\\u{:04x}", u32::from(hidden)),
        seen => shown.write_char(seen),
    };
}

/// Control characters, and the format characters that reorder, join or hide text (Unicode TR 36 §3).
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_shown_as_an_escape() {
        assert_eq!(printable("plain 🙂 ü"), "plain 🙂 ü");
        assert_eq!(printable("\x1b[31mred\r\n\u{9b}2J"), "\\x1b[31mred\\r\\n\\u009b2J");
        assert_eq!(printable("a\u{202e}b"), "a\\u202eb");
        assert_eq!(printable_lines("one\n\t\rtwo\x1b\n"), "one\n\t\\rtwo\\x1b\n");
    }

    #[test]
    fn quoting_is_gos() {
        assert_eq!(quoted("a \"b\" \\ \x00\x7f\n"), r#""a \"b\" \\ \x00\x7f\n""#);
    }
}
