//! The binary as people run it: exit codes, what goes to stdout, what to stderr, and files in folders.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Exit code, stdout, stderr.
fn catalyst(arguments: &[&str], stdin: &str) -> (i32, String, String) {
    run(Path::new(env!("CARGO_BIN_EXE_catalyst")), arguments, stdin)
}

fn run(program: &Path, arguments: &[&str], stdin: &str) -> (i32, String, String) {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // One that reads nothing may be gone by now.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
    let done = child.wait_with_output().expect("the binary ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (done.status.code().expect("an exit code"), text(done.stdout), text(done.stderr))
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// A folder of this test's own, with these files.
fn files(name: &str, files: &[(&str, &str)]) -> String {
    let root = folder().join(name);
    let _ = std::fs::remove_dir_all(&root);
    for (path, text) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    name.into()
}

const REGION: &str = "\
apiVersion: cra.diagrid.io/v1beta1
kind: Region
metadata: {name: eu}
spec: {trust: {domain: eu.example.com}}
";

const PROJECT: &str =
    r#"{"apiVersion": "cra.diagrid.io/v1beta1", "kind": "Project", "metadata": {"name": "shop"}}"#;

#[test]
fn a_folder_is_read_with_all_in_it_but_what_is_hidden() {
    let folder = files(
        "whole",
        &[
            ("region.yaml", REGION),
            ("teams/shop/project.json", PROJECT),
            ("teams/shop/kustomization.yaml", "resources: [project.json]\n"),
            ("teams/README.md", "not: [a manifest"),
            (".github/workflows/check.yml", "on: push\n"),
        ],
    );
    let (code, out, err) = catalyst(&["render", "-f", &folder], "");
    assert_eq!((code, out.contains("name: prj-shop")), (0, true), "{err}");
    assert_eq!(
        err,
        "note: ignored 1 object of kind Kustomization, which Catalyst does not plan from\n\
         Region eu: Ready\nProject shop: Ready\n"
    );
}

#[test]
fn findings_exit_with_1_and_wrong_usage_with_2() {
    let (code, out, err) = catalyst(&["render", "-f", "-"], PROJECT);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("Project shop: UnknownRegion: there is no Region yet"), "{err}");
    for wrong in [
        &["render"][..],
        &["render", "-f", "-", "-o", "xml"],
        &["rendr"],
        &["render", "--file", "x"],
    ] {
        let (code, out, err) = catalyst(wrong, "");
        assert_eq!((code, out.as_str()), (2, ""), "{wrong:?}");
        assert!(err.contains("--help"), "{err}");
    }
}

#[test]
fn errors_of_all_files_are_told_by_file_line_and_column() {
    let folder = files(
        "faulty",
        &[
            ("a.yaml", &REGION.replace("domain", "domian")),
            ("b.yaml", "kind: [\n"),
            ("c/empty.txt", ""),
        ],
    );
    let (code, out, err) =
        catalyst(&["render", "-f", &folder, "-f", "nowhere.yaml", "-f", "faulty/c"], "");
    assert_eq!((code, out.as_str()), (1, ""));
    for expected in [
        "error: faulty/a.yaml:4:16: spec.trust.domian is no field of Region: write domain\n",
        "error: faulty/b.yaml:",
        "error: faulty/c: has no *.yaml, *.yml or *.json in it: name another folder\n",
        "error: nowhere.yaml: can't be read: No such file or directory",
    ] {
        assert!(err.contains(expected), "no {expected} in\n{err}");
    }
}

#[test]
fn facts_stand_in_for_a_cluster_and_are_read_as_strictly() {
    let folder = files(
        "facts",
        &[
            (
                "good.yaml",
                "releaseNamespace: dapr-region\nresolvers: [10.96.0.10]\nnamespaces:\n- name: prj-shop\n",
            ),
            ("bad.yaml", "dapper: true\n"),
        ],
    );
    let world = format!("{REGION}---\n{PROJECT}\n");
    let (code, _, err) = catalyst(&["render", "-f", "-", "--facts", "facts/good.yaml"], &world);
    assert_eq!(code, 1, "{folder}");
    assert!(err.contains("Project shop: NamespaceExists: "), "{err}");
    let (code, _, err) = catalyst(&["render", "-f", "-", "--facts", "facts/bad.yaml"], &world);
    assert_eq!(
        (code, err.as_str()),
        (1, "error: facts/bad.yaml:1:1: dapper is no fact: write dapr\n")
    );
}

#[test]
fn facts_change_the_plan() {
    files(
        "known",
        &[("facts.yaml", "releaseNamespace: dapr-region\nresolvers: [10.96.0.10]\ndapr: false\n")],
    );
    let app = "apiVersion: cra.diagrid.io/v1beta1\nkind: AppIdentity\nmetadata: {name: a, namespace: prj-shop}\n";
    let world = format!("{REGION}---\n{PROJECT}\n---\n{app}");
    let (code, out, err) = catalyst(&["render", "-f", "-", "--facts", "known/facts.yaml"], &world);
    assert!(code == 1 && err.contains("AppIdentity prj-shop/a: DaprMissing: "), "{err}");
    assert!(out.contains("cidr: 10.96.0.10/32") && out.contains("namespace: dapr-region"), "{out}");
}

#[test]
fn the_crds_are_those_of_the_repository() {
    let (code, yaml, _) = catalyst(&["crds"], "");
    assert_eq!(code, 0);
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
    for kind in ["region", "project", "appidentity", "egresspolicy", "secretref"] {
        let file = std::fs::read_to_string(crds.join(format!("{kind}.yaml"))).expect("a CRD");
        assert!(yaml.contains(&format!("---\n{file}")), "{kind}");
    }
    let (code, json, _) = catalyst(&["crds", "-o", "json"], "");
    let list: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, list["items"].as_array().map(Vec::len)), (0, Some(5)));
}

#[test]
fn help_teaches_by_examples() {
    let (code, out, _) = catalyst(&["render", "--help"], "");
    assert!(
        code == 0 && out.contains("kustomize build overlays/eu | catalyst render -f -"),
        "{out}"
    );
}

#[test]
fn as_a_plugin_of_kubectl_it_is_called_so_in_all_that_it_says() {
    let plugin = folder().join("kubectl-catalyst");
    let _ = std::fs::remove_file(&plugin);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_catalyst"), &plugin).expect("a link");
    let (code, help, _) = run(&plugin, &["--help"], "");
    assert!(code == 0 && help.contains("Usage: kubectl catalyst <COMMAND>"), "{help}");
    for command in ["render", "crds"] {
        let (code, help, _) = run(&plugin, &[command, "--help"], "");
        assert!(
            code == 0 && help.contains(&format!("Usage: kubectl catalyst {command}")),
            "{help}"
        );
        // Everywhere, in the examples too.
        let plain = help.replace(&format!("kubectl catalyst {command}"), "");
        assert!(!plain.contains(&format!("catalyst {command}")), "{help}");
    }
    let (code, _, err) = run(&plugin, &["rendr"], "");
    assert!(code == 2 && err.contains("Usage: kubectl catalyst"), "{err}");
    let (code, out, _) = run(&plugin, &["render", "-f", "-"], REGION);
    assert_eq!((code, out.as_str()), (0, ""));
}

#[test]
fn definitions_are_printed_or_applied_but_not_both_and_without_a_cluster_it_says_so() {
    let (code, _, err) = catalyst(&["crds", "--apply", "-o", "json"], "");
    assert!(code == 2 && err.contains("cannot be used with"), "{err}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_catalyst"));
    let command = command.args(["crds", "--apply"]).env("KUBECONFIG", "/nowhere");
    let done = command.env_remove("KUBERNETES_SERVICE_HOST").output().expect("the binary starts");
    let err = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(1), "{err}");
    assert!(err.starts_with("error: no cluster: set KUBECONFIG, or run in a pod"), "{err}");
}

#[test]
fn a_file_that_never_ends_is_refused() {
    let (code, out, err) = catalyst(&["render", "-f", "/dev/zero"], "");
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("more than 16 MiB to read: render fewer files"), "{err}");
    let (code, _, err) = catalyst(&["render", "-f", "-", "--facts", "/dev/zero"], "");
    assert!(code == 1 && err.contains("more than 16 MiB"), "{err}");
}
