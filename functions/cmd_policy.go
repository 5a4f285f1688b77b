package main

import "github.com/spf13/cobra"

func (p *process) policyCommand() *cobra.Command {
	return p.noun("policy", "The policy that lets a PIN reset keep a user's keys", p.policyExport())
}
