package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/dapr/durabletask-go/workflow"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// work runs workflows for the Dapr server of the environment, as long as this process lives: none without one. It asks
// again and again, as the server may come later.
func work() {
	endpoint := os.Getenv("DAPR_GRPC_ENDPOINT")
	if endpoint == "" {
		return
	}
	if err := workflows(endpoint); err != nil {
		fmt.Fprintln(os.Stderr, "app: no workflows:", err)
	}
}

func workflows(endpoint string) error {
	known := workflow.NewRegistry()
	if err := errors.Join(
		known.AddWorkflowN("greet", greet),
		known.AddWorkflowN("approve", approve),
		known.AddActivityN("compose", compose),
	); err != nil {
		return err
	}
	target := endpoint[strings.Index(endpoint, "://")+1:]
	target = strings.TrimPrefix(target, "//")
	token := os.Getenv("DAPR_API_TOKEN")
	connection, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, in, out any, c *grpc.ClientConn, call grpc.UnaryInvoker, options ...grpc.CallOption) error {
			return call(with(ctx, token), method, in, out, c, options...)
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, about *grpc.StreamDesc, c *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(with(ctx, token), about, c, method, options...)
		}),
	)
	if err != nil {
		return err
	}
	for workflow.NewClient(connection).StartWorker(context.Background(), known) != nil {
		time.Sleep(time.Second)
	}
	return nil
}

func with(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "dapr-api-token", token)
}

// greet has an activity compose its answer.
func greet(ctx *workflow.WorkflowContext) (any, error) {
	var whom, greeting string
	if err := ctx.GetInput(&whom); err != nil {
		return nil, err
	}
	err := ctx.CallActivity("compose", workflow.WithActivityInput(whom)).Await(&greeting)
	return greeting, err
}

func compose(ctx workflow.ActivityContext) (any, error) {
	var whom string
	err := ctx.GetInput(&whom)
	return "hello " + whom, err
}

// approve waits for an event of that name, for as long as a test may take, and answers with what it says.
func approve(ctx *workflow.WorkflowContext) (any, error) {
	var word string
	err := ctx.WaitForExternalEvent("approve", time.Hour).Await(&word)
	return word, err
}
