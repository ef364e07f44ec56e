package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
)

// request is one call of the application, by whoever made it.
type request struct {
	App     string            `json:"app"`
	Method  string            `json:"method"`
	Path    string            `json:"path"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// record is every call so far, in the order they came.
type record struct {
	lock sync.Mutex
	all  []request
}

func (r *record) add(one request) {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.all = append(r.all, one)
}

// below are the calls of paths that begin so.
func (r *record) below(path string) []request {
	r.lock.Lock()
	defer r.lock.Unlock()
	found := []request{}
	for _, one := range r.all {
		if strings.HasPrefix(one.Path, path) {
			found = append(found, one)
		}
	}
	return found
}

// actors is what the application tells Dapr of itself: it hosts actors of one type.
const actors = `{"entities": ["cart"]}`

// application is what Dapr calls. Any path is one that it knows, and the answer is the call.
func application(name string, seen *record) http.Handler {
	routes := http.NewServeMux()
	routes.HandleFunc("GET /dapr/config", say("application/json", actors))
	// Subscriptions are objects of the cluster.
	routes.HandleFunc("GET /dapr/subscribe", say("application/json", "[]"))
	routes.HandleFunc("GET /healthz", say("text/plain", "ok"))
	// By this Dapr asks whether it wants the events of a binding.
	routes.HandleFunc("OPTIONS /", say("text/plain", ""))
	routes.HandleFunc("/", func(out http.ResponseWriter, in *http.Request) {
		body, err := io.ReadAll(in.Body)
		if err != nil {
			http.Error(out, err.Error(), http.StatusBadRequest)
			return
		}
		headers := map[string]string{}
		for header, values := range in.Header {
			headers[strings.ToLower(header)] = strings.Join(values, ", ")
		}
		one := request{App: name, Method: in.Method, Path: in.URL.RequestURI(), Headers: headers, Body: string(body)}
		seen.add(one)
		answer(out, one)
	})
	return routes
}

func say(kind, text string) http.HandlerFunc {
	return func(out http.ResponseWriter, _ *http.Request) {
		out.Header().Set("Content-Type", kind)
		io.WriteString(out, text)
	}
}

func answer(out http.ResponseWriter, value any) {
	out.Header().Set("Content-Type", "application/json")
	json.NewEncoder(out).Encode(value)
}
