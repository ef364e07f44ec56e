package main

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/dapr/go-sdk/service/common"
	"github.com/dapr/go-sdk/service/grpc"
)

// remote is the application for a Dapr server that calls it by gRPC: it knows the method `pay`, and answers as the other.
func remote(name, port string, seen *record) error {
	service, err := grpc.NewService(":" + port)
	if err != nil {
		return err
	}
	pay := func(_ context.Context, in *common.InvocationEvent) (*common.Content, error) {
		one := request{App: name, Method: "gRPC", Path: "/pay", Body: string(in.Data)}
		seen.add(one)
		body, err := json.Marshal(one)
		return &common.Content{Data: body, ContentType: "application/json"}, err
	}
	well := func(context.Context) error { return nil }
	if err := errors.Join(
		service.AddServiceInvocationHandler("pay", pay),
		service.AddHealthCheckHandler("", well),
	); err != nil {
		return err
	}
	return service.Start()
}
