//! Reads the arguments of a command by Go's rules.

use super::{FlagSet, Refusal, set::Flag};
use crate::cli::go::quote::{printable, quoted};

/// Arguments that do not fit the flags of a command. The texts are Go's, except for
/// [`ParseError::Stray`], which Go ignores together with every flag after it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum ParseError {
    /// `-=value`, `---name`.
    #[error("bad flag syntax: {}", printable(.0))]
    Syntax(String),
    /// No such flag.
    #[error("flag provided but not defined: -{}", printable(.0))]
    Unknown(String),
    /// A value is missing.
    #[error("flag needs an argument: -{0}")]
    NoValue(&'static str),
    /// A value of the wrong form.
    #[error("invalid value {} for flag -{name}: {cause}", quoted(.text))]
    Value {
        /// Which flag.
        name: &'static str,
        /// What was typed.
        text: String,
        /// Why it was not taken.
        cause: Refusal,
    },
    /// A switch with something other than true or false.
    #[error("invalid boolean value {} for -{name}: {cause}", quoted(.text))]
    Switch {
        /// Which flag.
        name: &'static str,
        /// What was typed.
        text: String,
        /// Why it was not taken.
        cause: Refusal,
    },
    /// Something that belongs to no flag.
    #[error(
        "unexpected argument {}: values follow their flag, and a switch takes its value as -switch=false",
        quoted(.0)
    )]
    Stray(String),
}

impl FlagSet<'_> {
    /// Writes every argument to its flag's place.
    ///
    /// # Errors
    /// The first argument that does not fit.
    pub(in crate::cli) fn parse(&mut self, arguments: &[String]) -> Result<(), ParseError> {
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                break;
            }
            let (name, attached) = split(argument)?;
            let flag = self
                .flags
                .iter_mut()
                .find(|flag| flag.name == name)
                .ok_or_else(|| ParseError::Unknown(name.to_owned()))?;
            if flag.value.placeholder().is_none() {
                set_switch(flag, attached.unwrap_or("true"))?;
                continue;
            }
            let text = attached
                .or_else(|| rest.next().map(String::as_str))
                .ok_or(ParseError::NoValue(flag.name))?;
            flag.value.set(text).map_err(|cause| {
                let text = text.to_owned();
                ParseError::Value { name: flag.name, text, cause }
            })?;
        }
        rest.next().map_or(Ok(()), |stray| Err(ParseError::Stray(stray.clone())))
    }
}

fn set_switch(flag: &mut Flag<'_>, text: &str) -> Result<(), ParseError> {
    flag.value.set(text).map_err(|cause| {
        let text = text.to_owned();
        ParseError::Switch { name: flag.name, text, cause }
    })
}

/// `-name`, `--name`, with or without `=value`.
fn split(argument: &str) -> Result<(&str, Option<&str>), ParseError> {
    let stray = || ParseError::Stray(argument.to_owned());
    let dashed = argument.strip_prefix('-').filter(|rest| !rest.is_empty()).ok_or_else(stray)?;
    let named = dashed.strip_prefix('-').unwrap_or(dashed);
    if named.is_empty() || named.starts_with(['-', '=']) {
        return Err(ParseError::Syntax(argument.to_owned()));
    }
    Ok(named.split_once('=').map_or((named, None), |(name, value)| (name, Some(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Flags {
        text: String,
        list: Vec<String>,
        number: i64,
        switch: bool,
    }

    fn parse(arguments: &[&str]) -> Result<Flags, ParseError> {
        let mut flags = Flags::default();
        let mut set = FlagSet::default();
        set.add("text", &mut flags.text, "");
        set.add("list", &mut flags.list, "");
        set.add("number", &mut flags.number, "");
        set.add("switch", &mut flags.switch, "");
        let arguments: Vec<_> = arguments.iter().map(|&text| text.to_owned()).collect();
        set.parse(&arguments)?;
        Ok(flags)
    }

    fn refusal(arguments: &[&str]) -> String {
        parse(arguments).err().unwrap().to_string()
    }

    #[test]
    fn every_spelling_of_a_flag_is_read() {
        for arguments in [["-text", "v"], ["--text", "v"]] {
            assert_eq!(parse(&arguments).unwrap().text, "v");
        }
        for argument in ["-text=v", "--text=v"] {
            assert_eq!(parse(&[argument]).unwrap().text, "v");
        }
        let read = parse(&["-list", "a", "-list=b=c", "-number", "-5", "-switch", "--"]).unwrap();
        assert_eq!(
            (read.list, read.number, read.switch),
            (vec!["a".into(), "b=c".into()], -5, true)
        );
        assert!(!parse(&["-switch", "--switch=false"]).unwrap().switch);
        assert_eq!(
            parse(&["-text", "-switch"]).unwrap().text,
            "-switch",
            "a value may have a dash"
        );
        assert_eq!(parse(&["-text="]).unwrap().text, "");
    }

    #[test]
    fn refusals_are_gos() {
        for (arguments, expected) in [
            (&["-nonsense"][..], "flag provided but not defined: -nonsense"),
            (&["--Text=x"], "flag provided but not defined: -Text"),
            (&["-text"], "flag needs an argument: -text"),
            (&["---text"], "bad flag syntax: ---text"),
            (&["-=x"], "bad flag syntax: -=x"),
            (&["-switch=maybe"], r#"invalid boolean value "maybe" for -switch: parse error"#),
            (&["-number", "1x"], r#"invalid value "1x" for flag -number: parse error"#),
            (&["-number", "010"], r#"invalid value "010" for flag -number: parse error"#),
            (
                &["-number", "99999999999999999999"],
                r#"invalid value "99999999999999999999" for flag -number: value out of range"#,
            ),
        ] {
            assert_eq!(refusal(arguments), expected);
        }
    }

    #[test]
    fn a_value_without_flag_is_refused_instead_of_ending_the_flags() {
        for arguments in [&["-list", "a", "b"][..], &["-switch", "true"], &["-"], &["--", "x"]] {
            assert!(refusal(arguments).starts_with("unexpected argument "), "{arguments:?}");
        }
    }
}
