//! Answers for people and for programs.

use std::io::{self, Write as _};

use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::failure::Failure;

/// How answers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For programs and people
    Yaml,
}

/// An answer: its fields are what programs read, [`Answer::table`] what people do.
pub(crate) trait Answer: Serialize {
    /// Lines that end with a newline.
    fn table(&self) -> String;
}

/// Writes `answer` to the standard output. A reader that has seen enough, like `head`, is no failure.
///
/// # Errors
/// [`Failure::Output`].
pub(crate) fn print(answer: &impl Answer, format: Format) -> Result<(), Failure> {
    match io::stdout().write_all(render(answer, format)?.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn render(answer: &impl Answer, format: Format) -> Result<String, Failure> {
    Ok(match format {
        Format::Table => answer.table(),
        Format::Json => serde_json::to_string_pretty(answer).map_err(io::Error::from)? + "\n",
        Format::Yaml => serde_yaml::to_string(answer).map_err(io::Error::other)?,
    })
}

/// Columns under their names. Those in `numbers` are aligned to the right.
pub(crate) fn columns(
    names: &[&str],
    numbers: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(names).add_rows(rows);
    for (at, name) in names.iter().enumerate() {
        if let Some(column) = table.column_mut(at) {
            column.set_padding((0, 2));
            if numbers.contains(name) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt() + "\n"
}

/// Facts below each other, each behind its name.
pub(crate) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    facts.iter().map(|(name, fact)| format!("{name:width$}  {fact}\n")).collect()
}

/// Something that is not there.
pub(crate) const NONE: &str = "-";

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Pair {
        first_key: u64,
    }

    impl Answer for Pair {
        fn table(&self) -> String {
            columns(
                &["KEY", "N"],
                &["N"],
                [vec!["a".into(), "7".into()], vec!["bcd".into(), "10".into()]],
            )
        }
    }

    #[test]
    fn one_answer_has_three_forms() {
        let answer = Pair { first_key: 7 };
        let of = |format| render(&answer, format).unwrap();
        assert_eq!(of(Format::Table), "KEY   N\na     7\nbcd  10\n");
        assert_eq!(of(Format::Json), "{\n  \"firstKey\": 7\n}\n");
        assert_eq!(of(Format::Yaml), "firstKey: 7\n");
    }

    #[test]
    fn facts_stand_below_each_other() {
        let text = facts(&[("Id", "7".into()), ("Leader", "2".into())]);
        assert_eq!(text, "Id      7\nLeader  2\n");
    }
}
