//! Pods that answer and dial, on an installation whose pods run.

use catalyst_testbed::pod;

use crate::installation::Installation;

impl Installation {
    /// Runs pods that answer on some ports, and waits until they are ready. Each is a namespace, a name, and the app that
    /// it is, if it is one.
    pub fn run_pods(&self, pods: &[(&str, &str, Option<&str>)], ports: &[u16]) {
        for (namespace, name, app) in pods {
            let labels: Vec<_> = app.iter().map(|app| ("cra.diagrid.io/app", *app)).collect();
            self.apply(&pod(namespace, name, &labels, ports).to_string());
        }
        for (namespace, name, _) in pods {
            let ready = "--for=condition=Ready --timeout=60s";
            self.kubectl(&format!("wait -n {namespace} {ready} pod/{name}"));
        }
    }
}
