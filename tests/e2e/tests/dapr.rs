//! A cluster that does not know Dapr's kinds: said where it matters, no reason to stop, and mended by itself.

use std::time::Duration;

use catalyst_e2e::{Installation, condition};
use catalyst_testbed::dapr_crds;

const FILES: &str = "
{apiVersion: cra.diagrid.io/v1beta1, kind: Region, metadata: {name: eu}, spec: {trust: {domain: eu.example.com}}}
---
{apiVersion: cra.diagrid.io/v1beta1, kind: Project, metadata: {name: shop}}
---
apiVersion: v1
kind: Namespace
metadata: {name: prj-shop, labels: {cra.diagrid.io/project: shop}}
---
{apiVersion: cra.diagrid.io/v1beta1, kind: AppIdentity, metadata: {name: orders, namespace: prj-shop}}
";

#[test]
fn without_daprs_kinds_an_app_says_so_has_all_else_and_is_mended_when_they_come() {
    let mut installation = Installation::prepare();
    installation.kubectl("delete crd configurations.dapr.io");
    installation.mend();
    installation.apply(FILES);

    let app = ("AppIdentity", Some("prj-shop"), "orders");
    let within = Duration::from_secs(15);
    let message = installation.told(within, app, "Reconciling", "DaprMissing");
    assert!(message.contains("configurations.dapr.io"), "{message}");
    assert!(
        installation.get("Secret", Some("prj-shop"), "orders-dapr").is_some(),
        "its Secret is there"
    );
    installation.ready("Project", None, "shop");

    let crds = dapr_crds().expect("Dapr's definitions");
    let configuration =
        crds.iter().find(|path| path.ends_with("configuration.yaml")).expect("one of them");
    installation.kubectl(&format!("apply --server-side -f {}", configuration.display()));
    installation.ready("AppIdentity", Some("prj-shop"), "orders");
    let configuration = installation.the("Configuration", Some("prj-shop"), "orders-dapr");
    assert_eq!(configuration["spec"]["accessControl"]["trustDomain"], "eu.example.com");
    let app = installation.the("AppIdentity", Some("prj-shop"), "orders");
    assert_eq!(condition(&app, "IdentityReady")["status"], "True");
}
