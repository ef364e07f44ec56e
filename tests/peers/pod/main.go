// Command pod is what runs in test pods and on outside hosts: one static program, as their images have no shell.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: pod                            waits to be ended, as the first container of every pod does
       pod serve NAME PORT...         answers with NAME on TCP (as HTTP) and UDP; dials for others: GET /dial?to=...
       pod dial TARGET...             dials, as tcp4://10.0.0.1:80 or udp6://shop.prj-shop:53, and prints what came of it
       pod lookup NAME...             prints the addresses of names
       pod relay NETWORK:ADDRESS NETWORK:ADDRESS    listens on the first, passes on to the second
`

func main() {
	var arguments []string
	command := ""
	if len(os.Args) > 1 {
		command, arguments = os.Args[1], os.Args[2:]
	}
	var err error
	switch {
	case command == "":
		// As the first process of its namespace it has no default action for signals.
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
		<-end
	case command == "serve" && len(arguments) > 1:
		err = serve(arguments[0], arguments[1:])
	case command == "dial" && len(arguments) > 0:
		err = print(os.Stdout, dialAll(arguments, patience))
	case command == "lookup" && len(arguments) > 0:
		err = lookup(arguments)
	case command == "relay" && len(arguments) == 2:
		err = relay(arguments[0], arguments[1])
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pod:", err)
		os.Exit(1)
	}
}
