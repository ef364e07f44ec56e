// Command daprd is Dapr's server with the components of components.go. Dapr's own command takes all that there are, and
// not every one of those can be had; without any it ends at once.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/dapr/dapr/cmd/daprd/options"
	"github.com/dapr/dapr/pkg/buildinfo"
	"github.com/dapr/dapr/pkg/healthz"
	"github.com/dapr/dapr/pkg/metrics"
	"github.com/dapr/dapr/pkg/modes"
	"github.com/dapr/dapr/pkg/runtime"
	"github.com/dapr/dapr/pkg/security"
	"github.com/dapr/kit/concurrency"
	"github.com/dapr/kit/logger"
	"github.com/dapr/kit/signals"
	"go.opencensus.io/stats/view"
)

var log = logger.NewLogger("dapr.runtime")

func main() {
	options, err := options.New(os.Args[1:])
	if err != nil {
		log.Fatalf("the arguments: %v", err)
	}
	if options.RuntimeVersion {
		fmt.Println(buildinfo.Version())
		return
	}
	options.Logger.SetAppID(options.AppID)
	if err := logger.ApplyOptionsToLoggers(&options.Logger); err != nil {
		log.Fatalf("the arguments of logs: %v", err)
	}
	log.Infof("daprd %s", buildinfo.Version())

	// A context for each run: SIGHUP, which a changed Configuration sends too, ends it and brings the next. What ends by
	// itself, as by the API's shutdown, is not run again.
	for round := range signals.OnHUP(signals.Context()) {
		if err := run(round, options); err != nil {
			log.Fatalf("Fatal error from runtime: %s", err)
		}
		if round.Err() == nil {
			return
		}
	}
}

// run is one life of the server, from its certificate on.
func run(round context.Context, options *options.Options) error {
	health := healthz.New()
	identity, err := security.New(round, security.Options{
		AppID:                   options.AppID,
		Mode:                    modes.DaprMode(options.Mode),
		MTLSEnabled:             options.EnableMTLS,
		TrustAnchors:            options.TrustAnchors,
		SentryAddress:           options.SentryAddress,
		ControlPlaneNamespace:   options.ControlPlaneNamespace,
		ControlPlaneTrustDomain: options.ControlPlaneTrustDomain,
		JwtAudiences:            options.SentryRequestJwtAudiences,
		Healthz:                 health,
	})
	if err != nil {
		return err
	}
	serve := func(ctx context.Context) error {
		handler, err := identity.Handler(ctx)
		if err != nil {
			return err
		}
		server, err := runtime.FromConfig(ctx, arguments(options, handler, health))
		if err != nil {
			return err
		}
		return server.Run(ctx)
	}
	return concurrency.NewRunnerManager(identity.Run, serve).Run(round)
}

// arguments hands every one on.
func arguments(from *options.Options, identity security.Handler, health healthz.Healthz) *runtime.Config {
	return &runtime.Config{
		Registry: components(),
		Security: identity,
		Healthz:  health,
		Metrics: metrics.Options{
			Enabled:       from.Metrics.Enabled(),
			ListenAddress: from.Metrics.ListenAddress(),
			Port:          from.Metrics.Port(),
			Namespace:     metrics.DefaultMetricNamespace,
			Meter:         view.NewMeter(),
			Healthz:       health,
			Log:           log,
		},

		AppID:                    from.AppID,
		Mode:                     from.Mode,
		Config:                   from.Config,
		ResourcesPath:            from.ResourcesPath,
		ComponentsPath:           from.ComponentsPath,
		EnableMTLS:               from.EnableMTLS,
		SentryAddress:            from.SentryAddress,
		ControlPlaneAddress:      from.ControlPlaneAddress,
		ActorsService:            from.ActorsService,
		RemindersService:         from.RemindersService,
		SchedulerAddress:         from.SchedulerAddress,
		SchedulerStreams:         from.SchedulerJobStreams,
		AllowedOrigins:           from.AllowedOrigins,
		MaxRequestSize:           from.MaxRequestSize,
		ReadBufferSize:           from.ReadBufferSize,
		EnableAPILogging:         from.EnableAPILogging,
		EnableProfiling:          from.EnableProfiling,
		ProfilePort:              from.ProfilePort,
		UnixDomainSocket:         from.UnixDomainSocket,
		DisableInitEndpoints:     from.DisableInitEndpoints,
		AppBindingOptionsTimeout: from.AppBindingOptionsTimeout,

		DaprHTTPPort:                  from.DaprHTTPPort,
		DaprAPIGRPCPort:               from.DaprAPIGRPCPort,
		DaprAPIListenAddresses:        from.DaprAPIListenAddresses,
		DaprInternalGRPCPort:          from.DaprInternalGRPCPort,
		DaprInternalGRPCListenAddress: from.DaprInternalGRPCListenAddress,
		DaprPublicPort:                from.DaprPublicPort,
		DaprPublicListenAddress:       from.DaprPublicListenAddress,

		ApplicationPort:        from.AppPort,
		AppProtocol:            from.AppProtocol,
		AppSSL:                 from.AppSSL,
		AppChannelAddress:      from.AppChannelAddress,
		AppMaxConcurrency:      from.AppMaxConcurrency,
		EnableAppHealthCheck:   from.EnableAppHealthCheck,
		AppHealthCheckPath:     from.AppHealthCheckPath,
		AppHealthProbeInterval: from.AppHealthProbeInterval,
		AppHealthProbeTimeout:  from.AppHealthProbeTimeout,
		AppHealthThreshold:     from.AppHealthThreshold,

		ActorsDisseminationTimeout:   from.ActorsDisseminationTimeout,
		HotReloadReconcileInterval:   from.HotReloadReconcileInterval,
		DaprGracefulShutdownSeconds:  from.DaprGracefulShutdownSeconds,
		DaprBlockShutdownDuration:    from.DaprBlockShutdownDuration,
		DisableBuiltinK8sSecretStore: from.DisableBuiltinK8sSecretStore,
	}
}
