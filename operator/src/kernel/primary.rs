//! What a kind must be able to do to have controllers of its own.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A kind that a controller can be for.
pub trait Primary:
    kube::Resource<DynamicType = ()>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}

impl<K> Primary for K where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}
