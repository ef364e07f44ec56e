// The Dapr that the tests run against, pinned here with its checksum. Its custom resource definitions
// (charts/dapr/crds) are read from the module as downloaded: see tests/testbed/src/dapr.rs.
module catalyst/tests/peers/dapr

go 1.26.0

require github.com/dapr/dapr v1.18.3
