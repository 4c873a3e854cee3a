//! The shape of files: short enough to read, and in rooms with names of the field.

use super::SourceFile;
use super::source::lines_without_tests;

/// Past this a file has a seam where it can be parted, tests aside.
const LINES_MAX: usize = 500;

/// Files that are longer for a reason.
const LONG: &[(&str, &str)] = &[];

/// Names that say nothing about what is inside.
const NO_NAMES: [&str; 5] = ["utils", "util", "common", "helpers", "misc"];

pub(super) fn check(file: &SourceFile) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = lines_without_tests(&file.text);
    if lines > LINES_MAX && !LONG.iter().any(|(path, _)| *path == file.path) {
        complaints.push(format!(
            "{}: {lines} lines without tests, more than {LINES_MAX}: part it, or say why not in LONG in \
             xtask/src/tidy/shape.rs",
            file.path
        ));
    }
    for part in file.path.split('/') {
        if NO_NAMES.contains(&part.trim_end_matches(".rs")) {
            complaints.push(format!("{}: `{part}` says nothing about what is inside", file.path));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(path: &str, text: String) -> Vec<String> {
        check(&SourceFile { path: path.into(), part: "node".into(), text })
    }

    #[test]
    fn long_file_is_found_and_its_tests_do_not_count() {
        assert_eq!(complaints("node/src/a.rs", "x\n".repeat(501)).len(), 1);
        let tested =
            "x\n".repeat(400) + "\n#[cfg(test)]\nmod tests {\n" + &"x\n".repeat(400) + "}\n";
        assert!(complaints("node/src/a.rs", tested).is_empty());
    }

    #[test]
    fn name_that_says_nothing_is_found() {
        assert_eq!(complaints("node/src/utils.rs", String::new()).len(), 1);
        assert_eq!(complaints("node/src/common/mod.rs", String::new()).len(), 1);
        assert!(complaints("node/src/router.rs", String::new()).is_empty());
    }
}
