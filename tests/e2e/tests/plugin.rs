//! `kubectl catalyst`: the program by another name, found by kubectl in the PATH.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use catalyst_e2e::{catalyst, repository};
use catalyst_testbed::Kubernetes;

#[test]
fn kubectl_finds_it_and_hands_its_arguments_on() {
    let folder = std::env::temp_dir().join(format!("kubectl-catalyst-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    symlink(catalyst(), folder.join("kubectl-catalyst")).unwrap();
    let kubernetes = Kubernetes::build().expect("kubectl");
    let kubectl = |arguments: &[&str]| {
        let output = Command::new(kubernetes.bin.join("kubectl"))
            .args(arguments)
            .current_dir(repository("."))
            .env("PATH", &folder)
            .env("KUBERC", "off")
            .output()
            .expect("kubectl runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, manifests, verdicts) =
        kubectl(&["catalyst", "render", "-f", "gitops-examples/platform"]);
    assert_eq!(code, Some(0), "{verdicts}");
    assert!(manifests.contains("name: prj-shop") && verdicts.contains("Project shop: Ready"));
    let (code, help, _) = kubectl(&["catalyst", "render", "--help"]);
    assert!(code == Some(0) && help.contains("Usage: kubectl catalyst render"), "{help}");
    fs::remove_dir_all(&folder).unwrap();
}
