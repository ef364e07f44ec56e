package main

import (
	cronbinding "github.com/dapr/components-contrib/bindings/cron"
	httpbinding "github.com/dapr/components-contrib/bindings/http"
	postgresconfiguration "github.com/dapr/components-contrib/configuration/postgres"
	redisconfiguration "github.com/dapr/components-contrib/configuration/redis"
	"github.com/dapr/components-contrib/conversation/echo"
	"github.com/dapr/components-contrib/crypto/localstorage"
	redislock "github.com/dapr/components-contrib/lock/redis"
	kubernetesnames "github.com/dapr/components-contrib/nameresolution/kubernetes"
	memorypubsub "github.com/dapr/components-contrib/pubsub/in-memory"
	"github.com/dapr/components-contrib/pubsub/kafka"
	redispubsub "github.com/dapr/components-contrib/pubsub/redis"
	kubernetessecrets "github.com/dapr/components-contrib/secretstores/kubernetes"
	"github.com/dapr/components-contrib/secretstores/local/env"
	"github.com/dapr/components-contrib/secretstores/local/file"
	memorystate "github.com/dapr/components-contrib/state/in-memory"
	postgresv1 "github.com/dapr/components-contrib/state/postgresql/v1"
	postgresv2 "github.com/dapr/components-contrib/state/postgresql/v2"
	redisstate "github.com/dapr/components-contrib/state/redis"
	versions "github.com/dapr/dapr/pkg/components"
	"github.com/dapr/dapr/pkg/components/bindings"
	"github.com/dapr/dapr/pkg/components/configuration"
	"github.com/dapr/dapr/pkg/components/conversation"
	"github.com/dapr/dapr/pkg/components/crypto"
	"github.com/dapr/dapr/pkg/components/lock"
	"github.com/dapr/dapr/pkg/components/middleware/http"
	"github.com/dapr/dapr/pkg/components/nameresolution"
	"github.com/dapr/dapr/pkg/components/pubsub"
	"github.com/dapr/dapr/pkg/components/secretstores"
	"github.com/dapr/dapr/pkg/components/state"
	"github.com/dapr/dapr/pkg/runtime/registry"
	"github.com/dapr/kit/logger"
)

// components are the types that a Component may have here: what runs in memory, and what the tests have a server for.
func components() *registry.Options {
	log := logger.NewLogger("dapr.contrib")

	states := state.NewRegistry()
	states.Logger = log
	states.RegisterComponent(memorystate.NewInMemoryStateStore, "in-memory")
	states.RegisterComponent(redisstate.NewRedisStateStore, "redis")
	// As in Dapr's own daprd: who names no version gets the first.
	states.RegisterComponentWithVersions("postgresql", versions.Versioning{
		Preferred: versions.VersionConstructor{Version: "v2", Constructor: postgresv2.NewPostgreSQLStateStore},
		Others:    []versions.VersionConstructor{{Version: "v1", Constructor: postgresv1.NewPostgreSQLStateStore}},
		Default:   "v1",
	})

	topics := pubsub.NewRegistry()
	topics.Logger = log
	topics.RegisterComponent(memorypubsub.New, "in-memory")
	topics.RegisterComponent(redispubsub.NewRedisStreams, "redis")
	topics.RegisterComponent(kafka.NewKafka, "kafka")

	bound := bindings.NewRegistry()
	bound.Logger = log
	bound.RegisterInputBinding(cronbinding.NewCron, "cron")
	bound.RegisterOutputBinding(httpbinding.NewHTTP, "http")

	secrets := secretstores.NewRegistry()
	secrets.Logger = log
	secrets.RegisterComponent(kubernetessecrets.NewKubernetesSecretStore, "kubernetes")
	secrets.RegisterComponent(env.NewEnvSecretStore, "local.env")
	secrets.RegisterComponent(file.NewLocalSecretStore, "local.file")

	configurations := configuration.NewRegistry()
	configurations.Logger = log
	configurations.RegisterComponent(redisconfiguration.NewRedisConfigurationStore, "redis")
	configurations.RegisterComponent(postgresconfiguration.NewPostgresConfigurationStore, "postgresql")

	locks := lock.NewRegistry()
	locks.Logger = log
	locks.RegisterComponent(redislock.NewStandaloneRedisLock, "redis")

	conversations := conversation.NewRegistry()
	conversations.Logger = log
	conversations.RegisterComponent(echo.NewEcho, "echo")

	keys := crypto.NewRegistry()
	keys.Logger = log
	keys.RegisterComponent(localstorage.NewLocalStorageCrypto, "dapr.localstorage")

	names := nameresolution.NewRegistry()
	names.Logger = log
	names.RegisterComponent(kubernetesnames.NewResolver, "kubernetes")

	middlewares := http.NewRegistry()
	middlewares.Logger = log

	return registry.NewOptions().
		WithStateStores(states).
		WithPubSubs(topics).
		WithBindings(bound).
		WithSecretStores(secrets).
		WithConfigurations(configurations).
		WithLocks(locks).
		WithConversations(conversations).
		WithCryptoProviders(keys).
		WithNameResolutions(names).
		WithHTTPMiddlewares(middlewares)
}
