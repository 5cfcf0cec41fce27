//! The commands that README.md tells to type are those of the Makefile. Those of charts/README.md are typed in a
//! cluster, by `tests/e2e/readme.rs`.

use std::{fs, path::Path};

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn every_command_of_the_readme_is_a_target_of_the_makefile() {
    let (readme, makefile) = (file("README.md"), file("Makefile"));
    let fenced = readme.split("```sh\n").skip(1).flat_map(|rest| {
        let (block, _) = rest.split_once("```").unwrap();
        block.lines()
    });
    let inline = readme.split('`').filter(|span| span.starts_with("make "));
    let mut count = 0;
    for command in fenced.chain(inline) {
        let mut words = command.split_whitespace();
        assert_eq!(words.next(), Some("make"), "{command}: no test runs it");
        let target = words.next().unwrap();
        assert!(makefile.contains(&format!("\n{target}: ")), "{command}: no such target");
        count += 1;
    }
    assert!(count > 4, "only {count} commands were found");
}
