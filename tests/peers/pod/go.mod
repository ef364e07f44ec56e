// The one program of test pods and outside hosts; it needs nothing but Go itself.
module catalyst/tests/peers/pod

go 1.26.0
