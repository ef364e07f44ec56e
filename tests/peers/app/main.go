// Command app is an application that uses Dapr: it is called by its Dapr server, keeps what it was asked, runs workflows,
// and calls what a test wants it to call. Of its server it knows what the connection Secret says, as any application.
package main

import (
	"fmt"
	"net/http"
	"os"
)

const usage = `usage: app NAME HTTP GRPC CONTROL
  NAME        what it calls itself in its answers
  HTTP, GRPC  the ports that Dapr calls it on, one or the other
  CONTROL     the port that tests ask it on
`

func main() {
	if len(os.Args) != 5 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	name, byHTTP, byRPC, control := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	// The SDK's own 5 s are few on a machine that is busy.
	os.Setenv("DAPR_CLIENT_TIMEOUT_SECONDS", "20")
	seen := &record{}
	go work()
	ended := make(chan error)
	go func() { ended <- http.ListenAndServe(":"+byHTTP, application(name, seen)) }()
	go func() { ended <- remote(name, byRPC, seen) }()
	go func() { ended <- http.ListenAndServe(":"+control, asked(name, seen)) }()
	fmt.Fprintln(os.Stderr, "app:", <-ended)
	os.Exit(1)
}
