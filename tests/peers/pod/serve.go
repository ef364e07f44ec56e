package main

import (
	"fmt"
	"net"
	"net/http"
	"time"
)

// serve answers on every port, in IPv4 and IPv6, with a name: to GET / and to any datagram.
func serve(name string, ports []string) error {
	handler := http.NewServeMux()
	handler.HandleFunc("/", func(out http.ResponseWriter, _ *http.Request) { fmt.Fprint(out, name) })
	handler.HandleFunc("/dial", func(out http.ResponseWriter, request *http.Request) {
		wait := patience
		if within, err := time.ParseDuration(request.FormValue("within")); err == nil {
			wait = within
		}
		print(out, dialAll(request.Form["to"], wait))
	})

	addresses, err := own()
	if err != nil {
		return err
	}
	ended := make(chan error)
	for _, port := range ports {
		listener, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		for _, address := range addresses {
			datagrams, err := net.ListenPacket("udp", net.JoinHostPort(address, port))
			if err != nil {
				return err
			}
			go func() { ended <- answer(datagrams, name) }()
		}
		// Each dial is to be a connection of its own, as only new ones are judged.
		server := &http.Server{Handler: handler}
		server.SetKeepAlivesEnabled(false)
		go func() { ended <- server.Serve(listener) }()
	}
	return <-ended
}

// own are the addresses of this host. A datagram is answered from the one that it came to only by a socket of its own:
// one for all takes the address of the link.
func own() ([]string, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var addresses []string
	for _, address := range all {
		if ip := address.(*net.IPNet).IP; !ip.IsLinkLocalUnicast() || ip.To4() != nil {
			addresses = append(addresses, ip.String())
		}
	}
	return addresses, nil
}

func answer(datagrams net.PacketConn, name string) error {
	buffer := make([]byte, 1)
	for {
		_, from, err := datagrams.ReadFrom(buffer)
		if err != nil {
			return err
		}
		// Whoever asked may be gone.
		datagrams.WriteTo([]byte(name), from)
	}
}
