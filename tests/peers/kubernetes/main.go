// Command kubernetes is every part of a cluster in one binary, so that one build and one link make them all.
// The part is named by the name it is called by (a symbolic link, which ps then shows) or by its first argument.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// Each part takes over the process and ends it; os.Args is then what its own binary would see.
var parts = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          serve(apiserver.NewAPIServerCommand),
	"kube-controller-manager": serve(controllermanager.NewControllerManagerCommand),
	"kube-scheduler":          serve(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubelet":                 serve(func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) }),
	"kube-proxy":              serve(proxy.NewProxyCommand),
	// As in kubectl's own main: the errors of its commands carry exit codes.
	"kubectl": func() { util.CheckErr(cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand())) },
}

func serve(command func() *cobra.Command) func() {
	return func() { os.Exit(cli.Run(command())) }
}

func main() {
	if _, named := parts[filepath.Base(os.Args[0])]; !named {
		os.Args = os.Args[1:]
	}
	if len(os.Args) > 0 {
		if run, ok := parts[filepath.Base(os.Args[0])]; ok {
			run()
			return
		}
	}
	fmt.Fprintf(os.Stderr, "usage: kubernetes PART [ARGUMENT]...\nparts: %s\n",
		strings.Join(slices.Sorted(maps.Keys(parts)), ", "))
	os.Exit(2)
}
