//! docs/reliability.md names tests and mutants that exist, and every mutant.

use std::collections::BTreeSet;
use std::fs;

use catalyst_e2e::repository;

#[test]
fn every_promise_names_a_test_and_every_mutant_a_promise() {
    let docs = fs::read_to_string(repository("docs/reliability.md")).expect("the page");
    let rows = docs.lines().filter(|line| line.starts_with("| ")).skip(1);
    let (mut tests, mut named) = (0, BTreeSet::new());
    for row in rows {
        let [promise, proofs, mutants] = row.trim_matches('|').split(" | ").collect::<Vec<_>>()[..]
        else {
            panic!("not three columns: {row}");
        };
        assert!(spans(proofs).count() > 0, "no test proves: {promise}");
        for (file, name) in spans(proofs).filter_map(|test| test.split_once("::")) {
            let room = if proofs.contains("kernel") && file.contains('/') {
                "operator/src/kernel"
            } else {
                "tests/e2e/tests"
            };
            let source = repository(&format!("{room}/{file}.rs"));
            let source = fs::read_to_string(&source)
                .unwrap_or_else(|error| panic!("{}: {error}", source.display()));
            assert!(source.contains(&format!("fn {name}(")), "{file}.rs has no test {name}");
            tests += 1;
        }
        named.extend(spans(mutants).map(str::to_owned));
    }
    assert!(tests > 30, "the table was not read: {tests} tests");
    let table = fs::read_to_string(repository("tests/e2e/mutants.tsv")).expect("the mutants");
    let mutants = table.lines().skip(1).filter_map(|line| line.split('\t').next());
    assert_eq!(named, mutants.map(str::to_owned).collect(), "of the page, and of the mutants");
}

/// What stands in backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
