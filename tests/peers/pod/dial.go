package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// How long a dial waits for an answer: a packet that a policy stops is never answered.
const patience = 2 * time.Second

// outcome is what came of one dial: the name of who answered, or why nobody did.
type outcome struct {
	To       string `json:"to"`
	Answered string `json:"answered,omitempty"`
	Failed   string `json:"failed,omitempty"`
	Silent   bool   `json:"silent,omitempty"`
}

// dialAll dials all at once, so that many that are never answered take no longer than one.
func dialAll(targets []string, wait time.Duration) []outcome {
	outcomes := make([]outcome, len(targets))
	var all sync.WaitGroup
	for i, target := range targets {
		all.Go(func() {
			answered, err := dial(target, wait)
			outcomes[i] = outcome{To: target, Answered: answered}
			if err != nil {
				var timed net.Error
				outcomes[i].Failed = err.Error()
				outcomes[i].Silent = errors.As(err, &timed) && timed.Timeout()
			}
		})
	}
	all.Wait()
	return outcomes
}

// dial asks who is there, by a target such as tcp4://10.0.0.1:80.
func dial(target string, wait time.Duration) (string, error) {
	network, address, ok := strings.Cut(target, "://")
	if !ok {
		return "", fmt.Errorf("%q is no target: write tcp4://ADDRESS:PORT, or tcp6, udp4, udp6", target)
	}
	connection, err := net.DialTimeout(network, address, wait)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(wait))
	if strings.HasPrefix(network, "udp") {
		return datagram(connection, wait)
	}
	fmt.Fprintf(connection, "GET / HTTP/1.0\r\nHost: %s\r\n\r\n", address)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// datagram asks again while there is time: datagrams get lost.
func datagram(connection net.Conn, wait time.Duration) (string, error) {
	buffer := make([]byte, 256)
	until := time.Now().Add(wait)
	for {
		if _, err := connection.Write([]byte("?")); err != nil {
			return "", err
		}
		connection.SetReadDeadline(time.Now().Add(wait / 4))
		size, err := connection.Read(buffer)
		if err == nil || time.Now().After(until) || !errors.Is(err, os.ErrDeadlineExceeded) {
			return string(buffer[:size]), err
		}
	}
}

func lookup(names []string) error {
	for _, name := range names {
		addresses, err := net.LookupHost(name)
		if err != nil {
			return err
		}
		fmt.Println(name, strings.Join(addresses, " "))
	}
	return nil
}

func print(out io.Writer, outcomes []outcome) error {
	lines := json.NewEncoder(out)
	for _, outcome := range outcomes {
		if err := lines.Encode(outcome); err != nil {
			return err
		}
	}
	return nil
}
