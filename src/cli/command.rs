//! A command, and how the words after a program's name find it (SPIRE uses mitchellh/cli 1.1.5, whose
//! rules these are).

use super::{Failure, chain::chain, console, exit::Exit, failure, flags::FlagSet};
use std::fmt::Write as _;

/// What a command does with its flags.
pub(super) trait Command {
    /// Adds the command's flags; each writes into the command.
    fn flags<'a>(&'a mut self, flags: &mut FlagSet<'a>);

    /// Does it.
    fn run(self: Box<Self>) -> Result<(), Failure>;
}

/// A command as a program lists it.
pub(super) struct Listed {
    /// The words that call it: `entry create`.
    pub(super) path: &'static str,
    /// One line on what it does.
    pub(super) synopsis: &'static str,
    /// What stands before its errors: `Error: `.
    pub(super) error_prefix: &'static str,
    /// Makes it: [`made`].
    pub(super) make: fn() -> Box<dyn Command>,
}

/// Makes a command with every flag at its default.
pub(super) fn made<C: Command + Default + 'static>() -> Box<dyn Command> {
    Box::<C>::default()
}

/// A program and its commands, sorted by path.
pub(super) struct Program {
    /// As the user calls it.
    pub(super) name: &'static str,
    /// What it can do.
    pub(super) commands: &'static [Listed],
}

/// What the words of a command line lead to.
enum Found<'p> {
    Command(&'p Listed, usize),
    Group(String),
    Nothing,
}

impl Program {
    /// Runs what `arguments` (without the program's name) ask for.
    pub(super) fn run(&self, arguments: &[String]) -> Exit {
        let before_dashes = || arguments.iter().take_while(|argument| *argument != "--");
        let wants_help =
            before_dashes().any(|word| matches!(word.as_str(), "-h" | "-help" | "--help"));
        let first = arguments.iter().position(|word| !word.starts_with('-') && !word.is_empty());
        let leading = arguments.get(..first.unwrap_or(arguments.len())).unwrap_or_default();
        if leading.iter().any(|word| matches!(word.as_str(), "-v" | "-version" | "--version")) {
            console::tell(concat!(env!("CARGO_PKG_VERSION"), "\n"));
            return Exit::Success;
        }
        let words = arguments.get(leading.len()..).unwrap_or_default();
        let found = self.find(words);
        match found {
            Found::Nothing => {
                console::tell(&self.usage());
                if wants_help && words.is_empty() { Exit::Success } else { Exit::UnknownCommand }
            }
            Found::Group(group) => {
                console::tell(&self.group_usage(&group));
                if wants_help { Exit::Success } else { Exit::Failure }
            }
            Found::Command(listed, _) if wants_help => {
                console::tell(&listed.help());
                Exit::Success
            }
            Found::Command(listed, _) if leading.iter().any(|word| word != "--") => {
                console::tell(&format!(
                    "unexpected {}: flags follow the command\n{}",
                    leading.join(" "),
                    listed.usage()
                ));
                Exit::Failure
            }
            Found::Command(listed, taken) => listed.run(words.get(taken..).unwrap_or_default()),
        }
    }

    /// The command with the most words, else the group of commands that the first words name.
    fn find(&self, words: &[String]) -> Found<'_> {
        let named = words.iter().take_while(|word| !word.starts_with('-') && !word.contains(' '));
        let named: Vec<&str> = named.map(String::as_str).collect();
        for length in (1..=named.len()).rev() {
            let path = named.get(..length).unwrap_or_default().join(" ");
            if let Some(listed) = self.commands.iter().find(|listed| listed.path == path) {
                return Found::Command(listed, length);
            }
            if self.members(&path).next().is_some() {
                return Found::Group(path);
            }
        }
        Found::Nothing
    }

    /// The commands below `group`, each with the word that follows the group.
    fn members<'p>(&'p self, group: &str) -> impl Iterator<Item = (&'static str, &'p Listed)> {
        let prefix = format!("{group} ");
        self.commands
            .iter()
            .filter_map(move |listed| Some((listed.path.strip_prefix(&prefix)?, listed)))
    }

    fn usage(&self) -> String {
        let mut text = format!(
            "Usage: {} [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n",
            self.name
        );
        let mut lines: Vec<(&str, &str)> = Vec::new();
        for listed in self.commands {
            match listed.path.split_once(' ') {
                None => lines.push((listed.path, listed.synopsis)),
                Some((group, _)) if lines.last().is_some_and(|(name, _)| *name == group) => {}
                Some((group, _)) => lines.push((group, "")),
            }
        }
        text.push_str(&aligned(&lines));
        text.push('\n');
        text
    }

    fn group_usage(&self, group: &str) -> String {
        let members: Vec<_> = self.members(group).filter(|(word, _)| !word.contains(' ')).collect();
        let mut text: String = members.iter().map(|(_, listed)| listed.usage()).collect();
        text.push_str(
            "This command is accessed by using one of the subcommands below.\n\nSubcommands:\n",
        );
        let lines: Vec<_> = members.iter().map(|(word, listed)| (*word, listed.synopsis)).collect();
        text.push_str(&aligned(&lines));
        text
    }
}

impl Listed {
    fn run(&self, arguments: &[String]) -> Exit {
        let mut command = (self.make)();
        let parsed = {
            let mut flags = FlagSet::default();
            command.flags(&mut flags);
            flags.parse(arguments)
        };
        if let Err(error) = parsed {
            console::tell(&format!("{error}\n{}", self.usage()));
            return Exit::Failure;
        }
        match command.run() {
            Ok(()) | Err(Failure::NoReader) => Exit::Success,
            Err(Failure::Told) => Exit::Failure,
            Err(Failure::Error(error)) => {
                let mut text = format!("{}{}\n", self.error_prefix, chain(error.as_ref()));
                if let Some(hint) = failure::hint(error.as_ref()) {
                    // Writing to a String cannot fail.
                    let _ = writeln!(text, "hint: {hint}");
                }
                console::tell(&text);
                Exit::Failure
            }
        }
    }

    fn usage(&self) -> String {
        let mut command = (self.make)();
        let mut flags = FlagSet::default();
        command.flags(&mut flags);
        flags.usage(self.path)
    }

    /// Go ends the help of a command with the error that asking for help is.
    fn help(&self) -> String {
        format!("{}flag: help requested\n", self.usage())
    }
}

fn aligned(lines: &[(&str, &str)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, synopsis) in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    {name:width$}    {synopsis}");
    }
    text
}
