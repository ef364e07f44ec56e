//! What is wrong with the input: which file, line, column and field, and what to write instead.

use std::fmt::{self, Write as _};

use super::node::At;

/// How many faults are told: who has more mends these first.
pub(super) const MAX_FAULTS: usize = 1000;

/// How many characters a message has at most. One that shows a value may be as long as the value.
const MAX_MESSAGE: usize = 1000;

/// One thing that is wrong with the input.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Fault {
    /// The file, `-` for the standard input.
    pub file: String,
    /// The line, counted from 1; 0 where it is the whole file.
    pub line: u64,
    /// The column, counted from 1.
    pub column: u64,
    /// A sentence that names the field, the value and the mend.
    pub message: String,
}

impl Fault {
    pub(super) fn new(file: &str, at: At, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
            message.push_str(" ...");
            message.shrink_to_fit();
        }
        Self { file: file.into(), line: at.line, column: at.column, message }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            _ => write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message),
        }
    }
}

/// One step from a value to one inside of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Field(String),
    Index(usize),
}

/// The way to a field, as messages write it: `spec.allowed[1].cidrs[0]`.
pub(super) fn way(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        // Writing to a String does not fail.
        let _ = match step {
            Step::Index(index) => write!(text, "[{index}]"),
            Step::Field(name) if !is_plain(name) => write!(text, "[\"{}\"]", name.escape_debug()),
            Step::Field(name) if text.is_empty() => write!(text, "{name}"),
            Step::Field(name) => write!(text, ".{name}"),
        };
    }
    text
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// What a person who wrote `name` meant: `write egress`, or all there is to choose from.
pub(super) fn mend(name: &str, known: &[&str]) -> String {
    match closest(name, known) {
        Some(meant) => format!("write {meant}"),
        None if known.is_empty() => "remove it".into(),
        None => format!("remove it, or write one of {}", known.join(", ")),
    }
}

/// The one of `known` that differs least from `name`, unless that is a different word.
fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let best = known.iter().map(|word| (distance(&lower, &word.to_lowercase()), *word)).min()?;
    (best.0 <= (name.len() / 3).max(1)).then_some(best.1)
}

/// How many letters are missing, added, changed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    // Long words are no typing errors, and the table below grows with them.
    let (a, b): (Vec<char>, Vec<char>) =
        (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_mended_and_another_word_is_not() {
        let known = ["egress", "ingress", "mode"];
        assert_eq!(mend("egres", &known), "write egress");
        assert_eq!(mend("Egerss", &known), "write egress");
        assert_eq!(mend("firewall", &known), "remove it, or write one of egress, ingress, mode");
        assert_eq!(mend("x", &[]), "remove it");
    }

    #[test]
    fn ways_read_as_messages_of_plans_do() {
        let steps = ["spec", "allowed"].map(|name| Step::Field(name.into()));
        assert_eq!(way(&[steps.as_slice(), &[Step::Index(1)]].concat()), "spec.allowed[1]");
        let label = [Step::Field("labels".into()), Step::Field("a.b/c".into())];
        assert_eq!(way(&label), "labels[\"a.b/c\"]");
    }
}
