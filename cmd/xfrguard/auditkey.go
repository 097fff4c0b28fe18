// SPDX-FileCopyrightText: The xfrguard authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/xfrguard/xfrguard/internal/trail"
)

func auditKeyCommand() *cobra.Command {
	var name string
	var show bool
	c := &cobra.Command{
		Use:   "audit-key [--name NAME] [--show] FILE",
		Short: "Make a key that signs the checkpoints of an audit log",
		Long: `Make an Ed25519 key for the option audit_key, which signs checkpoints of the
audit log. The private key is written to FILE, which must not exist, with mode
0600; the verifier key is printed. Keep the verifier key away from the server:
it is what "xfrguard verify --key" needs.

--show prints the verifier key of a private key that exists.`,
		Example: "  xfrguard audit-key --name ns1.example.net /etc/coredns/audit.key > xfr.pub",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var verifier string
			var err error
			if show {
				verifier, err = trail.VerifierKey(args[0])
			} else {
				verifier, err = trail.GenerateKey(args[0], name)
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), verifier)
			return nil
		},
	}
	c.Flags().StringVar(&name, "name", "xfrguard", "`NAME` of the signer, best the server's; without spaces and plus signs")
	c.Flags().BoolVar(&show, "show", false, "print the verifier key of the private key in FILE")
	return c
}
