//! The usage text of a command in Go's shape.

use super::FlagSet;
use std::fmt::Write as _;

impl FlagSet<'_> {
    /// `Usage of TITLE:` and every flag with its help and default, by name.
    pub(in crate::cli) fn usage(&self, title: &str) -> String {
        let mut text = format!("Usage of {title}:\n");
        let mut flags: Vec<_> = self.flags.iter().collect();
        flags.sort_by_key(|flag| flag.name);
        for flag in flags {
            // Writing to a String cannot fail.
            let _ = write!(text, "  -{}", flag.name);
            if let Some(placeholder) = flag.value.placeholder() {
                let _ = write!(text, " {placeholder}");
            }
            let _ = write!(text, "\n    \t{}", flag.help);
            if let Some(default) = flag.value.default_text() {
                let _ = write!(text, " (default {default})");
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_sorted_and_shows_kind_and_default() {
        let (mut path, mut ttl, mut list, mut deep) =
            (String::from("/s"), 600_i64, Vec::<String>::new(), false);
        let mut set = FlagSet::default();
        set.add("ttl", &mut ttl, "Life");
        set.add("path", &mut path, "Where");
        set.add("list", &mut list, "Some");
        set.add("deep", &mut deep, "Whether");
        let expected = "Usage of x:\n  -deep\n    \tWhether\n  -list value\n    \tSome\n  \
                        -path string\n    \tWhere (default \"/s\")\n  -ttl int\n    \tLife (default 600)\n";
        assert_eq!(set.usage("x"), expected);
    }
}
