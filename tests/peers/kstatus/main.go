// Command kstatus reads objects from stdin, one as JSON a line, and prints what kstatus says of each, one a line:
// the verdict (Current, InProgress, Failed, Terminating, NotFound, Unknown), a tab, the reason in a sentence.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// An API server takes no request above 3 MiB, so that no object is larger.
const longest = 4 << 20

func main() {
	if err := judge(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func judge() error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, longest)
	for lines.Scan() {
		// Its own decoder keeps integers, which kstatus asks for; encoding/json would make floats of them.
		var object unstructured.Unstructured
		if err := object.UnmarshalJSON(lines.Bytes()); err != nil {
			return fmt.Errorf("no object: %w", err)
		}
		verdict, err := status.Compute(&object)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		fmt.Printf("%s\t%s\n", verdict.Status, strings.ReplaceAll(verdict.Message, "\n", " "))
	}
	return lines.Err()
}
