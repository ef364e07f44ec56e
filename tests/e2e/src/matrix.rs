//! What came of the tests on each Kubernetes, as `make matrix` ran them, beside what docs/kubernetes.md says is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What came of one file of tests: which passed and which failed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// The names of the tests that passed.
    pub passed: BTreeSet<String>,
    /// Of those that failed.
    pub failed: BTreeSet<String>,
}

impl Outcome {
    /// Reads what `cargo test` prints: `test <name> ... ok` for each.
    pub fn read(printed: &str) -> Self {
        let mut outcome = Self::default();
        for line in printed.lines() {
            let Some((name, how)) = line.strip_prefix("test ").and_then(|l| l.split_once(" ... "))
            else {
                continue;
            };
            let list = if how == "ok" { &mut outcome.passed } else { &mut outcome.failed };
            list.insert(name.to_owned());
        }
        outcome
    }
}

/// All outcomes: by version, and then by file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Matrix(pub BTreeMap<Version, BTreeMap<String, Outcome>>);

/// A version of Kubernetes: `1.24.17`, or only `1.30`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Version(Vec<u32>);

impl Version {
    /// Reads numbers with dots between them; anything else is none.
    pub fn parse(text: &str) -> Option<Self> {
        text.split('.').map(|number| number.parse().ok()).collect::<Option<_>>().map(Self)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// How the table of the page begins.
const HEAD: &str = "| Tests |";

impl Matrix {
    /// The table of the page: a row for each file, a column for each version, how many of its tests hold.
    pub fn table(&self) -> String {
        let rows: BTreeSet<&String> = self.0.values().flat_map(BTreeMap::keys).collect();
        let mut table = HEAD.to_owned();
        for version in self.0.keys() {
            let _ = write!(table, " {version} |");
        }
        table.push_str("\n|---|");
        table.push_str(&"---|".repeat(self.0.len()));
        for row in rows {
            let _ = write!(table, "\n| {row} |");
            for files in self.0.values() {
                let cell =
                    files.get(row).map_or(String::new(), |Outcome { passed, failed }| match failed
                        .len()
                    {
                        0 => format!(" {}", passed.len()),
                        lost => format!(" {} of {}", passed.len(), passed.len() + lost),
                    });
                let _ = write!(table, "{cell} |");
            }
        }
        table
    }

    /// The page with this table in place of the one that it has.
    pub fn shown_in(&self, page: &str) -> String {
        let (before, rest) = page.split_once(HEAD).expect("the page has the table");
        let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
        [before, &self.table(), "\n\n", after].concat()
    }

    /// What failed and is not said to be lost, or is said to be lost and holds; a line each.
    pub fn differences(&self, lost: &Lost) -> Vec<String> {
        let mut told = Vec::new();
        for (version, files) in &self.0 {
            for (file, Outcome { passed, failed }) in files {
                for test in failed.iter().filter(|test| !lost.below(version, file, test)) {
                    told.push(format!(
                        "{version}: {file}::{test} fails, and the page does not say so"
                    ));
                }
                for test in passed.iter().filter(|test| lost.below(version, file, test)) {
                    told.push(format!(
                        "{version}: {file}::{test} holds, and the page says it is lost"
                    ));
                }
            }
        }
        told
    }
}

/// What a page says is lost: tests as `file::name`, each with the version from which on it holds.
#[derive(Debug, Default)]
pub struct Lost(pub Vec<(Version, String)>);

impl Lost {
    /// Reads the table whose rows begin with a version, and whose last column names tests.
    pub fn read(page: &str) -> Self {
        let mut lost = Self::default();
        for row in page.lines().filter_map(|line| line.strip_prefix("| ")) {
            let cells: Vec<&str> = row.trim_end_matches('|').split(" | ").collect();
            let (Some(version), Some(tests)) = (Version::parse(cells[0]), cells.last()) else {
                continue;
            };
            let tests = tests.split('`').skip(1).step_by(2);
            lost.0.extend(tests.map(|test| (version.clone(), test.to_owned())));
        }
        lost
    }

    fn below(&self, version: &Version, file: &str, test: &str) -> bool {
        // A row may be the file by another helm, in further words.
        let file = file.split(' ').next().unwrap_or(file);
        let name = format!("{file}::{test}");
        self.0.iter().any(|(from, lost)| *lost == name && version < from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# Versions

| Tests | 1.2.0 |
|---|---|
| old | 1 |

## What is lost

| Below | Lost | Tests |
|---|---|---|
| 1.30 | policies | `a::two`, `a::three` |
";

    fn matrix() -> Matrix {
        let printed = "running 2 tests\ntest one ... ok\ntest two ... FAILED\n";
        let version = |text| Version::parse(text).expect("a version");
        let all = Outcome { passed: ["one", "two"].map(Into::into).into(), ..Outcome::default() };
        Matrix(BTreeMap::from([
            (version("1.30.14"), BTreeMap::from([("a".into(), all.clone()), ("b".into(), all)])),
            (version("1.24.17"), BTreeMap::from([("a".into(), Outcome::read(printed))])),
        ]))
    }

    #[test]
    fn the_table_replaces_the_one_of_the_page_and_nothing_else() {
        let shown = matrix().shown_in(PAGE);
        let table = "\
| Tests | 1.24.17 | 1.30.14 |
|---|---|---|
| a | 1 of 2 | 2 |
| b | | 2 |";
        assert_eq!(shown, PAGE.replace("| Tests | 1.2.0 |\n|---|---|\n| old | 1 |", table));
        assert_eq!(matrix().shown_in(&shown), shown);
    }

    #[test]
    fn what_is_lost_has_to_fail_and_nothing_else_may() {
        assert_eq!(matrix().differences(&Lost::read(PAGE)), Vec::<String>::new());
        let unsaid = matrix().differences(&Lost::default());
        assert_eq!(unsaid, ["1.24.17: a::two fails, and the page does not say so"]);
        let older = Lost::read(&PAGE.replace("| 1.30 |", "| 1.36 |"));
        assert_eq!(
            matrix().differences(&older),
            ["1.30.14: a::two holds, and the page says it is lost"]
        );
    }
}
