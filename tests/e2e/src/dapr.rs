//! Applications that use Dapr, on a node with the chart, Dapr's images and databases: what tests of Dapr begin with.

use std::time::Duration;

use catalyst_testbed::{app, app_image, dapr_images};
use serde_json::{Value, json};

use crate::installation::Installation;
use crate::status::is_ready;

/// From a declaration to a Dapr server that is ready, on a machine that is busy: its image is loaded, so seconds.
const SERVED: Duration = Duration::from_mins(2);

/// Where applications run: outside of projects, as those of a team do that moves to Dapr.
const APPS: &str = "apps";

/// Where applications are that run outside of the cluster.
const OUTSIDE: &str = "198.51.100.0/24";

/// An application of the namespace `apps`, and what it is to Dapr: the AppIdentity of a project.
#[derive(Debug, Clone, Copy)]
pub struct App {
    /// Its project.
    pub project: &'static str,
    /// Its name there, to Dapr too.
    pub id: &'static str,
    /// How Dapr calls it: `http` or `grpc`.
    pub protocol: &'static str,
}

/// What came of a call.
#[derive(Debug)]
pub struct Answer {
    /// The status; 0 if nobody answered.
    pub status: u64,
    /// The body, which may be empty.
    pub body: String,
    /// Why nobody answered.
    pub failed: String,
}

/// What came of many calls.
#[derive(Debug)]
pub struct Load {
    /// What was called.
    pub path: String,
    /// How many calls there were.
    pub made: u64,
    /// When and why one failed, and the one in its place too.
    pub failed: Vec<String>,
}

impl Answer {
    /// The body, of an answer with this status.
    #[track_caller]
    pub fn with(self, status: u64) -> String {
        assert_eq!(self.status, status, "{self:?}");
        self.body
    }

    /// The body as JSON, of an answer that is well.
    #[track_caller]
    pub fn json(self) -> Value {
        let body = self.with(200);
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }
}

impl Installation {
    /// The chart as docs/install.md has it and with Dapr, on a node with its images, and databases outside.
    pub fn with_dapr() -> Self {
        // Built before the node begins, which others may wait for.
        let mut images = dapr_images().unwrap_or_else(|error| panic!("{error}"));
        images.push(app_image().unwrap_or_else(|error| panic!("{error}")));
        let installation = Self::empty_with_pods();
        let node = installation.control_plane.node();
        for image in images {
            node.load(&image).unwrap_or_else(|error| panic!("{error}"));
        }
        node.stores().unwrap_or_else(|error| panic!("{error}"));
        node.volumes(1).unwrap_or_else(|error| panic!("{error}"));
        installation.documented("ctr");
        installation.documented("helm install");
        installation.documented("kubectl rollout status");
        // On a volume, as one that forgets its jobs is only for trying.
        let scheduler = json!({"volume": {"size": "1Gi"}});
        let dapr = json!({"spec": {"dapr": {"version": "1.18.3", "scheduler": scheduler}}});
        installation.edit("Region", None, "eu", &dapr);
        installation.documented("kubectl label namespace");
        installation.ready_within(SERVED, "Region", None, "eu");
        installation
    }

    /// Declares projects with these apps, and runs an application for each: all of a project may reach the databases and
    /// each other's Dapr servers, and its applications are called by and call these.
    ///
    /// It does not wait for the servers: [`Installation::served`] does.
    pub fn declare_apps(&self, apps: &[App]) {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": APPS}});
        self.apply(&namespace.to_string());
        let mut projects: Vec<&str> = apps.iter().map(|app| app.project).collect();
        projects.dedup();
        for project in projects {
            self.apply(&project_of(project));
            self.ready("Project", None, project);
            self.apply(&policy_of(project));
        }
        for app in apps {
            self.apply(&app.identity());
        }
        for app in apps {
            self.run(app);
        }
        for app in apps {
            let ready = "wait --for=condition=Ready --timeout=60s";
            self.kubectl(&format!("{ready} -n {APPS} pod/{}", app.pod()));
        }
    }

    /// Waits until each app has a Dapr server that is ready.
    pub fn served(&self, apps: &[App]) {
        for app in apps {
            self.ready_within(SERVED, "AppIdentity", Some(&app.namespace()), app.id);
        }
    }

    /// Runs an application, with what its team copies out of the project.
    fn run(&self, of: &App) {
        let (namespace, secret, pod) = (of.namespace(), format!("{}-dapr", of.id), of.pod());
        let place = ("Secret", Some(namespace.as_str()), secret.as_str());
        let keys = self.wait_for(SERVED, place, "has all that an application needs", |secret| {
            let data = &secret["data"];
            let mut needed = ["DAPR_API_TOKEN", "DAPR_HTTP_ENDPOINT", "DAPR_GRPC_ENDPOINT"].iter();
            match needed.find(|key| data[**key].is_null()) {
                None => Ok(data.clone()),
                Some(key) => Err(format!("there is no {key}")),
            }
        });
        let copy = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"namespace": APPS, "name": pod},
            "data": keys,
        });
        self.apply(&copy.to_string());
        for object in app(APPS, &pod, Some(&pod))["items"].as_array().expect("a list") {
            self.apply(&object.to_string());
        }
    }

    /// Has an application call: any address, with `$NAME` for what is in its environment, as `$DAPR_API_TOKEN`.
    pub fn call(&self, from: App, call: &Value) -> Answer {
        let answer = self.ask(from, "call", Some(&call.to_string()));
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        let status = answer["status"].as_u64().unwrap_or_default();
        Answer { status, body: text("body"), failed: text("failed") }
    }

    /// Has an application call its Dapr server by HTTP, as it should.
    pub fn dapr(&self, from: App, method: &str, path: &str, body: &str) -> Answer {
        let token = "$DAPR_API_TOKEN";
        let headers = json!({"dapr-api-token": token, "content-type": "application/json"});
        let url = format!("$DAPR_HTTP_ENDPOINT{path}");
        self.call(from, &json!({"method": method, "url": url, "headers": headers, "body": body}))
    }

    /// Has an application call its Dapr server by HTTP over and over, 10 times a second, while something happens. Returns
    /// how many calls were made, and which failed, the one in their place too.
    pub fn under_load<T>(
        &self,
        from: App,
        paths: &[&str],
        meanwhile: impl FnOnce() -> T,
    ) -> (T, Vec<Load>) {
        for path in paths {
            let call = json!({
                "method": "GET",
                "url": format!("$DAPR_HTTP_ENDPOINT{path}"),
                "headers": {"dapr-api-token": "$DAPR_API_TOKEN"},
            });
            self.ask(from, &format!("begin?rate=10&name={path}"), Some(&call.to_string()));
        }
        let came = meanwhile();
        let end = |path: &&str| {
            let ended = self.ask(from, &format!("end?name={path}"), Some(""));
            let failed = ended["failed"].as_array().expect("a list").iter();
            Load {
                path: (*path).to_owned(),
                made: ended["made"].as_u64().unwrap_or_default(),
                failed: failed.map(|why| why.as_str().unwrap_or_default().to_owned()).collect(),
            }
        };
        (came, paths.iter().map(end).collect())
    }

    /// The calls that an application has had, of paths that begin so.
    pub fn seen(&self, by: App, below: &str) -> Vec<Value> {
        let seen = self.ask(by, &format!("seen?below={below}"), None);
        seen.as_array().expect("a list").clone()
    }

    /// Asks an application what only tests ask.
    pub fn ask(&self, of: App, path: &str, body: Option<&str>) -> Value {
        let answer = self.control_plane.node().ask((APPS, &of.pod()), path, body);
        let answer = answer.unwrap_or_else(|error| panic!("{error}"));
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    fn ready_within(&self, within: Duration, kind: &str, namespace: Option<&str>, name: &str) {
        self.wait_for(within, (kind, namespace, name), "is Ready", is_ready);
    }
}

impl App {
    /// Where its project keeps what belongs to it.
    pub fn namespace(&self) -> String {
        format!("prj-{}", self.project)
    }

    /// Its pod in the namespace `apps`, a Service and a Secret there.
    fn pod(&self) -> String {
        format!("{}-{}", self.project, self.id)
    }

    fn identity(&self) -> String {
        let port = if self.protocol == "grpc" { 8081 } else { 8080 };
        let url = format!("{}://{}.{APPS}.svc.cluster.local:{port}", self.protocol, self.pod());
        let identity = json!({
            "apiVersion": "cra.diagrid.io/v1beta1",
            "kind": "AppIdentity",
            "metadata": {"namespace": self.namespace(), "name": self.id},
            "spec": {"protocol": self.protocol, "appEndpoint": {"url": url}},
        });
        identity.to_string()
    }
}

fn project_of(project: &str) -> String {
    let project = json!({
        "apiVersion": "cra.diagrid.io/v1beta1",
        "kind": "Project",
        "metadata": {"name": project},
        "spec": {
            "network": {
                "egress": {"delegated": {"cidrs": ["10.30.0.0/16", "fd00:30::/32"], "namespaces": [APPS]}},
                "ingress": {"allowed": [
                    {
                        "name": "clients",
                        "namespaces": [APPS],
                        "cidrs": [OUTSIDE],
                        "ports": [{"port": 3500}, {"port": 50001}],
                    },
                ]},
            },
        },
    });
    project.to_string()
}

fn policy_of(project: &str) -> String {
    let policy = json!({
        "apiVersion": "cra.diagrid.io/v1beta1",
        "kind": "EgressPolicy",
        "metadata": {"namespace": format!("prj-{project}"), "name": "dapr"},
        "spec": {"allowed": [
            {"name": "applications", "namespaces": [APPS], "ports": [{"port": 8080}, {"port": 8081}]},
            {
                "name": "stores",
                "cidrs": ["10.30.0.7/32", "fd00:30::7/128"],
                "ports": [{"port": 5432}, {"port": 6379}],
            },
        ]},
    });
    policy.to_string()
}
