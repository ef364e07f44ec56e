//! What whoever has nothing built yet may rely on.

use std::process::Command;
use std::time::{Duration, Instant};

use catalyst_testbed::{Kubernetes, app_image, dapr_crds, dapr_images};

#[test]
fn what_is_built_is_not_built_again() {
    let first = Kubernetes::build().unwrap();
    let since = Instant::now();
    let second = Kubernetes::build().unwrap();
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    assert_eq!(first.bin, second.bin);
}

#[test]
fn without_go_it_says_what_to_install() {
    let testbed =
        Command::new(env!("CARGO_BIN_EXE_testbed")).arg("build").env("PATH", "/nowhere").output();
    let testbed = testbed.unwrap();
    assert_eq!(testbed.status.code(), Some(1));
    let told = String::from_utf8(testbed.stderr).unwrap();
    assert!(told.contains("install Go 1.26 or newer: https://go.dev/dl/"), "{told}");
}

#[test]
fn a_command_that_does_not_exist_is_answered_with_those_that_do() {
    let testbed = Command::new(env!("CARGO_BIN_EXE_testbed")).arg("start").output().unwrap();
    assert_eq!(testbed.status.code(), Some(2));
    assert!(String::from_utf8(testbed.stderr).unwrap().contains("testbed up [--keep]"));
}

#[test]
fn dapr_crds_are_the_definitions_of_its_chart() {
    let crds = dapr_crds().unwrap();
    let names: Vec<_> = crds.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    assert!(
        names.contains(&"components.yaml") && names.contains(&"configuration.yaml"),
        "{names:?}"
    );
}

#[test]
fn daprs_images_have_the_names_that_it_publishes_them_by() {
    let mut images = dapr_images().unwrap();
    images.push(app_image().unwrap());
    let names: Vec<String> = images
        .iter()
        .map(|archive| {
            let tar = Command::new("tar").arg("-xOf").arg(archive).arg("manifest.json").output();
            let manifest: serde_json::Value = serde_json::from_slice(&tar.unwrap().stdout).unwrap();
            manifest[0]["RepoTags"][0].as_str().unwrap().to_owned()
        })
        .collect();
    let dapr = ["daprd", "sentry", "placement", "scheduler"];
    let published = dapr.map(|name| format!("ghcr.io/dapr/{name}:1.18.3"));
    assert_eq!(names[..4], published);
    assert_eq!(names[4..], ["localhost/testbed/app:1"]);
}
