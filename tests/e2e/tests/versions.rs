//! docs/kubernetes.md speaks of the versions that `make matrix` runs, and names tests that exist.

use std::fs;

use catalyst_e2e::matrix::Lost;
use catalyst_e2e::repository;
use catalyst_testbed::Kubernetes;

#[test]
fn the_page_has_a_column_for_each_version_and_every_loss_a_test() {
    let page = fs::read_to_string(repository("docs/kubernetes.md")).expect("the page");
    let versions = Kubernetes::versions().expect("the pins");
    let head = format!("| Tests | {} |", versions.join(" | "));
    assert!(page.contains(&head), "run make matrix: docs/kubernetes.md has no table with {head}");
    let lost = Lost::read(&page).0;
    assert!(!lost.is_empty(), "the table was not read");
    for (version, test) in lost {
        let (file, name) = test.split_once("::").expect("file::test");
        let source = fs::read_to_string(repository(&format!("tests/e2e/tests/{file}.rs")));
        let source = source.unwrap_or_else(|error| panic!("below {version}: {file}.rs: {error}"));
        assert!(source.contains(&format!("fn {name}(")), "below {version}: {file} has no {name}");
    }
}
