// Prometheus Operator, for the definition of ServiceMonitor that its module carries.
module catalyst/tests/peers/monitoring

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.92.1
