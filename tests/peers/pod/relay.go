package main

import (
	"fmt"
	"io"
	"net"
	"strings"
)

// relay joins two networks. A socket in the file system belongs to none, so one relay in each, with such a socket
// between them, lead from one network namespace into another without a link between these.
func relay(from, to string) error {
	listens, listensAt, ok := strings.Cut(from, ":")
	dials, dialsAt, alsoOk := strings.Cut(to, ":")
	if !ok || !alsoOk {
		return fmt.Errorf("%q to %q: write tcp:ADDRESS:PORT or unix:PATH", from, to)
	}
	listener, err := net.Listen(listens, listensAt)
	if err != nil {
		return err
	}
	for {
		near, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer near.Close()
			far, err := net.Dial(dials, dialsAt)
			if err != nil {
				return
			}
			defer far.Close()
			ended := make(chan struct{}, 2)
			go pass(far, near, ended)
			go pass(near, far, ended)
			// A side that has said all may still listen.
			<-ended
			<-ended
		}()
	}
}

func pass(to, from net.Conn, ended chan<- struct{}) {
	io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	ended <- struct{}{}
}
