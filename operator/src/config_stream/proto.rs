//! Dapr's Operator API, as far as its servers call it.

#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "generated")]

tonic::include_proto!("dapr.proto.operator.v1");
