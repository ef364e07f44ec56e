package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dapr/go-sdk/client"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// bySDK uses each API that the official Go SDK has, by gRPC, and tells what came of each by its name: "ok", or why not.
// The SDK takes address and token from the environment by itself. The other side of a call is the application of an id.
//
// The components are those of the tests: a state store `state`, a pub/sub `pubsub`, and so on.
func bySDK(peer string) map[string]string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	defer cancel()
	dapr, err := client.NewClient()
	if err != nil {
		return map[string]string{"client": err.Error()}
	}
	outcomes := map[string]string{}
	for name, use := range map[string]func(context.Context, client.Client) error{
		"invocation":    func(ctx context.Context, dapr client.Client) error { return invocation(ctx, dapr, peer) },
		"state":         state,
		"pubsub":        pubsub,
		"actors":        actor,
		"secrets":       secrets,
		"configuration": configuration,
		"bindings":      bindings,
		"lock":          lock,
		"jobs":          jobs,
		"workflow":      running,
	} {
		within, cancel := context.WithTimeout(ctx, patience)
		outcomes[name] = "ok"
		if err := use(within, dapr); err != nil {
			outcomes[name] = err.Error()
		}
		cancel()
	}
	return outcomes
}

// byGRPC asks a Dapr server with a token who it is, and tells the status of the answer: "OK", or another.
func byGRPC(endpoint, token string) string {
	dapr, err := client.NewClientWithAddress(endpoint)
	if err != nil {
		return err.Error()
	}
	defer dapr.Close()
	dapr.WithAuthToken(token)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = dapr.GetMetadata(ctx)
	return status.Code(err).String()
}

func invocation(ctx context.Context, dapr client.Client, peer string) error {
	answer, err := dapr.InvokeMethod(ctx, peer, "sdk", "get")
	if err == nil && len(answer) == 0 {
		err = errors.New("the answer is empty")
	}
	return err
}

func state(ctx context.Context, dapr client.Client) error {
	if err := dapr.SaveState(ctx, "state", "sdk", []byte("kept"), nil); err != nil {
		return err
	}
	item, err := dapr.GetState(ctx, "state", "sdk", nil)
	if err != nil {
		return err
	}
	return same(string(item.Value), "kept")
}

func pubsub(ctx context.Context, dapr client.Client) error {
	return dapr.PublishEvent(ctx, "pubsub", "sold", "by the SDK")
}

func actor(ctx context.Context, dapr client.Client) error {
	wanted := &client.InvokeActorRequest{ActorType: "cart", ActorID: "sdk", Method: "add", Data: []byte("1")}
	_, err := dapr.InvokeActor(ctx, wanted)
	return err
}

func secrets(ctx context.Context, dapr client.Client) error {
	secret, err := dapr.GetSecret(ctx, "secrets", "HOSTNAME", nil)
	if err == nil && secret["HOSTNAME"] == "" {
		err = fmt.Errorf("no such secret among %v", secret)
	}
	return err
}

func configuration(ctx context.Context, dapr client.Client) error {
	item, err := dapr.GetConfigurationItem(ctx, "settings", "colour")
	if err != nil {
		return err
	}
	if item == nil {
		return errors.New("there is no such item")
	}
	return same(item.Value, "blue")
}

func bindings(ctx context.Context, dapr client.Client) error {
	return dapr.InvokeOutputBinding(ctx, &client.InvokeBindingRequest{Name: "endpoint", Operation: "get"})
}

func lock(ctx context.Context, dapr client.Client) error {
	wanted := &client.LockRequest{ResourceID: "sdk", LockOwner: "sdk", ExpiryInSeconds: 60}
	taken, err := dapr.TryLockAlpha1(ctx, "locks", wanted)
	if err != nil {
		return err
	}
	if !taken.Success {
		return errors.New("it is not to be had")
	}
	_, err = dapr.UnlockAlpha1(ctx, "locks", &client.UnlockRequest{ResourceID: "sdk", LockOwner: "sdk"})
	return err
}

func jobs(ctx context.Context, dapr client.Client) error {
	data, err := anypb.New(wrapperspb.String("by the SDK"))
	if err != nil {
		return err
	}
	return dapr.ScheduleJobAlpha1(ctx, &client.Job{Name: "sdk", DueTime: "1s", Data: data})
}

func running(ctx context.Context, dapr client.Client) error {
	wanted := &client.StartWorkflowRequest{WorkflowComponent: "dapr", WorkflowName: "greet", Input: "the SDK"}
	started, err := dapr.StartWorkflowBeta1(ctx, wanted)
	if err != nil {
		return err
	}
	for {
		request := &client.GetWorkflowRequest{InstanceID: started.InstanceID, WorkflowComponent: "dapr"}
		stands, err := dapr.GetWorkflowBeta1(ctx, request)
		if err != nil || stands.RuntimeStatus == "COMPLETED" {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is %s", stands.RuntimeStatus)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func same(is, wanted string) error {
	if is != wanted {
		return fmt.Errorf("it is %q, not %q", is, wanted)
	}
	return nil
}
