//! Replaces `$NAME` and `${NAME}` by environment variables, as Go's `os.Expand` does; `$$` is a dollar sign.
//!
//! It runs on the raw text before anything is parsed, because SPIRE does. A variable that does not exist is reported,
//! not emptied: a configuration with a hole in it starts a different program than the one that was meant.

use super::text::Text;
use super::tree::Position;

/// A variable the environment does not have, and where the file asks for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Undefined {
    pub(super) name: String,
    pub(super) at: Position,
}

/// The text with every variable replaced by its value.
///
/// # Errors
///
/// Every variable that is not defined, except in lines that are comments.
pub(super) fn expand(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Vec<Undefined>> {
    let mut expanded = String::with_capacity(text.len());
    let mut undefined = Vec::new();
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        let is_comment =
            line.trim_start().starts_with(['#']) || line.trim_start().starts_with("//");
        let mut head = Text::new(line);
        while let Some(character) = head.next() {
            if character != '$' {
                expanded.push(character);
                continue;
            }
            let column = head.at().column.saturating_sub(1);
            match name(&mut head) {
                Name::None => expanded.push('$'),
                Name::Malformed => {}
                Name::Variable("$") => expanded.push('$'),
                Name::Variable(name) => match environment(name) {
                    Some(value) => expanded.push_str(&value),
                    None if is_comment => {}
                    None => undefined.push(Undefined {
                        name: name.to_owned(),
                        at: Position { line: number, column },
                    }),
                },
            }
        }
    }
    if undefined.is_empty() { Ok(expanded) } else { Err(undefined) }
}

enum Name<'a> {
    Variable(&'a str),
    /// `${}` or `${` without its end: Go drops these characters.
    Malformed,
    /// No name follows: the dollar sign stays.
    None,
}

/// The name after a dollar sign, by the rules of a shell: braces, one special character, or a word.
fn name<'a>(head: &mut Text<'a>) -> Name<'a> {
    let start = head.rest();
    match head.peek() {
        Some('{') => {
            head.next();
            let start = head.rest();
            let Some((name, _)) = start.split_once('}').filter(|(name, _)| !name.is_empty()) else {
                head.take('}');
                return Name::Malformed;
            };
            for _ in name.chars() {
                head.next();
            }
            head.next();
            Name::Variable(name)
        }
        Some('*' | '#' | '$' | '@' | '!' | '?' | '-' | '0'..='9') => {
            head.next();
            Name::Variable(head.since(start))
        }
        _ => match head.take_while(|c| c.is_ascii_alphanumeric() || c == '_') {
            "" => Name::None,
            name => Name::Variable(name),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "NAME" => Some("example.org".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_in_every_spelling() {
        for (text, wanted) in [
            ("a = \"$NAME\"", "a = \"example.org\""),
            ("a = \"${NAME}x\"", "a = \"example.orgx\""),
            ("$NAME.$EMPTY.${NAME}", "example.org..example.org"),
            ("cost: 5$ or $$5", "cost: 5$ or $5"),
            ("${}", ""),
            ("${NAME", "NAME"),
            ("no dollar\n", "no dollar\n"),
        ] {
            assert_eq!(expand(text, &environment).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn every_undefined_variable_is_reported_with_its_place() {
        let undefined = expand("a = \"$ONE\"\n b = \"${TWO}\"\n", &environment).unwrap_err();
        let places: Vec<_> = undefined.iter().map(|u| format!("{} {}", u.at, u.name)).collect();
        assert_eq!(places, ["1:6 ONE", "2:7 TWO"]);
    }

    #[test]
    fn a_comment_may_name_a_variable_that_does_not_exist() {
        assert_eq!(expand("  # set $ONE\n// $TWO\n", &environment).unwrap(), "  # set \n// \n");
    }
}
