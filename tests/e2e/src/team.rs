//! A team that has one of everything, for tests that look at what becomes of it.

use std::time::Duration;

use crate::installation::Installation;

/// What a team has, and what its region keeps for it.
const TEAM: &str = "
apiVersion: v1
kind: Secret
metadata: {name: shop.database, namespace: catalyst-secrets}
stringData: {password: example}
---
apiVersion: cra.diagrid.io/v1beta1
kind: Project
metadata: {name: shop}
spec: {network: {egress: {delegated: {cidrs: [10.20.0.0/16]}}}}
---
apiVersion: cra.diagrid.io/v1beta1
kind: AppIdentity
metadata: {name: orders, namespace: prj-shop}
---
apiVersion: cra.diagrid.io/v1beta1
kind: EgressPolicy
metadata: {name: orders, namespace: prj-shop}
spec: {appIds: [orders], allowed: [{name: app, cidrs: [10.20.0.0/32]}]}
---
apiVersion: cra.diagrid.io/v1beta1
kind: SecretRef
metadata: {name: database, namespace: prj-shop}
spec: {remote: {name: database}, keys: [{name: password}]}
";

/// A machine may be busy.
const SOON: Duration = Duration::from_secs(30);

impl Installation {
    /// Declares what a team has in project `shop`, of a region `eu` that is there, and waits until all of it is Ready.
    pub fn a_team_is_ready(&self) {
        self.ready("Region", None, "eu");
        // The namespace comes of the project, and takes a moment.
        self.until(SOON, "what the team declares is taken", || {
            self.try_apply(TEAM).map_err(|refused| refused.to_string())
        });
        self.ready("Project", None, "shop");
        for (kind, name) in
            [("AppIdentity", "orders"), ("EgressPolicy", "orders"), ("SecretRef", "database")]
        {
            self.ready(kind, Some("prj-shop"), name);
        }
    }
}
