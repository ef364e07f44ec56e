//! Says of an app what its servers do not get, in the condition `ComponentsReady` of its AppIdentity.
//!
//! Every replica knows the same and says it when it comes to know it, never because another one says otherwise: two that
//! learn of a secret at different times would else write against each other.

use std::collections::HashMap;
use std::time::Duration;

use catalyst_crds::AppIdentity;
use catalyst_plan::stream::report::{CONCERN, condition};
use catalyst_plan::{Invalid, Resource, names};
use jiff::Timestamp;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::state::State;
use crate::kernel::{Cluster, Error, Place, Store};

/// How long what was just learnt may still change, such as a secret that comes right after its component.
const CALM: Duration = Duration::from_millis(500);

/// The wait after a failed write.
const RETRY: Duration = Duration::from_secs(2);

/// How often it is looked for servers that were restarted.
const LOOK: Duration = Duration::from_secs(15);

/// What was said last of each app, and of which generation.
type Said = HashMap<Place, (i64, Option<Invalid>)>;

/// Says it for ever.
pub(super) async fn say(state: &State, apps: &Store<AppIdentity>, cluster: &Cluster) {
    let mut said = Said::new();
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = state.unsaid() => {}
            _ = ticks.tick() => {
                state.forget_lost();
                continue;
            }
        }
        sleep(CALM).await;
        for (namespace, app) in state.take_unsaid() {
            let place = Place::new(Some(&namespace), &app);
            if let Err(error) = say_one(state, apps, cluster, &place, &mut said).await {
                tracing::warn!(app = %place, error = %error, "condition can't be written");
                state.to_say(&namespace, [app]);
                sleep(RETRY).await;
            }
        }
    }
}

async fn say_one(
    state: &State,
    apps: &Store<AppIdentity>,
    cluster: &Cluster,
    place: &Place,
    said: &mut Said,
) -> Result<(), Error> {
    let Some(app) = apps.get(place) else {
        said.remove(place);
        return Ok(());
    };
    let Ok(problem) = state.problem(&place.namespace, &place.name) else { return Ok(()) };
    let generation = app.metadata.generation.unwrap_or_default();
    if said.get(place) == Some(&(generation, problem.clone())) {
        return Ok(());
    }
    let status = serde_json::to_value(&app.status).unwrap_or_default();
    if let Some(condition) = condition(problem.as_ref(), generation, &status, Timestamp::now()) {
        let resource = Resource::of::<AppIdentity>();
        let manifest = json!({
            "apiVersion": resource.api_version(),
            "kind": resource.kind,
            "metadata": {"namespace": &*place.namespace, "name": &*place.name, "uid": app.metadata.uid},
            "status": {"conditions": [condition]},
        });
        let key = place.key(&resource);
        match cluster.apply_status(&key, &names::field_manager(CONCERN), &manifest).await {
            Ok(_) => {}
            // Gone, or another object has its name by now: nothing to say of it.
            Err(error) if matches!(error.code(), 404 | 409) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    said.insert(place.clone(), (generation, problem));
    Ok(())
}
