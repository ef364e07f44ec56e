package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// Dapr answers within it, or a test wants to know that it does not.
const patience = 10 * time.Second

// call is one that a test wants made. In its address and headers, $NAME is this process's environment.
type call struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// result is what came of a call: a status, or why there is none.
type result struct {
	Status  int               `json:"status,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
	Failed  string            `json:"failed,omitempty"`
}

func (r result) well() bool { return r.Status >= 200 && r.Status < 300 }

// asked is what tests ask: the calls that came, and to make others.
func asked(name string, seen *record) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /", say("text/plain", name))
	routes.HandleFunc("GET /seen", func(out http.ResponseWriter, in *http.Request) {
		answer(out, seen.below(in.FormValue("below")))
	})
	routes.HandleFunc("POST /call", func(out http.ResponseWriter, in *http.Request) {
		if wanted, ok := read(out, in); ok {
			answer(out, wanted.make())
		}
	})
	under := &loads{all: map[string]*load{}}
	routes.HandleFunc("POST /begin", func(out http.ResponseWriter, in *http.Request) {
		rate, err := strconv.Atoi(in.FormValue("rate"))
		if err != nil || rate < 1 {
			http.Error(out, "rate: write calls per second", http.StatusBadRequest)
			return
		}
		if wanted, ok := read(out, in); ok {
			under.begin(in.FormValue("name"), wanted, rate)
			answer(out, nil)
		}
	})
	routes.HandleFunc("POST /end", func(out http.ResponseWriter, in *http.Request) {
		answer(out, under.end(in.FormValue("name")))
	})
	routes.HandleFunc("POST /sdk", func(out http.ResponseWriter, in *http.Request) {
		answer(out, bySDK(in.FormValue("peer")))
	})
	routes.HandleFunc("POST /grpc", func(out http.ResponseWriter, in *http.Request) {
		answer(out, byGRPC(in.FormValue("endpoint"), os.ExpandEnv(in.FormValue("token"))))
	})
	return routes
}

// read is a call as a test wrote it.
func read(out http.ResponseWriter, in *http.Request) (call, bool) {
	var wanted call
	err := json.NewDecoder(in.Body).Decode(&wanted)
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadRequest)
	}
	return wanted, err == nil
}

// Each call is a connection of its own, as policies judge only new ones.
var caller = http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}

func (c call) make() result {
	made, err := http.NewRequest(c.Method, os.ExpandEnv(c.URL), strings.NewReader(c.Body))
	if err != nil {
		return result{Failed: err.Error()}
	}
	for header, value := range c.Headers {
		made.Header.Set(header, os.ExpandEnv(value))
	}
	response, err := caller.Do(made)
	if err != nil {
		return result{Failed: err.Error()}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return result{Failed: err.Error()}
	}
	headers := map[string]string{}
	for header, values := range response.Header {
		headers[strings.ToLower(header)] = strings.Join(values, ", ")
	}
	return result{Status: response.StatusCode, Headers: headers, Body: string(body)}
}
