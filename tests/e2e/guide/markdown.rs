//! The commands and files in a page of Markdown.

/// The text of the fenced block that begins with `mark`, without that.
pub(crate) fn block<'t>(page: &'t str, mark: &str) -> &'t str {
    let (_, after) = page.split_once(mark).unwrap_or_else(|| panic!("no block with {mark:?}"));
    after.split_once("```").unwrap().0
}

/// The commands of each chapter, in the order of the page.
pub(crate) fn chapters(page: &str) -> Vec<(&str, Vec<String>)> {
    let mut chapters: Vec<(&str, Vec<String>)> = Vec::new();
    let mut is_inside = false;
    for line in page.lines() {
        if is_inside && line == "```" {
            is_inside = false;
        } else if is_inside {
            let (_, commands) = chapters.last_mut().expect("a heading before the first command");
            match commands.last_mut().filter(|command| goes_on(command)) {
                Some(command) => command.extend(["\n", line]),
                None => commands.push(line.to_owned()),
            }
        } else if line == "```sh" {
            is_inside = true;
        } else if let Some((_, title)) = line.split_once("# ").filter(|_| line.starts_with('#')) {
            chapters.push((title, Vec::new()));
        }
    }
    chapters.retain(|(_, commands)| !commands.is_empty());
    chapters
}

/// Whether the next line is of this command, too.
fn goes_on(command: &str) -> bool {
    let is_open = command.contains("<<EOF") && !command.ends_with("\nEOF");
    is_open || command.ends_with('\\')
}

#[test]
fn commands_are_found_by_chapter() {
    let page = "# A\n```sh\na \\\n  b\nc <<EOF\nd\nEOF\n```\n## B\n```yaml\n# m\ne\n```\n### C\n```sh\nf\n```\n";
    let expected = [("A", vec!["a \\\n  b", "c <<EOF\nd\nEOF"]), ("C", vec!["f"])];
    let found = chapters(page);
    let found: Vec<_> = found
        .iter()
        .map(|(title, commands)| (*title, commands.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(block(page, "# m\n"), "e\n");
}
