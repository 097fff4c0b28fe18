// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

// Command xfrguard is the operator's tool for what the CoreDNS plugin of that name leaves behind.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// Exit codes. Scripts may rely on them.
const (
	exitOK     = 0
	exitFailed = 1 // what was checked does not hold
	exitUsage  = 2 // wrong arguments, or a file that is needed cannot be read
)

// errFailed says that the report, which is printed already, is not good.
var errFailed = errors.New("the check failed")

func main() { os.Exit(run()) }

func run() int {
	root := &cobra.Command{
		Use:   "xfrguard",
		Short: "Check Corefiles, explain decisions and verify audit logs of the CoreDNS plugin xfrguard",
		Long: "Check Corefiles, explain decisions and verify audit logs of the CoreDNS plugin xfrguard.\n\n" +
			"Exit codes: 0 all is well; 1 something was found, or denied; 2 wrong use, or a file cannot be read.",
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.AddCommand(checkCommand(), explainCommand(), verifyCommand(), auditKeyCommand())
	err := root.Execute()
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFailed):
		return exitFailed
	}
	fmt.Fprintln(os.Stderr, "xfrguard:", err)
	return exitUsage
}
